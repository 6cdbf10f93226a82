//! Units inside a stage: what a stage commits one by one so that a killed run goes on from its last unit.
//!
//! | shape | for | after a kill |
//! |---|---|---|
//! | [`Log`] | many small records in order: finished users, answered batches | all whole frames are there |
//! | [`Checkpoints`] | one growing state: weights and optimiser of a training run | the last whole state is there |
//! | [`Ledger`] | records of several processes on which decisions rest: what was spent | all whole records are there |
//! | [`ValueStore`] | values that stages and experiments share: answers of a language model | a value is whole or absent; the first one stays |
//!
//! Each of them carries checksums, because a file that was half written, or lost a bit since, must be noticed and not
//! believed. None of them knows what the bytes mean, and none makes the *order* of units deterministic: that is the
//! stage's work.

mod checkpoints;
mod ledger;
mod log;
mod resume;
mod value_store;

pub use checkpoints::Checkpoints;
pub(crate) use checkpoints::{is_whole_checkpoint, standing};
pub(crate) use ledger::damaged_record;
pub use ledger::{Ledger, Record};
pub use log::Log;
pub(crate) use log::damaged_frame;
pub(crate) use resume::ResumePoint;
pub use value_store::ValueStore;
pub(crate) use value_store::{is_whole_value, values};

/// Bytes of a BLAKE3 checksum.
const SUM: usize = blake3::OUT_LEN;
