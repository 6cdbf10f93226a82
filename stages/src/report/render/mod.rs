//! Rows and findings as a page, Markdown, CSV or JSON.
//!
//! In: rows and findings. Out: text in one of the forms; it computes nothing.

pub(in crate::report) mod chart;
pub(in crate::report) mod compare;
pub(in crate::report) mod csv;
pub(in crate::report) mod episode;
pub(in crate::report) mod forms;
pub(in crate::report) mod glossary;
pub(in crate::report) mod link;
pub(in crate::report) mod markdown;
pub(in crate::report) mod page;
pub(in crate::report) mod run_info;
pub(in crate::report) mod while_learning;
pub(in crate::report) mod worth;
