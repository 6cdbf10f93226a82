//! What follows from the table and from the record of a run, in words: verdicts, differences, caveats, costs.
//!
//! In: rows, comparisons, other artifacts, what was run. Out: sentences and small tables, computed and never written by hand.

pub(in crate::report) mod agreement;
pub(in crate::report) mod caveats;
pub(in crate::report) mod cost;
pub(in crate::report) mod evaluation_table;
pub(in crate::report) mod latency;
pub(in crate::report) mod off_policy;
pub(in crate::report) mod provenance_checks;
pub(in crate::report) mod ranking;
pub(in crate::report) mod significance;
pub(in crate::report) mod teachers;
pub(in crate::report) mod verdict;
