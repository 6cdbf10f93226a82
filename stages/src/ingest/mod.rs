//! From the files that datasets are published in to [`Interactions`], [`Items`] and [`Users`]: one format, one file.
//!
//! Logs are read in shards, line by line and in parallel; the small files beside them by polars; the parquet crate writes. A
//! row that does not fit is named with file, line, column and value, and is refused or dropped as the experiment says, never
//! silently.

mod atomic;
mod bad_rows;
mod coat;
mod expect;
mod fireact;
mod movielens;
mod python_list;
mod recbole;
mod separated;
mod shards;
mod told;
mod told_lines;
pub mod toy;
mod transcripts;

pub use bad_rows::OnBadRow;
pub use coat::Coat;
pub use movielens::MovieLens;
pub use recbole::Recbole;
pub use transcripts::Transcripts;

use crate::artifact::{Interactions, Items, Users};

pipeline::ports! {
    /// A reader starts from files.
    pub struct NoInputs {}
}

pipeline::ports! {
    /// What every reader gives.
    pub struct Outputs {
        /// The log.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The people.
        users: Users,
    }
}
