//! Reading what may not be there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The bytes of a file, `None` where there is no file.
pub(crate) fn read_if_there(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read `{}`", path.display())),
    }
}

/// What lies in a folder, in the order of the names; nothing where there is no folder.
pub(crate) fn list(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let wanted = || format!("list `{}`", dir.display());
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        entries => entries.with_context(wanted)?,
    };
    let mut paths =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>().with_context(wanted)?;
    paths.sort();
    Ok(paths)
}
