//! The table that everything else is read from: one row a policy, and how its numbers are written.
//!
//! In: metrics, one line a number, and rollouts. Out: rows with their measures.

pub(in crate::report) mod format;
pub(in crate::report) mod metric_labels;
pub(in crate::report) mod row;
