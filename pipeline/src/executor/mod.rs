//! Where stages are worked on: in the process of the run, in a process of their own, or on a cluster.
//!
//! A stage that leaves the run is a [`Job`], a file from which `apprentice work` computes the result under its key, in the store that
//! it shares with the run. The worker takes the key's lock; what it says comes back as events in a file beside the job. Whether the
//! job is done is decided by the entry in the store, and by nothing that a worker, a scheduler or an exit code says.

mod exact_numbers;
mod job;
mod job_files;
mod local;
mod outcome;
mod process;
mod slurm;
mod task;
mod worker_event;

pub(crate) use exact_numbers::ExactNumbers;
pub(crate) use job::{Job, JobAsset, JobInput, entry_digest};
pub(crate) use job_files::JobFiles;
pub(crate) use local::Local;
pub(crate) use process::Process;
pub(crate) use slurm::{OnInterrupt, Profile, Slurm};
pub(crate) use task::{Executor, Task};
pub(crate) use worker_event::{EventWriter, WorkerEvent};
