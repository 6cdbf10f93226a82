//! A table in part files: rows wait in memory, and go to disk as one whole file at a time.
//!
//! A file has its name once it is whole: until then it is hidden (`.new-…`), and readers of folders skip such names. Where a file cannot be
//! written, its rows wait for the next attempt; they are lost where too many wait.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::clock;
use crate::impressions::{EncodeImpressions, Impression};
use crate::store::{is_held, is_temporary, list, write_new};

/// The time until the next attempt after one that failed.
const AGAIN: Duration = Duration::from_secs(2);
/// How many times the rows of a file may wait where it cannot be written.
const WAITING: usize = 4;

/// Where and when files are finished.
pub(super) struct PartFiles {
    folder: PathBuf,
    /// Rows of a file.
    rows: usize,
    /// How long a row waits.
    age: Duration,
    encode: EncodeImpressions,
    /// What tells the files of this service from those of others in the same folder.
    service: String,
    finished: usize,
    waiting: Vec<Impression>,
    /// Since when the oldest row waits.
    since: Option<Instant>,
    failed: Option<Failed>,
}

/// A file could not be written.
struct Failed {
    last: Instant,
    /// Rows that are lost since then.
    lost: usize,
}

/// What came of an attempt.
#[derive(Debug, PartialEq)]
pub(super) enum Written {
    /// Nothing was due.
    Nothing,
    /// So many rows are on disk; where attempts failed before, how many were lost since.
    Rows(usize, Option<usize>),
    /// The first attempt that failed, and why.
    Failed(String),
}

impl PartFiles {
    /// Makes the folder, and removes what a killed service left unfinished in it.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn open(
        folder: &Path,
        rows: usize,
        age: Duration,
        service: &str,
        encode: EncodeImpressions,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        for path in list(folder)? {
            if is_temporary(&path) && path.is_file() && !is_held(&path)? {
                fs::remove_file(&path)?;
            }
        }
        // That a file can be made shows now, not after the first minute.
        tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
        Ok(Self {
            folder: folder.to_path_buf(),
            rows,
            age,
            encode,
            service: service.to_owned(),
            finished: 0,
            waiting: Vec::new(),
            since: None,
            failed: None,
        })
    }

    /// Takes rows in; how many were lost for want of room.
    pub fn push(&mut self, rows: Vec<Impression>) -> usize {
        let room = (WAITING * self.rows).saturating_sub(self.waiting.len());
        let lost = match &mut self.failed {
            Some(failed) => {
                let lost = rows.len().saturating_sub(room);
                failed.lost += lost;
                lost
            }
            None => 0,
        };
        let kept = rows.len() - lost;
        self.waiting.extend(rows.into_iter().take(kept));
        if !self.waiting.is_empty() {
            self.since.get_or_insert_with(Instant::now);
        }
        lost
    }

    /// How long nothing will be due.
    pub fn rest(&self) -> Duration {
        let Some(since) = self.since else { return self.age };
        let due =
            if self.waiting.len() >= self.rows { Duration::ZERO } else { self.age.saturating_sub(since.elapsed()) };
        let again = self.failed.as_ref().map_or(Duration::ZERO, |failed| AGAIN.saturating_sub(failed.last.elapsed()));
        due.max(again)
    }

    /// Writes a file if one is due.
    pub fn write_if_due(&mut self) -> Written {
        if self.since.is_none() || self.rest() > Duration::ZERO { Written::Nothing } else { self.write() }
    }

    /// Writes a file with the rows that have waited longest.
    pub fn write(&mut self) -> Written {
        let rows = self.waiting.len().min(self.rows);
        let Some(first) = self.waiting.first() else { return Written::Nothing };
        let time =
            clock::timestamp(Duration::from_micros(u64::try_from(first.time).unwrap_or(0))).replace([':', '-'], "");
        let path = self.folder.join(format!("{time}-{}-{:06}.parquet", self.service, self.finished));
        let written = (self.encode)(&self.waiting[..rows])
            .and_then(|bytes| Ok(write_new(&path, &bytes)?))
            .and_then(|new| if new { Ok(()) } else { anyhow::bail!("`{}` is there already", path.display()) });
        match written {
            Ok(()) => {
                self.finished += 1;
                self.waiting.drain(..rows);
                self.since = (!self.waiting.is_empty()).then(Instant::now);
                Written::Rows(rows, self.failed.take().map(|failed| failed.lost))
            }
            Err(error) => {
                let first = self.failed.is_none();
                self.failed.get_or_insert(Failed { last: Instant::now(), lost: 0 }).last = Instant::now();
                if first { Written::Failed(format!("{error:#}")) } else { Written::Nothing }
            }
        }
    }

    /// Gives up the rows that wait; how many.
    pub fn give_up(&mut self) -> usize {
        std::mem::take(&mut self.waiting).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(position: u32) -> Impression {
        Impression {
            time: 1_700_000_000_000_000,
            answer_id: "a-1".into(),
            user: None,
            new_user: true,
            history: [].into(),
            restricted: false,
            policy: "p".into(),
            digest: "d".into(),
            share: 1.0,
            position,
            item: "i".into(),
            policy_propensity: 1.0,
            propensity: 1.0,
        }
    }

    fn rows(count: u32) -> Vec<Impression> {
        (0..count).map(shown).collect()
    }

    #[test]
    fn files_are_finished_by_rows_and_by_age_and_have_names_once_they_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("deep/log");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(".new-abc123"), "half").unwrap();
        let encode: EncodeImpressions = |rows| Ok(rows.iter().map(|row| row.position as u8).collect());
        let mut files = PartFiles::open(&folder, 3, Duration::from_secs(60), "x", encode).unwrap();
        assert_eq!(list(&folder).unwrap(), [] as [PathBuf; 0]);
        assert_eq!((files.push(rows(2)), files.write_if_due()), (0, Written::Nothing));
        assert!(files.rest() > Duration::from_secs(50));
        files.push(rows(2));
        assert_eq!((files.rest(), files.write_if_due()), (Duration::ZERO, Written::Rows(3, None)));
        let written = list(&folder).unwrap();
        assert_eq!(written, [folder.join("20231114T221320Z-x-000000.parquet")]);
        assert_eq!(fs::read(&written[0]).unwrap(), [0, 1, 0]);
        assert_eq!(files.write_if_due(), Written::Nothing);
        files.age = Duration::ZERO;
        assert_eq!(files.write_if_due(), Written::Rows(1, None));
        assert_eq!((files.write(), list(&folder).unwrap().len()), (Written::Nothing, 2));
    }

    #[test]
    fn rows_wait_while_nothing_can_be_written_and_only_too_many_are_lost() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = PartFiles::open(dir.path(), 3, Duration::ZERO, "x", |_| anyhow::bail!("no space")).unwrap();
        files.push(rows(2));
        assert_eq!(files.write_if_due(), Written::Failed("no space".into()));
        // It is said once, and tried again only after a while.
        assert_eq!((files.write(), files.write_if_due()), (Written::Nothing, Written::Nothing));
        assert_eq!((files.push(rows(9)), files.push(rows(9))), (0, 8));
        files.encode = |_| Ok(Vec::new());
        assert_eq!((files.write(), files.write()), (Written::Rows(3, Some(8)), Written::Rows(3, None)));
        assert_eq!((files.give_up(), files.write()), (6, Written::Nothing));
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(PartFiles::open(&file, 3, Duration::ZERO, "x", |_| Ok(Vec::new())).is_err());
    }
}
