//! Episodes that a language model played elsewhere.
//!
//! In: its transcripts, and a log of the same catalogue if there is one. Out: demonstrations, calls, and how each title was matched.

pub(in crate::ingest) mod billp_maps;
pub(in crate::ingest) mod choices;
pub(in crate::ingest) mod import;
#[cfg(test)]
pub(in crate::ingest) mod import_tests;
pub(in crate::ingest) mod imported_ids;
pub(in crate::ingest) mod json_form;
pub(in crate::ingest) mod log_matching;
pub(in crate::ingest) mod ports;
pub(in crate::ingest) mod react_form;
pub(in crate::ingest) mod title_matching;
pub(in crate::ingest) mod to_log;
pub(in crate::ingest) mod told_history;
pub(in crate::ingest) mod transcript;
