//! What has to stay: everything that a recorded run asked for, and the last result of every stage.
//!
//! A stage's last result stays also when all runs that made it are forgotten, unless the stage has vanished: a later run of
//! the whole experiment no longer had it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::record::{RunFolder, RunRecord, folders};
use crate::store::{Remembered, Store, file_name};

/// What stays, and what about the runs and stages is not so.
#[derive(Default)]
pub(crate) struct Roots {
    /// The keys whose results and unfinished work stay.
    pub keys: BTreeSet<String>,
    /// The contents that recorded runs gave, whichever entry names them now.
    pub objects: BTreeSet<String>,
    /// The keys that stay for more than old runs: last results, and all that the newest run of an experiment asked for.
    pub current: BTreeSet<String>,
    /// How many runs are recorded, and how many of them are at work.
    pub runs: usize,
    pub alive: usize,
    /// Stages that vanished, and whose view no recorded run explains.
    pub vanished: Vec<Remembered>,
    /// Runs of an experiment that is to be forgotten.
    pub forgotten: Vec<RunFolder>,
    /// Folders in which a run was never recorded, or no longer is.
    pub remains: Vec<RunFolder>,
    /// Files that cannot be read, so that what they name is not known.
    pub unreadable: Vec<PathBuf>,
}

impl Roots {
    /// Reads the records of the store; the runs and stages of the experiment `forget` do not count, unless a run is pinned or
    /// at work.
    pub fn of(store: &Store, forget: Option<&str>) -> anyhow::Result<Self> {
        let mut roots = Self::default();
        let mut recorded: Vec<RunRecord> = Vec::new();
        for folder in folders(store)? {
            let alive = folder.is_alive()?;
            let keys = folder.keys()?;
            let record = match folder.record()? {
                None if alive => None,
                None => {
                    roots.remains.push(folder);
                    continue;
                }
                // Without its record a run's keys still say all that matters here.
                Some(Err(_)) if !keys.is_empty() => None,
                Some(Err(path)) => {
                    roots.unreadable.push(path);
                    continue;
                }
                Some(Ok(record)) => Some(record),
            };
            let named = record.as_ref().map(|record| record.experiment.as_str());
            if named.is_some() && named == forget && !alive && !folder.is_pinned() {
                roots.forgotten.push(folder);
                continue;
            }
            roots.runs += 1;
            roots.alive += usize::from(alive);
            roots.keys.extend(keys);
            recorded.extend(record);
        }
        for node in recorded.iter().flat_map(|run| &run.nodes) {
            roots.keys.extend(node.key.clone());
            roots.objects.extend(node.outputs.values().cloned());
        }
        let newest: BTreeMap<_, _> = recorded.iter().map(|run| (&run.experiment, run)).collect();
        roots.current = newest.values().flat_map(|run| &run.nodes).filter_map(|node| node.key.clone()).collect();
        let forget = forget.map(file_name);
        for remembered in store.all_latest()? {
            let Some(latest) = &remembered.latest else {
                roots.unreadable.push(remembered.path);
                continue;
            };
            let of_it: Vec<_> =
                recorded.iter().filter(|run| file_name(&run.experiment) == remembered.experiment).collect();
            let has_it = |run: &RunRecord| run.nodes.iter().any(|node| node.stage == latest.stage);
            let newest_whole = of_it.iter().rposition(|run| run.whole);
            let vanished = newest_whole.is_some_and(|whole| !of_it[whole..].iter().any(|run| has_it(run)));
            if vanished || Some(&remembered.experiment) == forget.as_ref() {
                if !of_it.iter().any(|run| has_it(run)) {
                    roots.vanished.push(remembered);
                }
                continue;
            }
            roots.keys.insert(latest.key.clone());
            roots.current.insert(latest.key.clone());
        }
        Ok(roots)
    }
}
