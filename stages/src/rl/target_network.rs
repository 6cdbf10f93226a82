//! Slow copies of networks, from which targets are read: renewed now and then, and kept in checkpoints.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::artifact::Array;
use crate::nn::Params;

/// Sets a copy to what has been learned.
///
/// # Errors
/// When the copy has other names or shapes.
pub fn update(target: &Params, online: &Params) -> Result<()> {
    target.import(&online.export()?)
}

/// The copy's parameters, by `<prefix><name>`.
///
/// # Errors
/// When a parameter cannot be read from its device.
pub fn export(prefix: &str, target: &Params) -> Result<BTreeMap<String, Array>> {
    Ok(target.export()?.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)).collect())
}

/// Goes back to what [`export`] gave.
///
/// # Errors
/// When the checkpoint has no such copy, or one of another shape.
pub fn import(prefix: &str, target: &Params, arrays: &BTreeMap<String, Array>) -> Result<()> {
    let of = |(name, array): (&String, &Array)| Some((name.strip_prefix(prefix)?.to_owned(), array.clone()));
    let arrays: BTreeMap<String, Array> = arrays.iter().filter_map(of).collect();
    ensure!(!arrays.is_empty(), "no network `{prefix}` in the checkpoint");
    target.import(&arrays)
}
