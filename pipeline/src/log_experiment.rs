//! What `apprentice init --log` asks of the code that knows logs: to look into files, and to write an experiment that reads them.

use std::path::PathBuf;

use serde_json::Value;

use crate::progress::Progress;

/// Writes an experiment for a log; large files take a while, which is told.
///
/// # Errors
/// Where a file cannot be read, or what its columns mean cannot be told.
pub type WriteLogExperiment = fn(&LogFiles, &Progress) -> anyhow::Result<LogExperiment>;

/// The files of a log.
#[derive(Clone, Debug, Default)]
pub struct LogFiles {
    /// The folder of the experiment: paths in it are relative to that folder.
    pub folder: PathBuf,
    /// The log: a file, or a folder with the parts of a table or a published dataset.
    pub log: PathBuf,
    /// The catalogue.
    pub items: Option<PathBuf>,
    /// The table of users.
    pub users: Option<PathBuf>,
    /// Columns that the user names, by role (`user`, `item`, `rating`, `amount`, `timestamp`).
    pub columns: Vec<(String, String)>,
}

/// An experiment for a log, and what was found out about the log.
#[derive(Clone, Debug)]
pub struct LogExperiment {
    /// The experiment from its `assets` on, with comments.
    pub text: String,
    /// What was found, for people: a name and a sentence.
    pub findings: Vec<(String, String)>,
    /// What was found, for programs.
    pub details: Value,
}
