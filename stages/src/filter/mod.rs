//! From a log to a smaller one: one filter, one file.
//!
//! The core of a log is numbered anew, and the tables of users and items with it, in the order that they had; a sample, and a log without
//! repeats, keep the numbers.

mod duplicates;
mod kcore;
mod sample;

pub use duplicates::Duplicates;
pub use kcore::KCore;
pub use sample::Sample;
