//! Readers of published datasets, which give [`Interactions`], [`Items`] and [`Users`]; one file per format.
//!
//! Logs are read in shards, line by line and in parallel; side tables are read whole. An invalid row is reported with file, line,
//! column and value, and is refused or dropped as the experiment sets, never silently.

pub mod datasets;
#[cfg(test)]
mod file_variant_tests;
mod log_experiment;
mod readers;
mod transcripts;

pub use datasets::{toy, toy_bandit};
use pipeline::Context;

use crate::artifact::{Interactions, Items, Users};
pub use datasets::amazon::Amazon;
pub use datasets::coat::Coat;
pub use datasets::impressions::{Feedback, Impressions};
pub use datasets::item_scores::ItemScoreTable;
pub use datasets::kuairec::KuaiRec;
pub use datasets::movielens::MovieLens;
pub use datasets::recbole::Recbole;
pub use datasets::steam::Steam;
pub use datasets::synthetic::Synthetic;
pub use datasets::table::Table;
pub use log_experiment::log_experiment;
pub use readers::bad_rows::OnBadRow;
pub use readers::decimal::Decimal;
pub use readers::side_table::Quotes;
pub use transcripts::import::Transcripts;

pipeline::ports! {
    /// A reader has no inputs; it reads files.
    pub struct NoInputs {}
}

pipeline::ports! {
    /// The outputs of every reader.
    pub struct Outputs {
        /// The log.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The users.
        users: Users,
    }
}

impl Outputs {
    /// Notes the counts of the tables on the run.
    fn note_counts(&self, cx: &Context) {
        let counts = [(self.interactions.len(), "interaction"), (self.users.len(), "user"), (self.items.len(), "item")];
        let said = counts.map(|(count, noun)| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }));
        cx.note("read", said.join(", "));
        if let Some(rating) = self.interactions.only_rating() {
            let treated = "fit `world.two_tower`, `world.ials`, or another world with `sample_negatives: true`";
            cx.note("ratings", format!("all are {rating}, so that they show no preference: {treated}"));
        }
    }
}
