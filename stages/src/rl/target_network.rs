//! Slow copies of networks, from which targets are read: renewed now and then, and kept in checkpoints.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use crate::artifact::Array;
use crate::nn::Params;

/// Sets a copy to what has been learned.
///
/// # Errors
/// When the copy has other names or shapes.
pub fn renew(copy: &Params, learned: &Params) -> Result<()> {
    copy.import(&learned.export()?)
}

/// The copy's parameters, by `<prefix><name>`.
///
/// # Errors
/// When a parameter cannot be read from its device.
pub fn export(prefix: &str, copy: &Params) -> Result<BTreeMap<String, Array>> {
    Ok(copy.export()?.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)).collect())
}

/// Goes back to what [`export`] gave.
///
/// # Errors
/// When the checkpoint has no such copy, or one of another shape.
pub fn import(prefix: &str, copy: &Params, arrays: &BTreeMap<String, Array>) -> Result<()> {
    let of = |(name, array): (&String, &Array)| Some((name.strip_prefix(prefix)?.to_owned(), array.clone()));
    let arrays: BTreeMap<String, Array> = arrays.iter().filter_map(of).collect();
    ensure!(!arrays.is_empty(), "no network `{prefix}` in the checkpoint");
    copy.import(&arrays)
}
