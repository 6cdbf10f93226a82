//! A folder of values by key, shared by stages, runs and experiments.
//!
//! A file is `BLAKE3 of (name, payload) (32 bytes) · payload`; its name is the BLAKE3 of its key, so that a file can be checked
//! by somebody who does not know the question. Once it is there it is never written again, unless it is damaged: whoever
//! has read a value may build on it, whatever other processes do.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::SUM;
use crate::store::{given, list, read_if_there, write_atomically, write_new};

/// Values by key, safe between threads and processes: a value is whole or absent, and the first writer wins.
#[derive(Clone, Debug)]
pub struct ValueStore {
    dir: PathBuf,
}

impl ValueStore {
    /// Opens or creates the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("make the folder `{}`", dir.display()))?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    /// The value of `key`; a damaged one counts as absent.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn get(&self, key: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.path(key);
        let mut bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read `{}`", path.display())),
        };
        Ok(is_whole(&bytes, &name(key)).then(|| {
            bytes.drain(..SUM);
            bytes
        }))
    }

    /// Keeps `payload` under `key` unless a value is there already; gives the value that counts from now on, which survives
    /// a kill and a power cut.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn put_new(&self, key: &str, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
        let path = self.path(key);
        let wanted = || format!("write `{}`", path.display());
        let bytes = [sum(&name(key), payload).as_bytes(), payload].concat();
        if write_new(&path, &bytes).with_context(wanted)? {
            return Ok(payload.to_vec());
        }
        if let Some(first) = self.get(key)? {
            return Ok(first);
        }
        // Damaged. Of several that find it so, one at a time replaces it, and the next one sees the new value.
        let damaged = OpenOptions::new().read(true).write(true).open(&path).with_context(wanted)?;
        given(damaged.lock()).with_context(wanted)?;
        if let Some(first) = self.get(key)? {
            return Ok(first);
        }
        write_atomically(&path, &bytes).with_context(wanted)?;
        Ok(payload.to_vec())
    }

    fn path(&self, key: &str) -> PathBuf {
        let name = name(key).to_hex();
        self.dir.join(&name[..2]).join(&name[2..])
    }
}

/// The files of all values below the folder of a value store, in the order of their names.
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
    fn keeps_values_apart_and_the_first_one_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let store = ValueStore::open(dir.path()).unwrap();
        assert_eq!(store.get("a").unwrap(), None);
        assert_eq!(store.put_new("a", b"1").unwrap(), b"1");
        assert_eq!(store.put_new("b", b"").unwrap(), b"");
        assert_eq!(store.put_new("a", b"2").unwrap(), b"1");
        let again = ValueStore::open(dir.path()).unwrap();
        assert_eq!(again.get("a").unwrap().unwrap(), b"1");
        assert_eq!(again.get("b").unwrap().unwrap(), b"");
    }

    #[test]
    fn a_value_damaged_at_any_byte_is_absent_and_can_be_put_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = ValueStore::open(dir.path()).unwrap();
        store.put_new("question", b"answer").unwrap();
        let path = store.path("question");
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x80;
            for damaged in [&whole[..at], &flipped] {
                fs::write(&path, damaged).unwrap();
                assert_eq!(is_whole_value(&path).unwrap(), Some(false));
                assert_eq!(store.get("question").unwrap(), None, "byte {at}");
                assert_eq!(store.put_new("question", b"other").unwrap(), b"other");
                assert_eq!(store.put_new("question", b"answer").unwrap(), b"other");
            }
        }
        assert_eq!(values(dir.path()).unwrap(), std::slice::from_ref(&path));
        store.put_new("question", b"answer").unwrap();
        assert_eq!(is_whole_value(&path).unwrap(), Some(true));
    }

    #[test]
    fn many_writers_of_one_key_agree_on_one_value_also_over_a_damaged_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = ValueStore::open(dir.path()).unwrap();
        for round in 0..20 {
            let key = format!("key {round}");
            if round % 2 == 1 {
                store.put_new(&key, b"old").unwrap();
                fs::write(store.path(&key), b"spoiled").unwrap();
            }
            let put = |writer: u8| store.put_new(&key, &vec![writer; 10_000]).unwrap();
            let values: Vec<_> = std::thread::scope(|scope| {
                let writers: Vec<_> = (0..8_u8).map(|writer| scope.spawn(move || put(writer))).collect();
                writers.into_iter().map(|writer| writer.join().unwrap()).collect()
            });
            let found = store.get(&key).unwrap().unwrap();
            assert_eq!(found, vec![found[0]; 10_000]);
            assert!(values.iter().all(|value| *value == found), "round {round}");
        }
    }
}
