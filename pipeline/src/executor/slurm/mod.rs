//! Stages as tasks of Slurm, on the nodes of a cluster that share the store.
//!
//! The entry in the store decides that a stage is done, and the events of its worker say why it is not; the queue is asked only why a
//! task waits and whether it is still there. A task that is gone without a word and without an entry is submitted again.

mod board;
mod clerk;
mod commands;
mod profile;
mod script;
mod submission;
mod wait;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use anyhow::Context as _;

use super::job::Job;
use super::task::{Executor, Task};
use crate::store::Entry;
use board::SharedBoard;
use clerk::Clerk;
pub(crate) use profile::{OnInterrupt, Profile};
use wait::Wait;

/// A cluster.
pub(crate) struct Slurm {
    profile: Profile,
    board: Arc<SharedBoard>,
    clerk: Option<JoinHandle<()>>,
}

impl Slurm {
    /// # Errors
    /// When this program or the working directory cannot be told to the nodes.
    pub fn new(profile: Profile) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("find this program, to start its workers")?;
        let directory: PathBuf = std::env::current_dir().context("find the working directory")?;
        let board = Arc::new(SharedBoard::default());
        let clerk = Clerk { profile: profile.clone(), program, directory, board: board.clone() };
        let clerk = Builder::new().name("slurm".into()).spawn(move || clerk.serve());
        Ok(Self { profile, board, clerk: Some(clerk.context("start the thread that asks Slurm")?) })
    }
}

impl Executor for Slurm {
    fn is_remote(&self) -> bool {
        true
    }

    fn execute(&self, task: &Task) -> anyhow::Result<Entry> {
        let resources = task.job.resources.or(&self.profile.resources());
        let (threads, memory) = (script::threads(&resources), script::tables(&resources));
        let job = Job { threads, memory, resources: resources.clone(), ..task.job.clone() };
        Wait::new(task, &job, &self.profile, &self.board)?.result()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        self.board.lock().ended = true;
        self.board.tell();
        if let Some(clerk) = self.clerk.take() {
            let _ = clerk.join();
        }
    }
}
