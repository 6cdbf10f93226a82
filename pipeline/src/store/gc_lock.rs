//! The lock between those who add to the store and the one who takes away from it, shared by the former.
//!
//! `gc` must not take what a run is just about to rely on. So a run holds this lock together with others whenever it does
//! so: it writes the key that it asks for into its record and looks the key up ([`Store::enter`]), or it moves objects in
//! and names them in an entry. Any number may hold it at once, each for a moment. Whoever takes away holds it alone
//! ([`Store::alone`]), and keeps what the records of runs ask for, also of runs still at work. Long work never happens
//! under it, so nobody waits long.
//!
//! Like the locks of keys it is a lock of the kernel, on `store/gate.lock`, and dies with its process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};

use anyhow::{Context as _, bail};

use super::Store;
use super::atomic_write::temporary;
use super::lock::{given, no_locks_here};

/// The lock, held until dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct GcLock {
    _file: File,
}

impl Store {
    /// Takes the lock together with others; waits while somebody takes away.
    pub fn enter(&self) -> anyhow::Result<GcLock> {
        self.pass(File::lock_shared)
    }

    /// Takes the lock alone; waits for those who hold it.
    ///
    /// # Errors
    /// Where the file system holds no locks, too: a run at work could not be noticed.
    pub fn alone(&self) -> anyhow::Result<GcLock> {
        if let Some(why) = self.locks_missing()? {
            bail!(
                "nothing can be removed: {why}, so a concurrent run would not be noticed\nhelp: move the store to a local disk for this, and back"
            );
        }
        self.pass(File::lock)
    }

    fn pass(&self, lock: fn(&File) -> io::Result<()>) -> anyhow::Result<GcLock> {
        let path = self.part("gate.lock");
        let wanted = || format!("lock `{}`", path.display());
        let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = match open() {
            // The first ever.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(self.part("")).and_then(|()| open()).with_context(wanted)?
            }
            file => file.with_context(wanted)?,
        };
        // Where there are no locks, whoever takes away refuses to work.
        given(lock(&file)).with_context(wanted)?;
        Ok(GcLock { _file: file })
    }

    /// Why kernel locks cannot be relied on here; `None` where they hold. Found out by locking one file twice.
    pub fn locks_missing(&self) -> anyhow::Result<Option<String>> {
        let wanted = || format!("try out a lock in `{}`", self.part("").display());
        fs::create_dir_all(self.part("")).with_context(wanted)?;
        let first = temporary(&self.part("")).with_context(wanted)?;
        let second = File::open(first.path()).with_context(wanted)?;
        let refusal = match second.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) if !no_locks_here(&error) => return Err(error).with_context(wanted),
            Err(TryLockError::Error(error)) => format!(" ({error})"),
            Ok(()) => String::new(),
        };
        Ok(Some(format!("the file system of `{}` does not hold locks{refusal}", self.artifacts().display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_inside_together_and_one_alone() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        assert_eq!(store.locks_missing().unwrap(), None);
        let together = [store.enter().unwrap(), store.enter().unwrap()];
        let another = File::open(store.part("gate.lock")).unwrap();
        assert!(matches!(another.try_lock(), Err(TryLockError::WouldBlock)), "two are inside");
        drop(together);
        let alone = store.alone().unwrap();
        assert!(matches!(another.try_lock_shared(), Err(TryLockError::WouldBlock)), "one is alone");
        drop(alone);
        another.try_lock().unwrap();
        assert_eq!(fs::read_dir(dir.path().join("store")).unwrap().count(), 1, "trying locks out leaves nothing");
    }
}
