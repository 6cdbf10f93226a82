//! A folder of values by key, shared by stages, runs and experiments.
//!
//! A file is `BLAKE3 of (name, payload) (32 bytes) · payload`; its name is the BLAKE3 of its key, so that a file can be checked
//! by somebody who does not know the question.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::SUM;
use crate::store::{list, read_if_there, write_atomically};

/// Values by key, safe between threads and processes: a value is whole or absent, and the last writer wins.
#[derive(Clone, Debug)]
pub struct Vault {
    dir: PathBuf,
}

impl Vault {
    /// Opens or creates the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("make the folder `{}`", dir.display()))?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    /// The value of `key`; a damaged one is removed and counts as absent.
    ///
    /// # Errors
    /// When the file is there and cannot be read or removed.
    pub fn get(&self, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.path(key);
        let mut bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
        };
        if is_whole(&bytes, &name(key)) {
            bytes.drain(..SUM);
            return Ok(Some(bytes));
        }
        match fs::remove_file(&path) {
            // Somebody else saw the damage first.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            removed => removed.map(|()| None).with_context(|| format!("remove the damaged `{}`", path.display())),
        }
    }

    /// Keeps `payload` under `key`; when it returns, the value survives a kill and a power cut.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn put(&self, key: &str, payload: &[u8]) -> anyhow::Result<()> {
        let path = self.path(key);
        let bytes = [sum(&name(key), payload).as_bytes(), payload].concat();
        write_atomically(&path, &bytes).with_context(|| format!("write `{}`", path.display()))
    }

    fn path(&self, key: &str) -> PathBuf {
        let name = name(key).to_hex();
        self.dir.join(&name[..2]).join(&name[2..])
    }
}

/// The files of all values below the folder of a vault, in the order of their names.
pub(crate) fn values(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut values = Vec::new();
    for folder in list(dir)?.into_iter().filter(|path| path.is_dir()) {
        values.extend(list(&folder)?.into_iter().filter(|path| name_of(path).is_some()));
    }
    Ok(values)
}

/// Whether one of [`values`] is as it was written; `None` where it is gone.
pub(crate) fn is_whole_value(path: &Path) -> anyhow::Result<Option<bool>> {
    let bytes = read_if_there(path)?;
    Ok(bytes.map(|bytes| name_of(path).is_some_and(|name| is_whole(&bytes, &name))))
}

fn name(key: &str) -> blake3::Hash {
    blake3::hash(key.as_bytes())
}

/// The name that a value's place tells.
fn name_of(path: &Path) -> Option<blake3::Hash> {
    let (folder, file) = (path.parent()?.file_name()?.to_str()?, path.file_name()?.to_str()?);
    blake3::Hash::from_hex(format!("{folder}{file}")).ok()
}

fn is_whole(bytes: &[u8], name: &blake3::Hash) -> bool {
    bytes.split_at_checked(SUM).is_some_and(|(stored, payload)| stored == sum(name, payload).as_bytes())
}

fn sum(name: &blake3::Hash, payload: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_values_apart_and_replaces_them() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path()).unwrap();
        assert_eq!(vault.get("a").unwrap(), None);
        vault.put("a", b"1").unwrap();
        vault.put("b", b"").unwrap();
        vault.put("a", b"2").unwrap();
        let again = Vault::open(dir.path()).unwrap();
        assert_eq!(again.get("a").unwrap().unwrap(), b"2");
        assert_eq!(again.get("b").unwrap().unwrap(), b"");
    }

    #[test]
    fn a_value_damaged_at_any_byte_is_absent_and_can_be_put_again() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path()).unwrap();
        vault.put("question", b"answer").unwrap();
        let path = vault.path("question");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x80;
            for damaged in [&whole[..at], &flipped] {
                fs::write(&path, damaged).unwrap();
                assert_eq!(is_whole_value(&path).unwrap(), Some(false));
                assert_eq!(vault.get("question").unwrap(), None, "byte {at}");
                assert!(!path.exists());
            }
        }
        vault.put("question", b"answer").unwrap();
        assert_eq!(vault.get("question").unwrap().unwrap(), b"answer");
        assert_eq!(values(dir.path()).unwrap(), std::slice::from_ref(&path));
        assert_eq!(is_whole_value(&path).unwrap(), Some(true));
    }

    #[test]
    fn many_writers_of_one_key_leave_one_whole_value() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Vault::open(dir.path()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                let vault = &vault;
                scope.spawn(move || vault.put("k", &vec![writer; 10_000]).unwrap());
            }
        });
        let value = vault.get("k").unwrap().unwrap();
        assert_eq!(value, vec![value[0]; 10_000]);
    }
}
