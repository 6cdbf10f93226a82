//! Assets that the program makes itself.

use std::path::Path;

/// Makes a small asset without a download, for experiments that must run anywhere (`from: [{ generate: toy-log }]`).
pub struct Generator {
    /// The name after `generate:`.
    pub name: &'static str,
    /// One line for the schema.
    pub about: &'static str,
    /// Writes the file or folder at the path; equal bytes on every call.
    pub write: fn(&Path) -> anyhow::Result<()>,
}
