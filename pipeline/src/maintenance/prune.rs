//! Which runs to forget: their records go, and what only they asked for becomes garbage.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock;
use crate::record::{RunFolder, RunRecord};
use crate::store::Store;

/// Which runs go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prune {
    /// The newest of each experiment that stay in any case, at least 1.
    pub keep: usize,
    /// Younger ones stay, too.
    pub older_than: Duration,
}

/// The runs to forget, of `runs` from the oldest on. Those that are pinned or at work stay, and do not count among the newest.
pub(crate) fn to_forget<'a>(
    store: &Store,
    runs: &'a [RunRecord],
    prune: &Prune,
    now: Duration,
) -> anyhow::Result<Vec<&'a RunRecord>> {
    let mut newer: BTreeMap<&str, usize> = BTreeMap::new();
    let mut forget = Vec::new();
    for run in runs.iter().rev() {
        let folder = RunFolder::of(store, &run.id);
        if folder.is_pinned() || folder.is_alive()? {
            continue;
        }
        let newer = newer.entry(&run.experiment).or_default();
        *newer += 1;
        // A time that cannot be read, or lies in the future because a clock was set, makes no run old.
        let age = clock::parse(&run.started).map_or(Duration::ZERO, |started| now.saturating_sub(started));
        if *newer > prune.keep && age >= prune.older_than {
            forget.push(run);
        }
    }
    forget.reverse();
    Ok(forget)
}
