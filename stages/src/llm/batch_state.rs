//! What waits for a batch, and what batches left without an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use super::FailedCall;
use super::batch::AwaitsBatch;
use super::batch_failures::FailureLog;

/// The requests that wait for a batch, and those that batches left without an answer.
#[derive(Default)]
pub(super) struct BatchState {
    /// The canonical requests by key.
    pub(super) pending: Mutex<BTreeMap<String, String>>,
    pub(super) failures: Mutex<Option<FailureLog>>,
    /// The keys of the answers that this run took in.
    pub(super) taken: Mutex<BTreeSet<String>>,
    /// Whether another run goes on from here, and needs the failures.
    pub(super) pause: Mutex<bool>,
}

impl BatchState {
    /// Why a request has no answer: it failed, or waits for the next batch.
    pub fn unanswered(&self, key: &str, canonical: &str) -> anyhow::Error {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.as_ref().and_then(|failures| failures.failure(key)) {
            Some(failed) => failed.into(),
            None => {
                let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
                pending.insert(key.to_owned(), canonical.to_owned());
                AwaitsBatch.into()
            }
        }
    }

    /// Whether this run took in the answer, and counted it.
    pub fn is_taken(&self, key: &str) -> bool {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    pub fn set_pause(&self, pause: bool) {
        *self.pause.lock().unwrap_or_else(PoisonError::into_inner) = pause;
    }

    pub fn add_failure(&self, key: &str, failed: FailedCall, last: bool) -> Result<()> {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.as_mut().map_or(Ok(()), |failures| failures.add(key, failed, last))
    }
}

impl Drop for BatchState {
    fn drop(&mut self) {
        let pause = *self.pause.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(failures) =
            self.failures.get_mut().unwrap_or_else(PoisonError::into_inner).as_ref().filter(|_| !pause)
        {
            failures.forget();
        }
    }
}
