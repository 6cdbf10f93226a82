//! From the files that datasets are published in to [`Interactions`], [`Items`] and [`Users`]: one format, one file.
//!
//! Logs are read in shards, line by line and in parallel; the small files beside them by polars; the parquet crate writes. A
//! row that does not fit is named with file, line, column and value, and is refused or dropped as the experiment says, never
//! silently.

mod amazon;
mod atomic;
mod bad_rows;
mod billp_maps;
mod catalogue;
mod coat;
#[cfg(test)]
mod copies;
mod date;
mod entered;
mod expect;
mod fireact;
mod genres;
mod grid;
mod header;
mod json_array;
mod kuairec;
mod literal;
mod meant;
mod movielens;
mod narrow;
mod packed;
mod parquet_log;
mod parquet_parts;
mod parquet_value;
mod piece;
mod ratings_only;
mod recbole;
mod record;
mod row_ends;
mod separated;
mod shards;
mod steam;
mod table;
mod table_sides;
mod time_unit;
mod told;
mod told_lines;
pub mod toy;
mod transcripts;
mod unpacked;
mod whole;

pub use amazon::Amazon;
pub use bad_rows::OnBadRow;
pub use coat::Coat;
pub use grid::Quotes;
pub use kuairec::KuaiRec;
pub use movielens::MovieLens;
pub use recbole::Recbole;
pub use steam::Steam;
pub use table::Table;
pub use transcripts::Transcripts;

use pipeline::Context;

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

impl Outputs {
    /// Notes on the run how much was read.
    fn say(&self, cx: &Context) {
        let counts = [(self.interactions.len(), "interaction"), (self.users.len(), "user"), (self.items.len(), "item")];
        let said = counts.map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }));
        cx.note("read", said.join(", "));
        if let Some(rating) = self.interactions.only_rating() {
            let who = "a world is fitted to such a log only with `negatives: true`";
            cx.note("ratings", format!("all are {rating}, so that they tell no taste: {who}"));
        }
    }
}
