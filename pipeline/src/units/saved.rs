//! What a broken-off run left of a stage's work, told without opening it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::checkpoints;
use crate::store::{is_temporary, list};

/// Work that the next run goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Saved {
    /// How many units are done, where all of the work is one training with checkpoints; else nobody but the stage knows.
    pub units: Option<u64>,
}

impl Saved {
    /// What lies in a stage's scratch folder; nothing where no unit was finished. Checksums are looked at when the stage goes on.
    pub fn in_scratch(scratch: &Path) -> anyhow::Result<Option<Self>> {
        let (mut checkpoints, mut others) = (Vec::new(), 0);
        let mut folders = vec![scratch.to_path_buf()];
        while let Some(folder) = folders.pop() {
            let (inside, files): (Vec<PathBuf>, Vec<PathBuf>) =
                list(&folder)?.into_iter().partition(|path| path.is_dir());
            folders.extend(inside);
            let mut of_folder = Vec::new();
            for path in files.iter().filter(|path| !is_temporary(path)) {
                match checkpoints::number(path) {
                    Some(number) => of_folder.push(number),
                    // A log is made before its first frame; what a run at work has removed since is no work either.
                    None => others += usize::from(path.metadata().is_ok_and(|found| found.len() > 0)),
                }
            }
            checkpoints.extend(of_folder.into_iter().max());
        }
        Ok(match (&checkpoints[..], others) {
            ([], 0) => None,
            (&[units], 0) => Some(Self { units: Some(units) }),
            _ => Some(Self { units: None }),
        })
    }
}

impl std::fmt::Display for Saved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.units {
            Some(1) => write!(f, "goes on after 1 saved unit"),
            Some(units) => write!(f, "goes on after {units} saved units"),
            None => write!(f, "goes on from saved units"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Checkpoints, Log};

    #[test]
    fn finished_units_are_found_and_what_only_begins_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().join("key");
        let found = || Saved::in_scratch(&scratch).unwrap();
        assert_eq!(found(), None, "there is no folder");
        let training = Checkpoints::open(&scratch.join("a2c")).unwrap();
        let (mut log, _) = Log::open(&scratch.join("rows")).unwrap();
        assert_eq!(found(), None, "nothing is finished");
        for units in [20, 120] {
            training.save(units, b"state").unwrap();
        }
        assert_eq!(found(), Some(Saved { units: Some(120) }));
        assert_eq!(found().unwrap().to_string(), "goes on after 120 saved units");
        log.append(b"row").unwrap();
        assert_eq!(found().unwrap().to_string(), "goes on from saved units");
    }

    #[test]
    fn of_several_trainings_no_number_is_told() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["member0", "member1"] {
            Checkpoints::open(&dir.path().join(name)).unwrap().save(3, b"state").unwrap();
        }
        assert_eq!(Saved::in_scratch(dir.path()).unwrap(), Some(Saved { units: None }));
    }
}
