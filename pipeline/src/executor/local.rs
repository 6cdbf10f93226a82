//! Stages at work on threads of the run.

use super::task::{Executor, Task};
use crate::store::Entry;

/// The process of the run itself.
pub(crate) struct Local;

impl Executor for Local {
    fn is_local(&self) -> bool {
        true
    }

    fn execute(&self, task: &Task) -> anyhow::Result<Entry> {
        (task.here)()
    }
}
