//! A stage that is worked on elsewhere, as a file: what a worker needs beside the store, and no more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::exact_numbers::ExactNumbers;
use crate::PortFile;
use crate::asset::Resolved;
use crate::key::Input;
use crate::resources::Resources;
use crate::store::{Entry, Lookup, Store, read_if_there};

/// Everything that one stage is computed from. Paths into the store are not in it, because nodes may mount it elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    /// The experiment's name.
    pub experiment: String,
    /// The stage, without its cell.
    pub stage: String,
    /// The stage with its cell.
    pub id: String,
    /// The run that asked for it, and its command line.
    pub run: String,
    pub command: String,
    /// The kind of stage, and its config with every default filled in.
    pub kind: String,
    pub config: ExactNumbers,
    /// The key: a worker that comes to another one is of another build.
    pub key: String,
    /// Port → what is connected to it, by digest.
    pub inputs: BTreeMap<String, Vec<JobInput>>,
    pub assets: Vec<(String, JobAsset)>,
    /// Where to train; nothing where nothing is trained.
    pub device: Option<String>,
    pub threads: usize,
    /// Bytes that its tables may take; nothing for what the machine of the worker has.
    pub memory: Option<u64>,
    /// What it asks of the machine that works on it.
    #[serde(default)]
    pub resources: Resources,
    /// An error instead of waiting for another run that makes the same result.
    pub no_wait: bool,
    /// The digest of the entry that is there already and does not count, because the stage is forced to run or its result is incomplete.
    pub superseded: Option<String>,
}

/// One artifact at a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobInput {
    pub name: String,
    pub cell: String,
    pub digest: String,
}

/// An asset that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobAsset {
    pub path: PathBuf,
    pub digest: String,
    pub origin: String,
}

impl Job {
    /// The result, if it is in the store and counts.
    pub fn stored(&self, store: &Store) -> anyhow::Result<Option<Entry>> {
        if self.superseded.is_some() && self.superseded == entry_digest(store, &self.key)? {
            return Ok(None);
        }
        Ok(match store.lookup(&self.key)? {
            Lookup::Entry(entry) => Some(*entry),
            Lookup::Nothing | Lookup::Damaged(_) => None,
        })
    }

    /// The files at a port.
    pub fn files(&self, store: &Store, port: &str) -> Vec<PortFile> {
        let file = |input: &JobInput| PortFile {
            name: input.name.clone(),
            cell: input.cell.clone(),
            path: store.object(&input.digest),
        };
        self.inputs.get(port).into_iter().flatten().map(file).collect()
    }

    /// What a port brings to the key.
    pub fn key_inputs(&self, port: &str) -> Vec<Input> {
        let input = |input: &JobInput| Input {
            name: input.name.clone(),
            cell: input.cell.clone(),
            digest: input.digest.clone(),
        };
        self.inputs.get(port).into_iter().flatten().map(input).collect()
    }

    /// The assets, where the run found them.
    pub fn resolved_assets(&self) -> Vec<(String, Resolved)> {
        let resolved = |asset: &JobAsset| Resolved {
            path: asset.path.clone(),
            digest: asset.digest.clone(),
            sha256: None,
            origin: asset.origin.clone(),
        };
        self.assets.iter().map(|(name, asset)| (name.clone(), resolved(asset))).collect()
    }
}

/// What tells one entry of a key from a later one; nothing where there is none.
pub(crate) fn entry_digest(store: &Store, key: &str) -> anyhow::Result<Option<String>> {
    Ok(read_if_there(&store.entry_path(key))?.map(|bytes| blake3::hash(&bytes).to_hex().to_string()))
}

/// The folder of results that a job file lies in, `<artifacts>/store/runs/<run>/jobs/<job>.json`.
pub(crate) fn artifacts_of(job: &Path) -> Option<&Path> {
    job.ancestors().nth(5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_are_found_from_the_place_of_the_job() {
        let job = Path::new("/elsewhere/artifacts/store/runs/20250131T120000Z-1/jobs/1-a.json");
        assert_eq!(artifacts_of(job), Some(Path::new("/elsewhere/artifacts")));
        assert_eq!(artifacts_of(Path::new("a.json")), None);
    }
}
