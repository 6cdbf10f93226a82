//! Writing so that a kill or a power cut leaves the old file or the new one, never half of one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

use super::lock::{given, is_the_file_at};
use crate::failpoints::reached;

/// Replaces or creates `path`: temporary file beside it, fsync, rename, fsync of the folder.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    synced(path, bytes)?.persist(path)?;
    reached("named", path);
    sync_parent(path)
}

/// Replaces a file of somebody's, which keeps its permissions; through a link, what it leads to.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = path.canonicalize()?;
    let permissions = path.metadata()?.permissions();
    if permissions.readonly() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "it is read-only"));
    }
    let temp = synced(&path, bytes)?;
    fs::set_permissions(temp.path(), permissions)?;
    temp.persist(&path)?;
    sync_parent(&path)
}

/// As [`write_atomically`], without waiting for the disk: a kill leaves the old file or the new one, a power cut may leave
/// neither. For what is a convenience, not a result.
pub(crate) fn write_in_passing(path: &Path, bytes: &[u8]) -> io::Result<()> {
    written(path, bytes)?.persist(path)?;
    reached("named", path);
    Ok(())
}

/// Creates `path` as [`write_atomically`] does, unless something is there already, which is kept. Says whether it did.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    match synced(path, bytes)?.persist_noclobber(path) {
        Ok(_) => reached("named", path),
        Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(refused) => return Err(refused.error),
    }
    sync_parent(path).map(|()| true)
}

/// As [`write_atomically`] for a file that `write` makes itself, at a path where nothing is yet.
///
/// # Errors
/// Those of `write`, or when the file cannot get its name.
pub(crate) fn persist_atomically<T>(path: &Path, write: impl FnOnce(&Path) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let within = |error| anyhow::Error::from(error).context(format!("cannot write `{}`", path.display()));
    let dir = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(folder(path)).map_err(within)?;
    let new = dir.path().join("new");
    let written = write(&new)?;
    let name = || {
        fs::File::open(&new)?.sync_all()?;
        fs::rename(&new, path)?;
        sync_parent(path)
    };
    name().map_err(within)?;
    Ok(written)
}

/// A temporary file beside `path` that holds `bytes`.
fn written(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let dir = folder(path);
    fs::create_dir_all(dir)?;
    let mut temp = temporary(dir)?;
    reached("created", path);
    temp.write_all(bytes)?;
    reached("written", path);
    open_to_others(temp.path())?;
    Ok(temp)
}

/// The same, and it survives a power cut.
fn synced(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let temp = written(path, bytes)?;
    temp.as_file().sync_all()?;
    reached("synced", path);
    Ok(temp)
}

/// What is being written has this name with [`TEMPORARY_LETTERS`] letters or digits after it.
const TEMPORARY: &str = ".new-";
const TEMPORARY_LETTERS: usize = 6;

/// A new file in `dir` for what is being written, locked until it is whole: one that nobody holds was left by a killed
/// process.
pub(super) fn temporary(dir: &Path) -> io::Result<NamedTempFile> {
    loop {
        let temp = tempfile::Builder::new().prefix(TEMPORARY).rand_bytes(TEMPORARY_LETTERS).tempfile_in(dir)?;
        given(temp.as_file().lock())?;
        // `gc` may have come between the two.
        if is_the_file_at(temp.as_file(), temp.path()) {
            return Ok(temp);
        }
    }
}

/// Whether a name is that of a file that [`temporary`] made.
pub(crate) fn is_temporary(path: &Path) -> bool {
    let letters = path.file_name().and_then(|name| name.to_str()?.strip_prefix(TEMPORARY));
    letters.is_some_and(|rest| rest.len() == TEMPORARY_LETTERS && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Makes the bytes of a file survive a power cut.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    reached("synced", path);
    Ok(())
}

/// Moves the finished file `from` (in the same file system) to `to`, unless something is there already, which is kept.
/// Says whether it moved.
pub(super) fn move_new(from: &Path, to: &Path) -> io::Result<bool> {
    fs::create_dir_all(folder(to))?;
    let Err(refused) = TempPath::try_from_path(from)?.persist_noclobber(to) else {
        reached("named", to);
        return sync_parent(to).map(|()| true);
    };
    // Dropped, the path would take the file with it.
    refused.path.keep().map_err(|failed| failed.error)?;
    if refused.error.kind() == ErrorKind::AlreadyExists { Ok(false) } else { Err(refused.error) }
}

/// Makes the name of `path` in its folder as lasting as its bytes.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    // Windows cannot open a folder as a file, and needs no such call.
    if cfg!(unix) {
        File::open(folder(path))?.sync_all()?;
    }
    reached("kept", path);
    Ok(())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Temporary files are for their owner only; what the store keeps is for everyone who may enter its folder.
pub(super) fn open_to_others(path: &Path) -> io::Result<()> {
    set_mode(path, 0o644)
}

/// Nothing in `objects` is ever written again.
pub(super) fn make_read_only(path: &Path) -> io::Result<()> {
    set_mode(path, 0o444)
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    permissions.set_readonly(mode & 0o200 == 0);
    fs::set_permissions(path, permissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_whole_file_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/file");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_being_written_is_locked_and_known_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let temp = temporary(dir.path()).unwrap();
        assert!(is_temporary(temp.path()));
        assert!(File::open(temp.path()).unwrap().try_lock_shared().is_err());
        for name in [".new-idea", ".new-idea12.txt", "new-abcdef", ".new-ab_def"] {
            assert!(!is_temporary(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn never_writes_over_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/file");
        assert!(write_new(&path, b"one").unwrap());
        assert!(!write_new(&path, b"two").unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn never_moves_over_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "sub/to"].map(|name| dir.path().join(name));
        fs::write(&from, b"one").unwrap();
        assert!(move_new(&from, &to).unwrap());
        fs::write(&from, b"two").unwrap();
        assert!(!move_new(&from, &to).unwrap());
        assert_eq!((fs::read(&to).unwrap(), fs::read(&from).unwrap()), (b"one".to_vec(), b"two".to_vec()));
    }
}
