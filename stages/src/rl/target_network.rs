//! Target networks: copies that are updated at intervals and stored in checkpoints.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::artifact::Array;
use crate::nn::Params;

/// Copies the parameters of the online network.
///
/// # Errors
/// When the two networks differ in names or shapes.
pub fn update(target: &Params, online: &Params) -> Result<()> {
    target.import(&online.export()?)
}

/// The target's parameters, by `<prefix><name>`.
///
/// # Errors
/// When a parameter cannot be read from its device.
pub fn export(prefix: &str, target: &Params) -> Result<BTreeMap<String, Array>> {
    Ok(target.export()?.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)).collect())
}

/// Restores what [`export`] gave.
///
/// # Errors
/// When the checkpoint has no such network, or one of another shape.
pub fn import(prefix: &str, target: &Params, arrays: &BTreeMap<String, Array>) -> Result<()> {
    let of = |(name, array): (&String, &Array)| Some((name.strip_prefix(prefix)?.to_owned(), array.clone()));
    let arrays: BTreeMap<String, Array> = arrays.iter().filter_map(of).collect();
    ensure!(!arrays.is_empty(), "no network `{prefix}` in the checkpoint");
    target.import(&arrays)
}
