//! The error of a file that may well be whole, but is of a kind that this program does not read.

use std::fmt;

/// What the file is instead, and a `help:` line. Not damage: making the file again in the same way would not help.
#[derive(Debug)]
pub(crate) struct Unsupported(pub String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}
