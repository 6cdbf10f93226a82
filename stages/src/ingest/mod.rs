//! Readers of published datasets, which give [`Interactions`], [`Items`] and [`Users`]; one file per format.
//!
//! Logs are read in shards, line by line and in parallel; side tables are read whole. An invalid row is reported with file, line,
//! column and value, and is refused or dropped as the experiment sets, never silently.

mod amazon;
mod atomic;
mod bad_rows;
mod billp_maps;
mod bitpack;
mod casts;
mod coat;
mod date_forms;
mod decimal;
mod decompress;
mod delimited;
#[cfg(test)]
mod file_variant_tests;
mod genres;
mod header;
mod imported_ids;
mod impressions;
#[cfg(test)]
mod impressions_tests;
mod integers;
mod item_scores;
mod item_table;
mod json_array;
mod kuairec;
mod line_log;
mod log_experiment;
mod log_matching;
mod movielens;
mod parquet_log;
#[cfg(test)]
mod parquet_log_tests;
mod parquet_parts;
mod parquet_value;
mod plain_number;
mod python_literal;
mod ratings_only;
mod recbole;
mod record;
mod row_counts;
mod row_ends;
mod sampled_lines;
mod sampled_times;
mod shard;
mod side_table;
mod steam;
mod synthetic;
mod table;
#[cfg(test)]
mod table_tests;
mod time_form;
mod time_unit;
mod title_matching;
mod told_history;
pub mod toy;
pub mod toy_bandit;
mod transcript;
mod transcript_choices;
mod transcript_json;
mod transcript_ports;
mod transcript_react;
mod transcript_to_log;
mod transcripts;
#[cfg(test)]
mod transcripts_tests;
mod user_item_tables;

use pipeline::Context;

use crate::artifact::{Interactions, Items, Users};
pub use amazon::Amazon;
pub use bad_rows::OnBadRow;
pub use coat::Coat;
pub use decimal::Decimal;
pub use impressions::{Feedback, Impressions};
pub use item_scores::ItemScoreTable;
pub use kuairec::KuaiRec;
pub use log_experiment::log_experiment;
pub use movielens::MovieLens;
pub use recbole::Recbole;
pub use side_table::Quotes;
pub use steam::Steam;
pub use synthetic::Synthetic;
pub use table::Table;
pub use transcripts::Transcripts;

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
