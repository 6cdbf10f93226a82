//! Whether what was fetched is still what came.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::cache::Cache;
use crate::progress::Progress;

/// What the cache holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    pub whole: usize,
    /// The contents that were damaged or lost, and are forgotten: the next run that needs one fetches it again.
    pub damaged: Vec<PathBuf>,
    /// Folders of the cache that could not be checked, and why.
    pub unknown: Vec<(PathBuf, String)>,
}

/// Reads every byte of the cache.
///
/// # Errors
/// When it cannot be listed.
pub(crate) fn verify_cache(cache: &Path, progress: &Progress) -> anyhow::Result<Checked> {
    let slots = Cache::new(cache.to_path_buf()).slots()?;
    let bar = progress.bar("assets", Some(slots.len() as u64), "assets");
    let found: Vec<_> = slots.par_iter().map(|slot| (slot, slot.check())).inspect(|_| bar.inc(1)).collect();
    let mut checked = Checked::default();
    for (slot, found) in found {
        match found {
            Ok(None) => {}
            Ok(Some(Ok(()))) => checked.whole += 1,
            Ok(Some(Err(path))) => checked.damaged.push(path),
            Err(error) => checked.unknown.push((slot.folder().to_path_buf(), format!("{error:#}"))),
        }
    }
    Ok(checked)
}
