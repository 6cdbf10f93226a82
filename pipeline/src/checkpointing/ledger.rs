//! An append-only file of records that several processes write in turn: what was spent, for example.
//!
//! The frames are those of a [`super::Log`]; what differs is that a writer holds the file's lock for the moment of its
//! writing, and first reads what others wrote meanwhile. So a decision that depends on all records (is there money left?)
//! is made on all of them. What a killed writer left unfinished at the end is cut off: it was never confirmed. A damaged
//! record in the middle is an error and no end: whatever follows it counts, and must not be forgotten.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

use super::log::{HEADER, LENGTH, frame, frame_at};
use crate::failpoints::reached;
use crate::store::{given, sync_parent};

/// A file of records, shared between processes.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    path: PathBuf,
    /// Where the first record begins that was not read yet.
    end: u64,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where it begins in the file: no other record of it has the same.
    pub position: u64,
    /// What was appended.
    pub payload: Vec<u8>,
}

impl Ledger {
    /// Opens or creates the ledger at `path`; nothing is read yet.
    ///
    /// # Errors
    /// When the file cannot be made or opened.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let wanted = || format!("open the ledger `{}`", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(wanted)?;
        }
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).with_context(wanted)?;
        sync_parent(path).with_context(wanted)?;
        Ok(Self { file, path: path.to_path_buf(), end: 0 })
    }

    /// Gives `decide` the records that came since the last turn, its own among them, and appends what it answers; the position
    /// of that record. Nobody else writes meanwhile. When it returns, the record survives a kill and a power cut.
    ///
    /// # Errors
    /// When the disk refuses (the ledger is then as before), or a record is damaged.
    pub fn turn(&mut self, decide: impl FnOnce(&[Record]) -> Option<Vec<u8>>) -> anyhow::Result<Option<u64>> {
        let wanted = |path: &Path| format!("read the ledger `{}`", path.display());
        given(self.file.lock()).with_context(|| wanted(&self.path))?;
        let outcome = self.locked_turn(decide);
        // Where the lock cannot be given back, the next turn of this process will say so.
        let _ = self.file.unlock();
        outcome
    }

    fn locked_turn(&mut self, decide: impl FnOnce(&[Record]) -> Option<Vec<u8>>) -> anyhow::Result<Option<u64>> {
        let new = self.new_records()?;
        let Some(payload) = decide(&new) else { return Ok(None) };
        let position = self.end;
        let frame = frame(position, &payload)?;
        let written = self.file.seek(SeekFrom::Start(position)).and_then(|_| {
            self.file.write_all(&frame)?;
            reached("written", &self.path);
            self.file.sync_data()
        });
        if let Err(error) = written {
            let _ = self.file.set_len(position);
            return Err(error).with_context(|| format!("write into the ledger `{}`", self.path.display()));
        }
        reached("synced", &self.path);
        Ok(Some(position))
    }

    /// Everything behind `end` that is whole; a torn rest is cut off.
    fn new_records(&mut self) -> anyhow::Result<Vec<Record>> {
        let wanted = || format!("read the ledger `{}`", self.path.display());
        let length = self.file.metadata().with_context(wanted)?.len();
        ensure!(length >= self.end, "the ledger `{}` became shorter while it was in use", self.path.display());
        self.file.seek(SeekFrom::Start(self.end)).with_context(wanted)?;
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes).with_context(wanted)?;
        let (base, mut at, mut records) = (self.end, 0, Vec::new());
        while let Some(payload) = frame_at(base, &bytes, at) {
            records.push(Record { position: base + at as u64, payload: payload.to_vec() });
            at += HEADER + payload.len();
        }
        self.end += at as u64;
        if is_damaged(base, &bytes, at) {
            bail!(
                "the ledger `{}` is damaged at byte {}\nhelp: put back a copy, or move the file away to count from nothing",
                self.path.display(),
                self.end
            );
        }
        if at < bytes.len() {
            self.file.set_len(self.end).with_context(|| format!("cut the end of `{}`", self.path.display()))?;
        }
        Ok(records)
    }
}

/// Whether what stands at `at`, where no whole record is, is more than what a killed writer or a power cut leaves: it is as
/// long as it says, or a whole record follows.
fn is_damaged(base: u64, bytes: &[u8], at: usize) -> bool {
    let rest = &bytes[at..];
    let Some(length) = rest.first_chunk::<LENGTH>().map(|length| u32::from_le_bytes(*length)) else { return false };
    let zeros = rest.iter().all(|&byte| byte == 0);
    let complete = rest.len() as u64 >= HEADER as u64 + u64::from(length);
    !zeros && (complete || (at + 1..bytes.len()).any(|later| frame_at(base, bytes, later).is_some()))
}

/// Where the bytes of a ledger are damaged.
pub(crate) fn damaged_record(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(payload) = frame_at(0, bytes, at) {
        at += HEADER + payload.len();
    }
    is_damaged(0, bytes, at).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(ledger: &mut Ledger, text: &str) -> (Vec<String>, u64) {
        let mut seen = Vec::new();
        let position = ledger.turn(|new| {
            seen = texts(new);
            Some(text.into())
        });
        (seen, position.unwrap().unwrap())
    }

    fn texts(records: &[Record]) -> Vec<String> {
        records.iter().map(|record| String::from_utf8(record.payload.clone()).unwrap()).collect()
    }

    fn all(path: &Path) -> anyhow::Result<Vec<String>> {
        let mut seen = Vec::new();
        Ledger::open(path)?.turn(|new| {
            seen = texts(new);
            None
        })?;
        Ok(seen)
    }

    #[test]
    fn writers_see_what_others_wrote_before_they_decide() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/ledger");
        let [mut one, mut two] = [(); 2].map(|()| Ledger::open(&path).unwrap());
        assert_eq!(append(&mut one, "a"), (vec![], 0));
        let (seen, position) = append(&mut two, "b");
        assert_eq!(seen, ["a"]);
        assert!(position > 0);
        assert_eq!(append(&mut one, "c").0, ["a", "b"], "its own, too");
        assert_eq!(all(&path).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn many_at_once_lose_nothing_and_agree_on_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut ledger = Ledger::open(&path).unwrap();
                    let mut count = 0;
                    for _ in 0..20 {
                        let decide = |new: &[Record]| {
                            count += new.len();
                            (count < 50).then(|| b"x".to_vec())
                        };
                        ledger.turn(decide).unwrap();
                    }
                });
            }
        });
        assert_eq!(all(&path).unwrap().len(), 50);
    }

    #[test]
    fn a_torn_end_is_cut_off_and_a_damaged_record_is_not_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let mut ledger = Ledger::open(&path).unwrap();
        let ends = ["first", "second"].map(|text| {
            append(&mut ledger, text);
            fs::read(&path).unwrap().len()
        });
        let whole = fs::read(&path).unwrap();
        for length in ends[0]..ends[1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(all(&path).unwrap(), ["first"], "{length} bytes");
            assert_eq!(fs::read(&path).unwrap().len(), ends[0]);
        }
        fs::write(&path, [&whole[..ends[0]], &[0; 64]].concat()).unwrap();
        assert_eq!(all(&path).unwrap(), ["first"], "zeros of a power cut");
        for at in 0..ends[0] {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 1;
            fs::write(&path, &spoilt).unwrap();
            let error = all(&path).unwrap_err().to_string();
            assert!(error.contains("is damaged at byte 0\nhelp: "), "byte {at}: {error}");
            assert_eq!(fs::read(&path).unwrap(), spoilt, "nothing is taken from it");
            assert_eq!(damaged_record(&spoilt), Some(0));
        }
    }
}
