//! What `apprentice inspect` asks of the code that knows the file formats. The engine finds the file and says where it came
//! from; what is in it is the catalogue's to say.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::progress::Progress;

/// Says what is in the file at a path, in the form that is asked for, into the writer.
///
/// # Errors
/// [`crate::UsageError`] where what is asked for does not fit the file; else the file is unreadable, torn or damaged, or the
/// writer gave up.
pub type Inspect = fn(&Path, &Request, &mut dyn Write) -> anyhow::Result<Verdict>;

/// What is asked about a file.
#[derive(Clone)]
pub struct Request {
    /// What to show.
    pub show: Show,
    /// In which form.
    pub format: Format,
    /// The file's name for people.
    pub name: String,
    /// Columns to show, as names or as lists of names with commas between; empty for all.
    pub columns: Vec<String>,
    /// A `select … from self` whose answer is shown instead of the file.
    pub sql: Option<String>,
    /// Only rows for which this is true, such as `rating >= 4 and title is not null`.
    pub filter: Option<String>,
    /// How many of the first rows; `None` for as many as fit the form.
    pub head: Option<usize>,
    /// How many of the last rows instead of the first.
    pub tail: Option<usize>,
    /// How many rows drawn at random instead of the first.
    pub sample: Option<usize>,
    /// Which draw.
    pub seed: u64,
    /// Read every value for statistics, however large the file is.
    pub scan: bool,
    /// What was made together with the file, and from what it was made.
    pub related: Vec<RelatedFile>,
    /// Where progress on a large file is reported.
    pub progress: Progress,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            show: Show::Overview,
            format: Format::Table,
            name: String::new(),
            columns: Vec::new(),
            sql: None,
            filter: None,
            head: None,
            tail: None,
            sample: None,
            seed: 0,
            scan: false,
            related: Vec::new(),
            progress: Progress::silent(),
        }
    }
}

/// What to show of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Show {
    /// Schema, statistics, layout, and some rows.
    Overview,
    /// Rows alone.
    Rows,
    /// Whether everything in it can be read and is what it is said to be.
    Verify,
    /// One episode, from 0, as a conversation.
    Episode(usize),
    /// How another file differs.
    Diff {
        /// The other file.
        other: PathBuf,
        /// Its name for people.
        name: String,
        /// The columns that tell which rows belong together; empty where it is their place.
        key: Vec<String>,
    },
}

/// The form of the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Tables for a terminal.
    #[default]
    Table,
    /// One JSON value.
    Json,
    /// Rows alone, one JSON object a line.
    Ndjson,
    /// Rows alone, comma-separated (RFC 4180).
    Csv,
    /// Markdown.
    Md,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Md => "md",
        })
    }
}

/// A file that belongs to the one in question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelatedFile {
    /// Its kind of artifact, such as `items`.
    pub kind: String,
    /// Where it lies.
    pub path: PathBuf,
}

/// What came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is wrong with the file as far as was looked.
    Whole,
    /// The file is damaged; the answer says where.
    Damaged,
}
