//! What a broken-off run left of a stage's work, described without opening it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::checkpoints::{self, standing};
use crate::store::{is_temporary, list};

/// Work that the next run goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ResumePoint {
    /// How many units are done, where all of the work is one training with checkpoints; else nobody but the stage knows.
    pub units: Option<u64>,
}

/// Checkpoints that the next run cannot go on from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damaged {
    /// How many there are, each newer than the last whole one of its training.
    pub checkpoints: usize,
    /// Of how many trainings not one is whole.
    pub lost: usize,
}

impl ResumePoint {
    /// What lies in a stage's scratch folder; nothing where no unit was finished. Damaged checkpoints do not count. The
    /// checksums of logs are looked at when the stage goes on.
    pub fn in_scratch(scratch: &Path) -> anyhow::Result<Option<Self>> {
        Ok(Self::with_damage(scratch)?.0)
    }

    /// The same, and the checkpoints that do not count.
    pub fn with_damage(scratch: &Path) -> anyhow::Result<(Option<Self>, Damaged)> {
        let (mut checkpoints, mut others) = (Vec::new(), 0);
        let mut damage = Damaged::default();
        let mut folders = vec![scratch.to_path_buf()];
        while let Some(folder) = folders.pop() {
            let (inside, files): (Vec<PathBuf>, Vec<PathBuf>) =
                list(&folder)?.into_iter().partition(|path| path.is_dir());
            folders.extend(inside);
            for path in files.iter().filter(|path| !is_temporary(path) && checkpoints::number(path).is_none()) {
                // A log is made before its first frame; what a run at work has removed since is no work either.
                others += usize::from(path.metadata().is_ok_and(|found| found.len() > 0));
            }
            let (whole, damaged) = standing(&files);
            checkpoints.extend(whole);
            damage.checkpoints += damaged;
            damage.lost += usize::from(damaged > 0 && whole.is_none());
        }
        let saved = match (&checkpoints[..], others) {
            ([], 0) => None,
            (&[units], 0) => Some(Self { units: Some(units) }),
            _ => Some(Self { units: None }),
        };
        Ok((saved, damage))
    }
}

impl Damaged {
    /// What a stage does about it that goes on from `saved`; nothing where nothing is damaged.
    pub fn describe(self, saved: Option<ResumePoint>) -> Option<String> {
        let what = match self.checkpoints {
            0 => return None,
            1 => "1 saved checkpoint is damaged".to_owned(),
            n => format!("{n} saved checkpoints are damaged"),
        };
        let then = match (self.lost, saved) {
            (0, _) => "the stage resumes from the last intact one before",
            (_, None) => "there is no other, so the stage starts anew",
            (_, Some(_)) => "the training without another starts anew",
        };
        Some(format!("{what}; {then}"))
    }
}

impl std::fmt::Display for ResumePoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.units {
            Some(1) => write!(f, "resumes after 1 saved unit"),
            Some(units) => write!(f, "resumes after {units} saved units"),
            None => write!(f, "resumes from saved units"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpointing::{Checkpoints, Log};

    #[test]
    fn finished_units_are_found_and_what_only_begins_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().join("key");
        let found = || ResumePoint::in_scratch(&scratch).unwrap();
        assert_eq!(found(), None, "there is no folder");
        let training = Checkpoints::open(&scratch.join("a2c")).unwrap();
        let (mut log, _) = Log::open(&scratch.join("rows")).unwrap();
        assert_eq!(found(), None, "nothing is finished");
        for units in [20, 120] {
            training.save(units, b"state").unwrap();
        }
        assert_eq!(found(), Some(ResumePoint { units: Some(120) }));
        assert_eq!(found().unwrap().to_string(), "resumes after 120 saved units");
        log.append(b"row").unwrap();
        assert_eq!(found().unwrap().to_string(), "resumes from saved units");
    }

    #[test]
    fn damaged_checkpoints_are_not_gone_on_from() {
        let dir = tempfile::tempdir().unwrap();
        let training = dir.path().join("a2c");
        let checkpoints = Checkpoints::open(&training).unwrap();
        for units in [20, 120] {
            checkpoints.save(units, b"state").unwrap();
        }
        let described = || {
            let (saved, damage) = ResumePoint::with_damage(dir.path()).unwrap();
            (saved.and_then(|saved| saved.units), damage.describe(saved).unwrap_or_default())
        };
        assert_eq!(described(), (Some(120), String::new()));
        std::fs::write(training.join("120.checkpoint"), "spoilt").unwrap();
        let words = "1 saved checkpoint is damaged; the stage resumes from the last intact one before";
        assert_eq!(described(), (Some(20), words.into()));
        std::fs::write(training.join("20.checkpoint"), "").unwrap();
        let words = "2 saved checkpoints are damaged; there is no other, so the stage starts anew";
        assert_eq!(described(), (None, words.into()));
        Checkpoints::open(&dir.path().join("other")).unwrap().save(3, b"state").unwrap();
        assert_eq!(described().1, "2 saved checkpoints are damaged; the training without another starts anew");
        assert_eq!(checkpoints.latest().unwrap(), None, "as was said");
    }

    #[test]
    fn of_several_trainings_no_number_is_described() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["member0", "member1"] {
            Checkpoints::open(&dir.path().join(name)).unwrap().save(3, b"state").unwrap();
        }
        assert_eq!(ResumePoint::in_scratch(dir.path()).unwrap(), Some(ResumePoint { units: None }));
    }
}
