//! How to run: what the command line says of one run.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::executor::Executor;
use crate::tracking::Destination;
use crate::{Cancel, Catalog};

/// How to run.
pub(crate) struct Options {
    /// The nodes to bring up to date, with everything that they need.
    pub chosen: BTreeSet<usize>,
    /// Nodes that run although they are hits.
    pub forced: BTreeSet<usize>,
    /// Stages at work at once, at most.
    pub jobs: usize,
    /// Those of them that work in this process.
    pub local_jobs: usize,
    pub threads: usize,
    /// Bytes that the tables of a stage may take, and those of all stages at work together.
    pub memory: u64,
    pub keep_going: bool,
    /// An error instead of waiting for a lock.
    pub no_wait: bool,
    pub cancel: Cancel,
    /// The command line, for the record.
    pub command: String,
    /// Reads what stages made, and tells the run together with the pages that it made.
    pub catalog: &'static Catalog,
    /// Where stages are worked on.
    pub executor: Arc<dyn Executor>,
    /// Where the run is reported.
    pub track: Vec<Destination>,
}
