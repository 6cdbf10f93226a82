//! How files looked when they were read: they are certainly the same when all have the sizes, times and numbers of then, and when none of
//! them had changed shortly before it was read. The second half is the rule of the racy timestamp (git,
//! `Documentation/technical/racy-git.txt`): what changes twice within one tick of the file system's clock looks the same after both.

use super::digest::{FileStamp, Tree};
use crate::clock;

/// Nanoseconds of the coarsest clock of a file system in use (FAT).
pub(super) const TICK: u64 = 2_000_000_000;

/// How a tree looked when it was read.
pub(super) struct TreeSnapshot {
    pub(super) files: Vec<FileStamp>,
    /// When reading began, in nanoseconds since 1970.
    pub(super) read: u64,
}

/// Now, in nanoseconds since 1970.
pub(super) fn now() -> u64 {
    clock::now().as_nanos() as u64
}

impl TreeSnapshot {
    /// Whether `tree` is certainly what was read. A file from the future, as after a jump of the clock, is none of these.
    pub(super) fn is(&self, tree: &Tree) -> bool {
        let settled = |file: &FileStamp| file.modified.max(file.changed).saturating_add(TICK) <= self.read;
        self.files == tree.stamps && self.files.iter().all(settled)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_changed_within_a_tick_before_it_was_read_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "1").unwrap();
        let tree = Tree::list(&file).unwrap();
        let at = tree.stamps[0].modified.max(tree.stamps[0].changed);
        let read = |read| TreeSnapshot { files: tree.stamps.clone(), read };
        assert!(read(at + TICK).is(&tree));
        for early in [at + TICK - 1, at, at - TICK, 0] {
            assert!(!read(early).is(&tree), "read at {early}, changed at {at}");
        }
        let mut other = Tree::list(&file).unwrap();
        other.stamps[0].number += 1;
        assert!(!read(at + TICK).is(&other), "another file in its place");
    }
}
