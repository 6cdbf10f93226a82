//! The content-addressed store: every result by the digest of its bytes, found by the key of the stage that made it.
//!
//! ```text
//! <artifacts>/store/objects/ab/cdef…     bytes by BLAKE3, read-only, never changed; replaced only where damaged
//!                  /entries/<key>.json   the commit point: written after the objects that it names
//!                  /scratch/<key>/       work in progress, with <key>.lock beside it
//!                  /calls/               answers of language models, shared by all experiments
//!                  /spent/<experiment>/  what each stage spent on them, in all runs
//!                  /last/<experiment>/   the last key of each stage, and the stamps of its view
//!                  /damaged/             what was found damaged and moved out of the way
//!                  /runs/<id>/           the records of runs
//!                  /gate.lock            between those who add and the one who takes away
//!                  /format               the number of the store's form; without the file it is 1
//! <artifacts>/<experiment>/<stage>[@cell]/<port>.<ext>     the view: copies for people
//! ```

mod atomic_write;
mod entry;
mod file_name;
mod gc_lock;
mod latest;
mod layout;
mod lock;
mod object;
mod reading;
mod view;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

pub(crate) use atomic_write::{
    is_temporary, persist_atomically, replace_file, sync_parent, write_atomically, write_in_passing, write_new,
};
use entry::Read;
pub(crate) use entry::{AssetMade, Entry, Made, Output};
pub(crate) use file_name::file_name;
pub(crate) use gc_lock::GcLock;
pub(crate) use latest::{FileStamp, LatestResult, Remembered};
pub(crate) use layout::Store;
pub(crate) use lock::{Holder, KeyLock, given, is_given, is_held};
pub(crate) use object::{Damage, digest_of, digest_with, is_hash};
pub(crate) use reading::{list, read_if_there};
pub(crate) use view::{DisplacedFile, keep};

/// Raised when older programs must keep their hands off the store.
const FORMAT: u64 = 1;

/// What the store knows about a key.
#[derive(Debug)]
pub(crate) enum Lookup {
    Entry(Box<Entry>),
    Nothing,
    /// The result was there; the port (or `entry`) is damaged or lost.
    Damaged(String),
}

/// The path of an entry, and what reading it gave.
pub(crate) type ReadEntry = (PathBuf, anyhow::Result<Option<Entry>>);

impl Store {
    /// Refuses a store whose form is newer than this program. The file `format` says it; without one it is 1.
    pub fn check_format(&self) -> anyhow::Result<()> {
        let path = self.part("format");
        // What else may be wrong with the store is reported where it is used.
        let Ok(text) = fs::read(&path) else { return Ok(()) };
        match String::from_utf8_lossy(&text).trim().parse::<u64>() {
            Ok(format) if format <= FORMAT => Ok(()),
            _ => Err(newer(&path)),
        }
    }

    /// The result of a key, where it is whole as far as existence and sizes tell. Contents are checked by whoever reads
    /// them ([`Store::check_object`]).
    pub fn lookup(&self, key: &str) -> anyhow::Result<Lookup> {
        let entry = match read_entry(&self.entry_path(key))? {
            None => return Ok(Lookup::Nothing),
            Some(Some(entry)) if entry.key == key => entry,
            Some(_) => return Ok(Lookup::Damaged("entry".into())),
        };
        for output in &entry.outputs {
            if !self.object_has_size(&output.digest, output.bytes)? {
                return Ok(Lookup::Damaged(output.port.clone()));
            }
        }
        Ok(Lookup::Entry(entry))
    }

    /// The entry of a key, whether or not its objects are still there.
    pub fn entry(&self, key: &str) -> anyhow::Result<Option<Entry>> {
        Ok(read_entry(&self.entry_path(key))?.flatten().map(|entry| *entry))
    }

    /// The key of every entry, readable or not.
    pub fn keys(&self) -> anyhow::Result<Vec<String>> {
        let key = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".json").map(ToOwned::to_owned);
        Ok(list(&self.part("entries"))?.iter().filter_map(key).filter(|key| is_hash(key)).collect())
    }

    /// Every readable entry, and the paths of those that are not. Files with other names are not the store's.
    pub fn entries(&self) -> anyhow::Result<(Vec<Entry>, Vec<PathBuf>)> {
        let (mut whole, mut damaged) = (Vec::new(), Vec::new());
        for (path, read) in self.each_entry()? {
            match read? {
                Some(entry) => whole.push(entry),
                None => damaged.push(path),
            }
        }
        Ok((whole, damaged))
    }

    /// What reading each entry gave: `None` where it is damaged, an error where the disk does not give it or where it is of a
    /// newer program.
    pub fn each_entry(&self) -> anyhow::Result<Vec<ReadEntry>> {
        let named = |path: &PathBuf| path.file_name()?.to_str()?.strip_suffix(".json").map(is_hash);
        let paths = list(&self.part("entries"))?.into_iter().filter(|path| named(path) == Some(true));
        let read = |path: PathBuf| {
            let read = read_entry(&path).transpose()?;
            Some((path, read.map(|entry| entry.map(|entry| *entry))))
        };
        Ok(paths.filter_map(read).collect())
    }

    /// Moves the files `<dir>/<port>` of `outputs` into the store and then writes the entry: from here on the key is a hit.
    /// The caller holds the key's lock. Digests and sizes of `outputs` are filled in here. `hashed`
    /// is called with how many bytes more are hashed.
    pub fn commit(&self, mut entry: Entry, dir: &Path, hashed: &dyn Fn(u64)) -> anyhow::Result<Entry> {
        let context = |port: &str| format!("keep output `{port}` in `{}`", self.artifacts().display());
        // What takes long comes before the gc lock.
        for output in &mut entry.outputs {
            let ready = self.ready_object(&dir.join(&output.port), hashed);
            (output.digest, output.bytes) = ready.with_context(|| context(&output.port))?;
        }
        // Between the first object and the entry nothing names the objects yet.
        let _gc_lock = self.enter()?;
        for output in &entry.outputs {
            self.put_object(&dir.join(&output.port), &output.digest).with_context(|| context(&output.port))?;
        }
        let path = self.entry_path(&entry.key);
        write_atomically(&path, entry.to_text().as_bytes()).with_context(|| format!("write `{}`", path.display()))?;
        Ok(entry)
    }
}

/// The entry in a file: nothing where there is none, `Some(None)` where it is damaged. One that this program is too old for
/// is an error, so that nobody takes it for damage and makes it again.
fn read_entry(path: &Path) -> anyhow::Result<Option<Option<Box<Entry>>>> {
    let Some(text) = read_if_there(path)? else { return Ok(None) };
    match Entry::from_text(&text) {
        Read::Whole(entry) => Ok(Some(Some(entry))),
        Read::Damaged => Ok(Some(None)),
        Read::Newer => Err(newer(path)),
    }
}

fn newer(path: &Path) -> anyhow::Error {
    anyhow::anyhow!(
        "`{}` was written by a newer apprentice, and nothing was changed\n\
         help: use that one, or give another folder for the results with `--artifacts DIR`",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::entry::tests::entry;
    use super::*;

    #[test]
    fn what_takes_long_in_a_commit_is_done_before_the_gate() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let out = dir.path().join("port");
        fs::write(&out, "bytes").unwrap();
        let output = Output {
            port: "port".into(),
            kind: "text".into(),
            format: 1,
            extension: "txt".into(),
            digest: String::new(),
            bytes: 0,
        };
        let entry = Entry { outputs: vec![output], ..entry() };
        let gc_lock = store.alone().unwrap();
        std::thread::scope(|scope| {
            let commit = scope.spawn(|| store.commit(entry, dir.path(), &|_| {}).unwrap());
            // It becomes read-only when it has been hashed.
            let is_hashed = || fs::metadata(&out).is_ok_and(|found| found.permissions().readonly());
            let start = Instant::now();
            while !is_hashed() && start.elapsed() < Duration::from_secs(10) {
                std::thread::yield_now();
            }
            let (hashed, objects) = (is_hashed(), store.objects().unwrap());
            drop(gc_lock);
            let entry = commit.join().unwrap();
            assert!(hashed && objects.is_empty(), "hashed: {hashed}, objects: {objects:?}");
            assert_eq!(store.objects().unwrap(), [entry.outputs[0].digest.clone()]);
        });
    }
}
