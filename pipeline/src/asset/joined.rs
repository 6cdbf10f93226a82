//! A file that grows part by part and goes on where it was left.
//!
//! Beside it lies how many parts it holds and where they end, written after their bytes are on the disk. What a killed
//! attempt wrote behind that end is cut off, so that no part is taken for whole, and none that is whole comes twice.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::Work;
use super::cache::publish;
use crate::failpoints::reached;

/// What lies beside the file.
const RECORD: &str = "joined.json";

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Joint {
    parts: usize,
    bytes: u64,
}

/// A file to which parts are appended; one attempt at a time works on it.
pub(super) struct Joined {
    folder: PathBuf,
    joint: Joint,
}

impl Joined {
    /// Goes on with what earlier attempts left in `folder`.
    pub(super) fn open(folder: &Path) -> Self {
        let joined = Self { folder: folder.to_owned(), joint: Joint::default() };
        let joint = fs::read(folder.join(RECORD)).ok().and_then(|text| serde_json::from_slice::<Joint>(&text).ok());
        let present = fs::metadata(joined.path()).map_or(0, |metadata| metadata.len());
        Self { joint: joint.filter(|joint| joint.bytes <= present).unwrap_or_default(), ..joined }
    }

    /// How many parts it holds.
    pub(super) fn parts(&self) -> usize {
        self.joint.parts
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.join("joined")
    }

    /// Appends the next part.
    pub(super) fn append(&mut self, part: &Path, work: &Work) -> anyhow::Result<()> {
        let path = self.path();
        let here = || format!("cannot write `{}`", path.display());
        let there = || format!("cannot read `{}`", part.display());
        let mut source = File::open(part).with_context(there)?;
        let mut file = File::options().create(true).truncate(false).write(true).open(&path).with_context(here)?;
        file.set_len(self.joint.bytes).and_then(|()| file.seek(SeekFrom::End(0))).with_context(here)?;
        let bar = work.bar("join", source.metadata().ok().map(|metadata| metadata.len()), "bytes");
        let (mut buffer, mut joint) = (vec![0; 1 << 20], self.joint);
        loop {
            work.check_cancelled()?;
            let n = source.read(&mut buffer).with_context(there)?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n]).with_context(here)?;
            joint.bytes += n as u64;
            bar.inc(n as u64);
        }
        file.sync_all().with_context(here)?;
        reached("appended", &path);
        joint.parts += 1;
        publish(&self.folder, RECORD, &serde_json::to_vec(&joint)?)?;
        self.joint = joint;
        reached("joined", &path);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(folder: &Path, text: &str) -> anyhow::Result<()> {
        let part = folder.join("part");
        fs::write(&part, text).unwrap();
        Joined::open(folder).append(&part, &Work::silent())
    }

    fn joined(folder: &Path) -> (usize, String) {
        let joined = Joined::open(folder);
        (joined.parts(), fs::read_to_string(joined.path()).unwrap_or_default())
    }

    #[test]
    fn parts_follow_each_other_and_each_attempt_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(joined(dir.path()), (0, String::new()));
        for text in ["ab", "", "c"] {
            append(dir.path(), text).unwrap();
        }
        assert_eq!(joined(dir.path()), (3, "abc".into()));
    }

    #[test]
    fn what_a_killed_attempt_wrote_behind_the_end_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), "ab").unwrap();
        fs::write(dir.path().join("joined"), "abXYZ").unwrap();
        append(dir.path(), "c").unwrap();
        assert_eq!(joined(dir.path()), (2, "abc".into()));
    }

    #[test]
    fn a_file_that_is_shorter_than_recorded_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), "ab").unwrap();
        fs::write(dir.path().join("joined"), "a").unwrap();
        append(dir.path(), "c").unwrap();
        assert_eq!(joined(dir.path()), (1, "c".into()));
    }

    #[test]
    fn a_cancelled_append_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        append(dir.path(), "ab").unwrap();
        let work = Work::silent();
        work.cancel.raise();
        let error = Joined::open(dir.path()).append(&dir.path().join("part"), &work).unwrap_err();
        assert!(error.is::<crate::Interrupted>());
        assert_eq!(Joined::open(dir.path()).parts(), 1);
    }
}
