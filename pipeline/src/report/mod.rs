//! The report of a run: what its stages made for people, together with what was run.
//!
//! An object holds no time, host or date, so the page that a stage makes cannot say when, where and from what it was made.
//! That is in the run's record. Here the two are handed to the catalogue's [`Render`], which knows the artifacts; the engine
//! knows records and files, and nothing of what is in a page.

mod run_page;
mod run_summary;

use std::fmt;

pub(crate) use run_page::{is_as_written, show};
pub use run_summary::{RunSummary, RunSummaryAsset, RunSummaryFile, RunSummaryInput, RunSummaryStage};

/// Renders runs in the form that is asked for.
///
/// # Errors
/// [`crate::UsageError`] where the runs hold nothing to report; else a file is damaged, lost or of another format.
pub type Render = fn(&Request) -> anyhow::Result<String>;

/// What is to be rendered.
pub struct Request<'a> {
    /// In which form.
    pub format: ReportFormat,
    /// One run, or several to be compared, in the order in which they were named.
    pub runs: &'a [RunSummary],
    /// The page that is rendered together with its run: set where the form is HTML and the run is one.
    pub page: Option<&'a RunSummaryFile>,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// One self-contained page.
    #[default]
    Html,
    /// Markdown, to be pasted.
    Md,
    /// The rows of the tables, comma-separated (RFC 4180).
    Csv,
    /// One JSON object.
    #[value(skip)]
    Json,
}

impl fmt::Display for ReportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Html => "html",
            Self::Md => "md",
            Self::Csv => "csv",
            Self::Json => "json",
        })
    }
}
