//! What every place where stages are worked on takes and gives.

use std::sync::Arc;

use super::job::Job;
use crate::Cancel;
use crate::progress::Sink;
use crate::store::{Entry, Store};

/// A stage that is to be worked on.
pub(crate) struct Task<'a> {
    /// It, for a worker elsewhere.
    pub job: Job,
    /// Computes and commits it on this thread. The caller then holds the key's lock.
    pub here: &'a dyn Fn() -> anyhow::Result<Entry>,
    pub store: &'a Store,
    /// Who hears of it.
    pub sinks: &'a Arc<[Arc<dyn Sink>]>,
    /// Raised when the run is to stop.
    pub cancel: &'a Cancel,
}

/// Where stages are worked on. Many threads of a run ask at once, each for one stage.
pub(crate) trait Executor: Send + Sync {
    /// Whether stages work in this process. Elsewhere the worker takes the lock of the key.
    fn is_local(&self) -> bool {
        false
    }

    /// Whether they work on other machines, with memory and devices of their own.
    fn is_remote(&self) -> bool {
        false
    }

    /// Comes back when the result is in the store, or cannot be.
    ///
    /// # Errors
    /// Those of the stage; [`crate::Interrupted`] when the run was stopped; a [`crate::exit::WorkerFailure`] where a worker came to an
    /// end without a result.
    fn execute(&self, task: &Task) -> anyhow::Result<Entry>;
}
