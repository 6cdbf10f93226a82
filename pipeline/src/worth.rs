//! What `apprentice worth` asks of the code that knows teachers and learners.

use std::path::Path;

use serde_json::Value;

use crate::report::RunSummary;

/// A study of what the teacher of an experiment is worth, and its answer.
#[derive(Clone, Copy)]
pub struct WorthStudy {
    /// The experiment of the study, from the tree of a checked experiment.
    ///
    /// # Errors
    /// [`crate::UsageError`] where the experiment has no teacher.
    pub experiment: fn(&Value, &WorthRequest) -> anyhow::Result<Value>,
    /// The stage and the output that hold the answer.
    pub output: (&'static str, &'static str),
    /// The answer in words, from the file of that output and the run that made or found it.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub answer: fn(&Path, &RunSummary) -> anyhow::Result<Vec<String>>,
}

/// How large a study is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorthRequest {
    /// Draws of the ratings: the unit of the intervals.
    pub draws: u64,
    /// The log sizes; the usual ones where there are none.
    pub sizes: Vec<u64>,
    /// How many users are evaluated; all where absent.
    pub users: Option<u64>,
    /// Only items with this many ratings are offered; the usual number where absent.
    pub min_item_ratings: Option<u64>,
}
