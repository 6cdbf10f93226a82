//! From a log to a smaller one: one filter, one file.
//!
//! The core of a log is numbered anew, and the tables of users and items with it, in the order that they had; a sample keeps the
//! numbers.

mod kcore;
mod sample;

pub use kcore::KCore;
pub use sample::Sample;
