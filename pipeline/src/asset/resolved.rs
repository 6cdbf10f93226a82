//! An asset that was found or fetched.

use std::path::PathBuf;

/// An asset that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its file or folder.
    pub path: PathBuf,
    /// BLAKE3 of its content in hex, which joins the keys of the stages that use it; for a folder, of its listing.
    pub digest: String,
    /// SHA-256 of its content in lower-case hex, as [`AssetSpec::sha256`] defines it; of a file of the user only where the
    /// experiment names one.
    pub sha256: Option<String>,
    /// Where it came from, for people: `pip recbole==1.2.1 · recbole/dataset_example/ml-100k/`.
    pub origin: String,
}
