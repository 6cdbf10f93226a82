//! The cache of fetched assets, shared by all experiments of a user.
//!
//! ```text
//! <cache>/assets/<readable>-<key>/    one slot for each source and wanted digest
//!     asset.json                      the record; written last, so a slot without it holds nothing
//!     <digest>/<name>                 the content, never changed once it is there
//!     parts/                          downloads under way, and what a killed one left
//!     lock                            held by whoever fetches
//! <cache>/sha256/<blake3>             the SHA-256 of content that was hashed before, wherever it lay
//! <cache>/seen/<key of the path>      the digest of a file or folder of the user, see [`super::digest_cache`]
//! ```
//!
//! A content that looks as it did when its digests were taken is served without being read. Removing any folder here is
//! safe: what is missed is fetched or read again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::digest::{FileStamp, Tree};
use super::tree_snapshot::{TreeSnapshot, now};
use super::{Resolved, Work};
use crate::home_dir::expand_tilde;
use crate::store::{is_given, is_held, list};

/// How often someone who waits looks whether the lock is free and whether to stop.
const GLANCE: Duration = Duration::from_millis(100);

/// Where fetched assets are kept unless set otherwise: `$APPRENTICE_CACHE`, else `$XDG_CACHE_HOME/apprentice`, else
/// `~/.cache/apprentice`; without a home, a folder among the temporary files.
#[must_use]
pub fn default_cache() -> PathBuf {
    place(|name| std::env::var_os(name), std::env::home_dir())
}

fn place(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> PathBuf {
    let folder =
        |name: &str| variable(name).filter(|value| !value.is_empty()).map(|value| expand_tilde(Path::new(&value)));
    folder("APPRENTICE_CACHE")
        // The XDG rules say that a relative path there is to be ignored.
        .or_else(|| folder("XDG_CACHE_HOME").filter(|path| path.is_absolute()).map(|path| path.join("apprentice")))
        .or_else(|| home.filter(|path| path.is_absolute()).map(|path| path.join(".cache").join("apprentice")))
        .unwrap_or_else(|| std::env::temp_dir().join("apprentice-cache"))
}

#[derive(Debug)]
pub(super) struct Cache {
    root: PathBuf,
}

/// The place of one source's content.
#[derive(Debug)]
pub(super) struct Slot {
    folder: PathBuf,
}

/// `asset.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Where it came from, for people.
    pub(super) origin: String,
    /// Of the content, as [`super::digest`] defines it.
    pub(super) sha256: String,
    /// Likewise.
    pub(super) blake3: String,
    /// The content's file or folder, below the folder of its digest.
    pub(super) name: String,
    /// Which build of the program made it; empty for content that no program of ours makes.
    pub(super) maker: String,
    /// The files as they were when the digests were taken.
    pub(super) files: Vec<FileStamp>,
    /// When that was, in nanoseconds since 1970.
    #[serde(default)]
    pub(super) read: u64,
}

impl Cache {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The slots of all that was ever fetched.
    pub(super) fn slots(&self) -> anyhow::Result<Vec<Slot>> {
        Ok(list(&self.root.join("assets"))?.into_iter().map(|folder| Slot { folder }).collect())
    }

    /// The slot of the source that `text` names, given the wanted digest.
    pub(super) fn slot(&self, text: &str, wanted: Option<&str>) -> Slot {
        let key = blake3::hash(format!("{text}\0{}", wanted.unwrap_or_default()).as_bytes()).to_hex();
        let tail = text.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let readable: String = tail
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' })
            .take(60)
            .collect();
        let name = format!("{}-{}", readable.trim_start_matches(['.', '-']), &key[..16]);
        Slot { folder: self.root.join("assets").join(name) }
    }

    /// The SHA-256 of a tree that has this BLAKE3; taken once for each content. A cache that cannot be written to only
    /// means that it is taken again next time.
    pub(super) fn sha256(&self, tree: &Tree, blake3: &str, work: &Work) -> anyhow::Result<String> {
        let folder = self.root.join("sha256");
        if let Ok(known) = fs::read_to_string(folder.join(blake3))
            && known.len() == 64
        {
            return Ok(known);
        }
        let digest = tree.sha256(work)?;
        if !tree.is_as_it_was() {
            bail!("it changed while it was read");
        }
        let _ = fs::create_dir_all(&folder)
            .map_err(anyhow::Error::from)
            .and_then(|()| publish(&folder, blake3, digest.as_bytes()));
        Ok(digest)
    }
}

impl Slot {
    /// The record and its content where both are there and unharmed; `None` where it must be fetched, and when cancelled.
    pub(super) fn hit(&self, maker: &str, work: &Work) -> Option<Resolved> {
        let mut record = self.record(maker)?;
        let path = self.content(&record);
        let tree = Tree::list(&path).ok()?;
        let seen = TreeSnapshot { files: record.files, read: record.read };
        if !seen.is(&tree) {
            let read = now();
            if tree.blake3(work).ok()? != record.blake3 {
                return None;
            }
            (record.files, record.read) = (tree.stamps, read);
            // In a cache that is read-only the next hit reads the bytes again; nothing else is lost.
            let _ = self.write(&record);
        }
        Some(Resolved { path, digest: record.blake3, sha256: Some(record.sha256), origin: record.origin })
    }

    /// Reads every byte of the content; `None` where there is none. A damaged one is forgotten, so that the next fetch gets
    /// it anew, and its place is reported. What somebody fetches at this moment is not looked at.
    pub(super) fn check(&self) -> anyhow::Result<Option<Result<(), PathBuf>>> {
        let held = is_held(&self.folder.join("lock"))?;
        let Some(record) = self.any_record().filter(|_| !held) else { return Ok(None) };
        let path = self.content(&record);
        let digest = Tree::list(&path).and_then(|tree| tree.blake3(&Work::silent()));
        if digest.is_ok_and(|digest| digest == record.blake3) {
            return Ok(Some(Ok(())));
        }
        // Another run may have put a whole one there while this one was read.
        if self.any_record().as_ref() != Some(&record) {
            return Ok(None);
        }
        let file = self.folder.join("asset.json");
        fs::remove_file(&file).with_context(|| format!("it is damaged; remove `{}`", file.display()))?;
        Ok(Some(Err(path)))
    }

    /// The folder of the slot.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits for the slot's lock; the kernel takes it back when its process ends in whatever way.
    pub(super) fn lock(&self, work: &Work) -> anyhow::Result<File> {
        let path = self.folder.join("lock");
        let place =
            || format!("cannot lock `{}` (APPRENTICE_CACHE can name another folder for the cache)", path.display());
        fs::create_dir_all(&self.folder).with_context(place)?;
        let file = File::create(&path).with_context(place)?;
        let mut waiting = None;
        loop {
            if is_given(file.try_lock()).with_context(place)? {
                return Ok(file);
            }
            waiting.get_or_insert_with(|| work.bar("wait for another run that fetches", None, "")).inc(0);
            work.check_cancelled()?;
            std::thread::sleep(GLANCE);
        }
    }

    /// The folder for downloads under way; call it with the lock held.
    pub(super) fn parts(&self) -> anyhow::Result<PathBuf> {
        let folder = self.folder.join("parts");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        Ok(folder)
    }

    /// Moves `made` (a file or folder in [`Slot::parts`], whose digests `record` has) in as the slot's content; call it
    /// with the lock held.
    pub(super) fn commit(&self, made: &Path, mut record: Record, work: &Work) -> anyhow::Result<Resolved> {
        let path = self.content(&record);
        let place = || format!("cannot write `{}`", path.display());
        let folder = path.parent().unwrap_or(&self.folder);
        let unharmed = Tree::list(&path).and_then(|tree| tree.blake3(work)).is_ok_and(|digest| digest == record.blake3);
        work.check_cancelled()?;
        if !unharmed {
            sync(made).with_context(place)?;
            if folder.exists() {
                fs::remove_dir_all(folder).with_context(place)?;
            }
            fs::create_dir_all(folder).with_context(place)?;
            fs::rename(made, &path).with_context(place)?;
            sync_folder(folder).with_context(place)?;
        }
        record.files = Tree::list(&path)?.stamps;
        self.write(&record)?;
        // Only now may what a killed fetch left go: until here it could still serve to resume.
        let _ = fs::remove_dir_all(self.folder.join("parts"));
        Ok(Resolved { path, digest: record.blake3, sha256: Some(record.sha256), origin: record.origin })
    }

    fn content(&self, record: &Record) -> PathBuf {
        self.folder.join(&record.blake3[..16.min(record.blake3.len())]).join(&record.name)
    }

    fn record(&self, maker: &str) -> Option<Record> {
        self.any_record().filter(|record| record.maker == maker)
    }

    fn any_record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.folder.join("asset.json")).ok()?).ok()
    }

    fn write(&self, record: &Record) -> anyhow::Result<()> {
        publish(&self.folder, "asset.json", &serde_json::to_vec_pretty(record)?)
    }
}

/// Puts a whole file in place or none: the name never shows a part of it, not even after a power cut.
pub(super) fn publish(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let place = || format!("cannot write `{}`", folder.join(name).display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(place)?;
    file.write_all(bytes).with_context(place)?;
    file.as_file().sync_all().with_context(place)?;
    file.persist(folder.join(name)).with_context(place)?;
    sync_folder(folder).with_context(place)
}

fn sync(path: &Path) -> std::io::Result<()> {
    if !path.is_dir() {
        return File::open(path)?.sync_all();
    }
    for entry in fs::read_dir(path)? {
        sync(&entry?.path())?;
    }
    sync_folder(path)
}

/// Some systems cannot open a folder to sync it; there the rename alone must do.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(slot: &Slot, text: &str) -> Resolved {
        let _lock = slot.lock(&Work::silent()).unwrap();
        let made = slot.parts().unwrap().join("made");
        fs::write(&made, text).unwrap();
        let tree = Tree::list(&made).unwrap();
        let record = Record {
            origin: "test".into(),
            sha256: tree.sha256(&Work::silent()).unwrap(),
            blake3: tree.blake3(&Work::silent()).unwrap(),
            name: "a.txt".into(),
            maker: String::new(),
            files: Vec::new(),
            read: now(),
        };
        slot.commit(&made, record, &Work::silent()).unwrap()
    }

    #[test]
    fn the_place_follows_the_variables() {
        let home = || Some(PathBuf::from("/home/me"));
        let set = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|pair| pair.0 == name).map(|pair| OsString::from(pair.1))
        };
        assert_eq!(place(set(&[("APPRENTICE_CACHE", "/a"), ("XDG_CACHE_HOME", "/x")]), home()), Path::new("/a"));
        assert_eq!(
            place(set(&[("APPRENTICE_CACHE", ""), ("XDG_CACHE_HOME", "/x")]), home()),
            Path::new("/x/apprentice")
        );
        assert_eq!(place(set(&[("XDG_CACHE_HOME", "x")]), home()), Path::new("/home/me/.cache/apprentice"));
        assert!(place(set(&[]), None).ends_with("apprentice-cache"));
    }

    #[test]
    fn a_commit_is_a_hit_and_leaves_no_parts() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Cache::new(dir.path().into()).slot("url", None);
        assert_eq!(slot.hit("", &Work::silent()), None);
        let made = commit(&slot, "content");
        assert_eq!(slot.hit("", &Work::silent()), Some(made.clone()));
        assert_eq!(slot.check().unwrap(), Some(Ok(())));
        assert_eq!(fs::read_to_string(&made.path).unwrap(), "content");
        assert!(made.path.ends_with("a.txt"));
        assert!(!slot.folder.join("parts").exists());
    }

    #[test]
    fn a_touched_file_is_read_again_and_stamped() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Cache::new(dir.path().into()).slot("url", None);
        let made = commit(&slot, "content");
        let before = slot.record("").unwrap();
        File::options().append(true).open(&made.path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(slot.hit("", &Work::silent()), Some(made));
        let after = slot.record("").unwrap();
        assert_ne!(before.files, after.files);
        assert_eq!(after.files[0].modified, 0);
    }

    #[test]
    fn another_content_of_equal_size_is_seen_at_once_also_where_its_time_was_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Cache::new(dir.path().into()).slot("url", None);
        let made = commit(&slot, "content");
        let time = fs::metadata(&made.path).unwrap().modified().unwrap();
        fs::write(&made.path, "CONTENT").unwrap();
        File::options().append(true).open(&made.path).unwrap().set_modified(time).unwrap();
        assert_eq!(slot.hit("", &Work::silent()), None);
        let again = commit(&slot, "content");
        assert_eq!(fs::read_to_string(again.path).unwrap(), "content");
    }

    #[test]
    fn what_looks_as_it_did_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Cache::new(dir.path().into()).slot("url", None);
        let made = commit(&slot, "content");
        let mut record = slot.record("").unwrap();
        // As if it had been read an hour after it came, and some bits had changed since without a trace.
        (record.read, record.blake3) = (now() + 3_600_000_000_000, format!("{}0", &record.blake3[..63]));
        slot.write(&record).unwrap();
        assert_eq!(slot.hit("", &Work::silent()).unwrap().digest, record.blake3);
        assert_ne!(made.digest, record.blake3);
        assert_eq!(slot.check().unwrap(), Some(Err(made.path)), "only who reads every byte can see that");
        assert_eq!(slot.hit("", &Work::silent()), None);
        assert_eq!(slot.check().unwrap(), None, "it is reported once");
    }

    #[test]
    fn the_content_of_another_build_is_no_hit() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Cache::new(dir.path().into()).slot("generate a", None);
        commit(&slot, "content");
        assert_eq!(slot.hit("newer", &Work::silent()), None);
    }

    #[test]
    fn sha256_is_taken_once_for_each_content() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().into());
        let file = dir.path().join("file");
        fs::write(&file, "abc").unwrap();
        let tree = Tree::list(&file).unwrap();
        let blake3 = tree.blake3(&Work::silent()).unwrap();
        let digest = cache.sha256(&tree, &blake3, &Work::silent()).unwrap();
        fs::remove_file(&file).unwrap();
        assert_eq!(cache.sha256(&tree, &blake3, &Work::silent()).unwrap(), digest);
    }

    #[test]
    fn waiting_for_a_lock_ends_when_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let slot = Cache::new(dir.path().into()).slot("url", None);
        let _held = slot.lock(&Work::silent()).unwrap();
        let work = Work::silent();
        work.cancel.raise();
        assert!(slot.lock(&work).unwrap_err().is::<crate::Interrupted>());
    }
}
