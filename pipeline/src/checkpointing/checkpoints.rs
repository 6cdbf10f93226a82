//! Numbered states of one growing piece of work, of which the last whole one counts.
//!
//! A file is `BLAKE3 of (number, payload) (32 bytes) · payload`, named `<number>.checkpoint`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::SUM;
use crate::failpoints::reached;
use crate::store::{read_if_there, write_atomically};

const EXTENSION: &str = "checkpoint";
/// The last one, and the one before it in case the last one is damaged.
const KEPT: usize = 2;

/// A folder of checkpoints. One writer at a time: the lock of the key sees to that.
#[derive(Debug)]
pub struct Checkpoints {
    dir: PathBuf,
}

impl Checkpoints {
    /// Opens or creates the folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("make the folder of checkpoints `{}`", dir.display()))?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    /// The whole checkpoint with the highest number. Damaged ones are passed over and removed.
    ///
    /// # Errors
    /// When the folder or a file cannot be read.
    pub fn latest(&self) -> anyhow::Result<Option<(u64, Vec<u8>)>> {
        for number in self.numbers()?.into_iter().rev() {
            let path = self.path(number);
            let bytes = fs::read(&path).with_context(|| format!("read the checkpoint `{}`", path.display()))?;
            if let Some(payload) = payload(number, &bytes) {
                return Ok(Some((number, payload.to_vec())));
            }
            fs::remove_file(&path).with_context(|| format!("remove the damaged checkpoint `{}`", path.display()))?;
        }
        Ok(None)
    }

    /// Saves the state after `number` units; when it returns, the checkpoint survives a kill and a power cut.
    ///
    /// # Errors
    /// When the disk refuses; the earlier checkpoints are then as before.
    pub fn save(&self, number: u64, payload: &[u8]) -> anyhow::Result<()> {
        let path = self.path(number);
        write_atomically(&path, &[sum(number, payload).as_bytes(), payload].concat())
            .with_context(|| format!("save the checkpoint `{}`", path.display()))?;
        for old in self.numbers()?.into_iter().rev().skip(KEPT) {
            let path = self.path(old);
            fs::remove_file(&path).with_context(|| format!("remove the old checkpoint `{}`", path.display()))?;
            reached("removed", &path);
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number}.{EXTENSION}"))
    }

    /// The numbers that are there, ascending.
    fn numbers(&self) -> anyhow::Result<Vec<u64>> {
        let wanted = || format!("list the checkpoints in `{}`", self.dir.display());
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir).with_context(wanted)? {
            numbers.extend(number(&entry.with_context(wanted)?.path()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Whether a checkpoint is as it was written; `None` where the file is gone or none.
pub(crate) fn is_whole_checkpoint(path: &Path) -> anyhow::Result<Option<bool>> {
    let Some(number) = number(path) else { return Ok(None) };
    Ok(read_if_there(path)?.map(|bytes| payload(number, &bytes).is_some()))
}

/// What [`Checkpoints::latest`] would find in a folder with these files, without removing anything: the number of the last
/// whole checkpoint, and how many damaged ones stand above it. One that cannot be read from here counts as whole: the stage
/// will say what is wrong with it.
pub(crate) fn standing(files: &[PathBuf]) -> (Option<u64>, usize) {
    let mut numbered: Vec<_> = files.iter().filter_map(|path| Some((number(path)?, path))).collect();
    numbered.sort_unstable();
    let mut damaged = 0;
    for (number, path) in numbered.into_iter().rev() {
        match is_whole_checkpoint(path) {
            Ok(Some(true)) | Err(_) => return (Some(number), damaged),
            Ok(Some(false)) => damaged += 1,
            // A run at work has removed it since.
            Ok(None) => {}
        }
    }
    (None, damaged)
}

/// The number in the name of a checkpoint.
pub(super) fn number(path: &Path) -> Option<u64> {
    path.extension().filter(|found| *found == EXTENSION)?;
    path.file_stem()?.to_str()?.parse().ok()
}

/// What was saved, where it is whole.
fn payload(number: u64, bytes: &[u8]) -> Option<&[u8]> {
    let (stored, payload) = bytes.split_at_checked(SUM)?;
    (stored == sum(number, payload).as_bytes()).then_some(payload)
}

fn sum(number: u64, payload: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three(dir: &Path) -> Checkpoints {
        let checkpoints = Checkpoints::open(dir).unwrap();
        for number in [9, 10, 11] {
            checkpoints.save(number, format!("state {number}").as_bytes()).unwrap();
        }
        checkpoints
    }

    #[test]
    fn the_last_of_two_kept_ones_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Checkpoints::open(dir.path()).unwrap().latest().unwrap(), None);
        let checkpoints = three(dir.path());
        assert_eq!(checkpoints.latest().unwrap(), Some((11, b"state 11".to_vec())));
        assert_eq!(checkpoints.numbers().unwrap(), [10, 11]);
    }

    #[test]
    fn a_checkpoint_cut_or_flipped_at_any_byte_gives_way_to_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = three(dir.path());
        let path = checkpoints.path(11);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            for damaged in [&whole[..at], &flipped] {
                fs::write(&path, damaged).unwrap();
                assert_eq!(checkpoints.latest().unwrap(), Some((10, b"state 10".to_vec())), "byte {at}");
                assert!(!path.exists());
            }
        }
    }

    #[test]
    fn a_checkpoint_under_another_number_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = three(dir.path());
        fs::rename(checkpoints.path(11), checkpoints.path(99)).unwrap();
        assert_eq!(checkpoints.latest().unwrap().unwrap().0, 10);
    }
}
