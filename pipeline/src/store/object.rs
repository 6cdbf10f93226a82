//! Objects: bytes by their digest.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::atomic_write::{make_read_only, move_new, sync};
use super::{Store, list};
use crate::failpoints::reached;

/// An object that is not what its name says. It was moved aside, so that nothing can be served from it.
#[derive(Debug, thiserror::Error)]
#[error("the object {digest} is damaged or lost{}", .moved.as_ref().map(|path| format!("; it was moved to `{}`", path.display())).unwrap_or_default())]
pub(crate) struct Damage {
    pub digest: String,
    pub moved: Option<PathBuf>,
}

impl Store {
    /// Where the bytes of a digest lie.
    pub fn object(&self, digest: &str) -> PathBuf {
        let (folder, name) = digest.split_at_checked(2).unwrap_or(("", digest));
        self.part("objects").join(folder).join(name)
    }

    /// The cheap check of a hit.
    pub fn object_has_size(&self, digest: &str, bytes: u64) -> anyhow::Result<bool> {
        let path = self.object(digest);
        match fs::metadata(&path) {
            Ok(found) => Ok(found.is_file() && found.len() == bytes),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error).with_context(|| format!("look at `{}`", path.display())),
        }
    }

    /// The full check, before anyone reads it: hashes the object, and moves it aside when it is damaged.
    pub fn check_object(&self, digest: &str) -> anyhow::Result<Result<PathBuf, Damage>> {
        let path = self.object(digest);
        match digest_of(&path) {
            Ok(found) if found == digest => return Ok(Ok(path)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Err(Damage { digest: digest.into(), moved: None }));
            }
            // Unreadable sectors are damage too.
            Ok(_) | Err(_) => {}
        }
        let Some(aside) = self.move_aside(&path, digest)? else {
            return Ok(Err(Damage { digest: digest.into(), moved: None }));
        };
        reached("aside", &path);
        // Another process had made it again between our look and our move.
        if digest_of(&aside).is_ok_and(|found| found == digest) {
            move_new(&aside, &path).with_context(|| format!("move `{}` back", path.display()))?;
            return Ok(Ok(path));
        }
        Ok(Err(Damage { digest: digest.into(), moved: Some(aside) }))
    }

    /// Moves a damaged object to `damaged/<digest>-<number>`, of which none is ever replaced. `None` where another process moved
    /// it first.
    fn move_aside(&self, path: &Path, digest: &str) -> anyhow::Result<Option<PathBuf>> {
        let wanted = || format!("move the damaged `{}` aside", path.display());
        let aside = (0_u64..).map(|number| self.part("damaged").join(format!("{digest}-{number}")));
        for aside in aside {
            match move_new(path, &aside) {
                Ok(true) => return Ok(Some(aside)),
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error).with_context(wanted),
            }
        }
        Ok(None)
    }

    /// Makes a finished file ready for [`Store::put_object`]: read-only, and on the disk. Gives its digest and size. Where the
    /// store has a damaged file under the digest, that is moved aside. `hashed` is called with how many bytes more are hashed.
    pub(super) fn ready_object(&self, path: &Path, hashed: &dyn Fn(u64)) -> anyhow::Result<(String, u64)> {
        let metadata = fs::symlink_metadata(path).with_context(|| format!("look at `{}`", path.display()))?;
        ensure!(metadata.is_file(), "`{}` is not a plain file", path.display());
        let count = |bytes: usize| -> std::io::Result<()> {
            hashed(bytes as u64);
            Ok(())
        };
        let digest = digest_with(path, count).with_context(|| format!("read `{}`", path.display()))?;
        make_read_only(path).with_context(|| format!("make `{}` read-only", path.display()))?;
        reached("read-only", path);
        sync(path).with_context(|| format!("write `{}` to the disk", path.display()))?;
        // Whole or not, what counts is that nothing damaged stays in the way.
        let _ = self.check_object(&digest)?;
        Ok((digest, metadata.len()))
    }

    /// Whether some object has so many bytes.
    pub fn holds_size(&self, bytes: u64) -> anyhow::Result<bool> {
        for digest in self.objects()? {
            if self.object_has_size(&digest, bytes)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves a file that is ready into the store; the caller holds the gc lock. One that is there already under the digest is
    /// kept: it was whole when it was looked at, or somebody else has just put it there.
    pub(super) fn put_object(&self, path: &Path, digest: &str) -> anyhow::Result<()> {
        let object = self.object(digest);
        move_new(path, &object).map(|_| ()).with_context(|| format!("write `{}`", object.display()))
    }

    /// The digests of all objects. Files with other names are not the store's.
    pub fn objects(&self) -> anyhow::Result<Vec<String>> {
        let mut digests = Vec::new();
        // Other files are not the store's: a file manager or a network disk leaves some.
        for folder in list(&self.part("objects"))?.into_iter().filter(|path| path.is_dir()) {
            let prefix = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for path in list(&folder)? {
                let digest = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
                digests.extend(is_hash(&digest).then_some(digest));
            }
        }
        Ok(digests)
    }
}

/// Bytes that are read and then hashed in one go: enough for many threads, little beside what a stage holds.
const AT_ONCE: u64 = 4 << 20;
/// Below this, sharing the work costs more than it gains.
const WORTH_SHARING: usize = 128 << 10;

/// Whether a name is one that the store gives: a key or a digest.
pub(crate) fn is_hash(name: &str) -> bool {
    blake3::Hash::from_hex(name).is_ok()
}

/// BLAKE3 of a file in hex.
///
/// The file is read, not mapped: that is as fast, and a file that shrinks meanwhile or a bad sector is an error, where a map
/// would end the process.
pub(crate) fn digest_of(path: &Path) -> io::Result<String> {
    digest_with(path, |_| Ok(()))
}

/// As [`digest_of`], telling `hashed` how many bytes more are done; an error of it ends the work.
pub(crate) fn digest_with<E: From<io::Error>>(
    path: &Path,
    hashed: impl Fn(usize) -> Result<(), E>,
) -> Result<String, E> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; file.metadata()?.len().clamp(1, AT_ONCE) as usize];
    let mut hasher = blake3::Hasher::new();
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let bytes = &buffer[..filled];
        if filled < WORTH_SHARING {
            hasher.update(bytes)
        } else {
            hasher.update_rayon(bytes)
        };
        hashed(filled)?;
        if filled < buffer.len() {
            return Ok(hasher.finalize().to_hex().to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(store: &Store, bytes: &[u8]) -> String {
        let file = store.artifacts().join("new");
        fs::write(&file, bytes).unwrap();
        let (digest, _) = store.ready_object(&file, &|_| {}).unwrap();
        store.put_object(&file, &digest).unwrap();
        digest
    }

    #[test]
    fn equal_bytes_are_kept_once_and_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let digest = put(&store, b"bytes");
        assert_eq!(put(&store, b"bytes"), digest);
        assert_eq!(store.objects().unwrap(), std::slice::from_ref(&digest));
        assert!(fs::metadata(store.object(&digest)).unwrap().permissions().readonly());
        assert!(store.object_has_size(&digest, 5).unwrap());
        assert!(!store.object_has_size(&digest, 6).unwrap());
    }

    #[test]
    fn a_file_of_any_length_has_the_digest_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let whole = AT_ONCE as usize;
        for length in [0, 1, WORTH_SHARING - 1, WORTH_SHARING, whole - 1, whole, whole + 1, 2 * whole] {
            let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            fs::write(&path, &bytes).unwrap();
            assert_eq!(digest_of(&path).unwrap(), blake3::hash(&bytes).to_hex().as_str(), "{length} bytes");
        }
        assert!(digest_of(dir.path()).is_err());
    }

    #[test]
    fn a_damaged_object_is_moved_aside_and_replaced_by_the_next_good_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let digest = put(&store, b"bytes");
        let path = store.object(&digest);
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"bytez").unwrap();
        let damage = store.check_object(&digest).unwrap().unwrap_err();
        assert_eq!(fs::read(damage.moved.unwrap()).unwrap(), b"bytez");
        assert!(store.check_object(&digest).unwrap().unwrap_err().moved.is_none(), "now it is merely lost");
        fs::write(&path, b"bytez").unwrap();
        assert_eq!(put(&store, b"bytes"), digest);
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
    }

    #[test]
    fn no_damaged_object_replaces_another_whatever_was_taken_away_between() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let digest = put(&store, b"bytes");
        let spoil = |bytes: &[u8]| {
            let _ = fs::remove_file(store.object(&digest));
            fs::write(store.object(&digest), bytes).unwrap();
            store.check_object(&digest).unwrap().unwrap_err().moved.unwrap()
        };
        let first = spoil(b"first");
        let second = spoil(b"second");
        // As `gc` does.
        fs::remove_file(&first).unwrap();
        let third = spoil(b"third");
        let read = |path: PathBuf| fs::read(path).unwrap();
        assert_eq!((read(second), read(third)), (b"second".to_vec(), b"third".to_vec()));
    }
}
