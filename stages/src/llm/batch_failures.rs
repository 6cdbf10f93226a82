//! The requests that batches left without an answer, kept until the stage ends.
//!
//! A failed request is not stored, because the next run may get its answer. A stage that asks in batches and does not wait
//! for them needs many runs, in which a failure has to stay one: otherwise each of them would ask the request again and get no
//! further. The failures are therefore a log in the stage's scratch folder. They are forgotten when the stage ends with a result,
//! or with an error that is not a pause.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use pipeline::checkpointing::Log;
use serde::{Deserialize, Serialize};

use super::FailedCall;

/// The file's name.
const NAME: &str = "unanswered";

/// One frame of the log.
#[derive(Serialize, Deserialize)]
struct Frame {
    key: String,
    status: Option<u16>,
    reason: String,
    raw: String,
    /// Whether the same request would fail again.
    last: bool,
}

/// The failures of one request.
struct Failures {
    latest: FailedCall,
    count: u32,
    last: bool,
}

/// The failures of a stage, by key.
pub(super) struct FailureLog {
    log: Log,
    path: PathBuf,
    known: BTreeMap<String, Failures>,
    max_retries: u32,
}

impl FailureLog {
    pub fn open(scratch: &Path, max_retries: u32) -> Result<Self> {
        fs::create_dir_all(scratch)?;
        let path = scratch.join(NAME);
        let (log, frames) = Log::open(&path)?;
        let mut failures = Self { log, path, known: BTreeMap::new(), max_retries };
        for frame in frames {
            failures.count(serde_json::from_slice(&frame)?);
        }
        Ok(failures)
    }

    fn count(&mut self, frame: Frame) {
        let Frame { key, status, reason, raw, last } = frame;
        let latest = FailedCall { status, reason, raw };
        let count = self.known.get(&key).map_or(0, |before| before.count) + 1;
        self.known.insert(key, Failures { latest, count, last });
    }

    /// Adds a failure; `last`: the same request would fail again.
    pub fn add(&mut self, key: &str, failed: FailedCall, last: bool) -> Result<()> {
        let FailedCall { status, reason, raw } = failed;
        let frame = Frame { key: key.to_owned(), status, reason, raw, last };
        self.log.append(&serde_json::to_vec(&frame)?)?;
        self.count(frame);
        Ok(())
    }

    /// The failure of a request that is not submitted again.
    pub fn failure(&self, key: &str) -> Option<FailedCall> {
        let Failures { latest, count, last } = self.known.get(key)?;
        if *last {
            return Some(latest.clone());
        }
        let (why, help) = latest.reason.split_at(latest.reason.find("\nhelp: ").unwrap_or(latest.reason.len()));
        let reason = format!("{why} ({count} batches){help}");
        (*count > self.max_retries).then(|| FailedCall { reason, ..latest.clone() })
    }

    /// The next run asks all of them again.
    pub fn forget(&self) {
        // Where the file stays, the next run counts these failures once more.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: &str) -> FailedCall {
        FailedCall { status: Some(500), reason: reason.into(), raw: "{}".into() }
    }

    #[test]
    fn a_failure_is_final_at_once_or_after_so_many_batches_and_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("key");
        let mut log = FailureLog::open(&scratch, 1).unwrap();
        log.add("a", failed("too long"), true).unwrap();
        log.add("b", failed("busy\nhelp: wait"), false).unwrap();
        assert_eq!((log.failure("a"), log.failure("b"), log.failure("c")), (Some(failed("too long")), None, None));
        drop(log);
        let mut again = FailureLog::open(&scratch, 1).unwrap();
        again.add("b", failed("busy\nhelp: wait"), false).unwrap();
        assert_eq!(again.failure("b"), Some(failed("busy (2 batches)\nhelp: wait")));
        assert_eq!(again.failure("a"), Some(failed("too long")));
        again.forget();
        assert_eq!(FailureLog::open(&scratch, 1).unwrap().failure("a"), None);
    }
}
