//! The file that `apprentice init` writes.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Writes `text` to `path`, which must not exist: an experiment is never overwritten.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn write_starter(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => {
            anyhow::anyhow!("`{}` exists already\nhelp: give another name; nothing is overwritten", path.display())
        }
        ErrorKind::NotFound => {
            anyhow::anyhow!("there is no folder for `{}`\nhelp: make it first", path.display())
        }
        _ => anyhow::anyhow!("cannot write `{}`: {error}", path.display()),
    })?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| anyhow::anyhow!("cannot write `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_existing_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.yaml");
        write_starter(&path, "name: a\n").unwrap();
        let error = write_starter(&path, "name: b\n").unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "name: a\n");
        let error = write_starter(&folder.path().join("no/mine.yaml"), "").unwrap_err().to_string();
        assert!(error.contains("there is no folder"), "{error}");
    }
}
