//! The logs that are known by name, and tables of any other.
//!
//! In: the files of a data set, or a law that makes one. Out: interactions, items and users.

pub(in crate::ingest) mod amazon;
pub(in crate::ingest) mod atomic;
pub(in crate::ingest) mod coat;
pub(in crate::ingest) mod impressions;
#[cfg(test)]
pub(in crate::ingest) mod impressions_tests;
pub(in crate::ingest) mod item_scores;
pub(in crate::ingest) mod kuairec;
pub(in crate::ingest) mod movielens;
pub(in crate::ingest) mod parquet_log;
#[cfg(test)]
pub(in crate::ingest) mod parquet_log_tests;
pub(in crate::ingest) mod recbole;
pub(in crate::ingest) mod steam;
pub(in crate::ingest) mod synthetic;
pub(in crate::ingest) mod table;
#[cfg(test)]
pub(in crate::ingest) mod table_tests;
pub mod toy;
pub mod toy_bandit;
pub(in crate::ingest) mod user_item_tables;
