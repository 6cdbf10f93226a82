//! What `apprentice add-items` asks of the code that knows policies.

use std::path::Path;

use serde::Serialize;

/// Writes a policy that also knows the new items of a catalogue.
///
/// # Errors
/// [`crate::UsageError`] when there is nothing to add or nothing to learn it from; else when a file cannot be read or written.
pub type AddItemsToPolicy = fn(&AddItems) -> anyhow::Result<AddedItems>;

/// A policy, and a catalogue with items that it does not know.
#[derive(Clone, Debug)]
pub struct AddItems<'a> {
    /// The policy's file.
    pub policy: &'a Path,
    /// A file of items, those that the policy knows among them.
    pub catalogue: &'a Path,
    /// The columns that are read, each with its kind (`categorical`); empty for all.
    pub features: Vec<(String, String)>,
    /// The file to write, which is not there yet.
    pub out: &'a Path,
}

/// What was added.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AddedItems {
    /// Items of the policy that the catalogue has.
    pub known: usize,
    /// Items of the policy that it has not.
    pub not_in_catalogue: usize,
    /// Items that the policy did not know.
    pub added: usize,
    /// How many of them have no column that a known item shares: they have the mean of the known items.
    pub by_mean: usize,
    /// The columns that were read.
    pub columns: Vec<String>,
    /// Those that were not, with the reason.
    pub left_out: Vec<String>,
    /// Spearman's rank correlation of the scores that known items would have as new ones with those that they have.
    pub agreement: f64,
    /// Over how many users that is a mean.
    pub users: usize,
}
