//! One lock for each key: of several runs that want the same result, one makes it.
//!
//! It is a lock of the kernel on `<key>.lock`. It dies with its process, so nobody ever has to unlock by hand; what the file
//! says about its holder is for people.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::Store;

/// Who holds a lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub host: String,
    pub pid: u32,
    /// UTC, `2025-01-31T12:00:00Z`.
    pub since: String,
    pub run: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "process {} on {} (run {}, since {})", self.pid, self.host, self.run, self.since)
    }
}

/// The lock of a key, held until dropped.
#[derive(Debug)]
pub(crate) struct KeyLock {
    file: File,
    path: PathBuf,
}

impl Store {
    /// Takes the lock of a key, or says who holds it (`None` when the holder has not signed yet).
    pub fn try_lock(&self, key: &str, holder: &Holder) -> anyhow::Result<Result<KeyLock, Option<Holder>>> {
        let path = self.part("scratch").join(format!("{key}.lock"));
        let wanted = || format!("lock `{}`", path.display());
        fs::create_dir_all(self.part("scratch")).with_context(wanted)?;
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .with_context(wanted)?;
            if !is_given(file.try_lock()).with_context(wanted)? {
                let mut text = String::new();
                file.read_to_string(&mut text).with_context(wanted)?;
                return Ok(Err(serde_json::from_str(&text).ok()));
            }
            // The holder before may have removed the file between our open and our lock; then ours is a lock on nothing.
            if !is_the_file_at(&file, &path) {
                continue;
            }
            let text = serde_json::to_string(holder).expect("a holder is plain JSON");
            file.set_len(0).with_context(wanted)?;
            file.seek(SeekFrom::Start(0)).with_context(wanted)?;
            file.write_all(text.as_bytes()).with_context(wanted)?;
            return Ok(Ok(KeyLock { file, path }));
        }
    }

    /// Whether somebody holds the lock of a key. Leaves no trace.
    pub fn is_locked(&self, key: &str) -> anyhow::Result<bool> {
        is_held(&self.part("scratch").join(format!("{key}.lock")))
    }
}

/// Whether somebody holds the lock of a file; nobody does where there is no file. Leaves no trace.
pub(crate) fn is_held(path: &Path) -> anyhow::Result<bool> {
    let wanted = || format!("look at the lock of `{}`", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        file => file.with_context(wanted)?,
    };
    is_given(file.try_lock_shared()).map(|given| !given).with_context(wanted)
}

/// Whether a lock that was tried is ours now. A file system without locks gives all: the run has said that it works without;
/// nothing wrong is served, at worst something is made twice.
pub(crate) fn is_given(tried: Result<(), TryLockError>) -> io::Result<bool> {
    match tried {
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => given(Err(error)).map(|()| true),
        Ok(()) => Ok(true),
    }
}

/// The same for a lock that was waited for.
pub(crate) fn given(waited: io::Result<()>) -> io::Result<()> {
    waited.or_else(|error| if no_locks_here(&error) { Ok(()) } else { Err(error) })
}

/// Whether an error of a lock says that this file system has none, and not that something went wrong.
pub(super) fn no_locks_here(error: &io::Error) -> bool {
    // `ENOLCK`: the lock service of a network disk is not there. The standard library has no word for it.
    const NO_SERVICE: i32 = if cfg!(target_os = "linux") { 37 } else { 77 };
    error.kind() == ErrorKind::Unsupported || error.raw_os_error() == Some(NO_SERVICE)
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        // While it is still ours, so that no one else's file is removed.
        let _ = fs::remove_file(&self.path);
        let _ = self.file.unlock();
    }
}

/// Whether an open file is still the one of that name.
#[cfg(unix)]
pub(super) fn is_the_file_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata().map(id), fs::metadata(path).map(id)), (Ok(ours), Ok(theirs)) if ours == theirs)
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
pub(super) fn is_the_file_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(run: &str) -> Holder {
        Holder { host: "here".into(), pid: 7, since: "2025-01-31T12:00:00Z".into(), run: run.into() }
    }

    #[test]
    fn the_second_learns_who_is_first_and_gets_it_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let first = store.try_lock("k", &holder("one")).unwrap().unwrap();
        assert_eq!(store.try_lock("k", &holder("two")).unwrap().unwrap_err(), Some(holder("one")));
        assert!(store.try_lock("other", &holder("two")).unwrap().is_ok());
        assert!(store.is_locked("k").unwrap() && !store.is_locked("other").unwrap());
        drop(first);
        assert!(store.try_lock("k", &holder("two")).unwrap().is_ok());
        assert_eq!(fs::read_dir(store.part("scratch")).unwrap().count(), 0, "lock files do not pile up");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_without_locks_is_told_from_a_disk_in_trouble() {
        // ENOLCK, ENOSYS, EOPNOTSUPP; then EIO, EBADF.
        assert_eq!(
            [37, 38, 95, 5, 9].map(|code| no_locks_here(&io::Error::from_raw_os_error(code))),
            [true, true, true, false, false]
        );
    }

    #[test]
    fn of_many_threads_one_at_a_time_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        let inside = std::sync::atomic::AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lock = loop {
                            if let Ok(lock) = store.try_lock("k", &holder("any")).unwrap() {
                                break lock;
                            }
                            std::thread::yield_now();
                        };
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
    }
}
