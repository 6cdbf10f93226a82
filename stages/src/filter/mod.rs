//! From a log with its tables to a smaller one: one filter, one file.
//!
//! What is left is numbered anew, and the tables of users and items with it, in the order that they had.

mod kcore;

pub use kcore::KCore;
