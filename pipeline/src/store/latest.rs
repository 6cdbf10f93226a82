//! What a stage of an experiment was when it last had a result: its key, so that a change can be shown field by field, and
//! the stamps of its view, so that an untouched view costs no reading.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::{Store, file_name, list, read_if_there, write_in_passing};

/// The memory of one stage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LatestResult {
    /// The stage's id, such as `policy@seed=3`.
    pub stage: String,
    pub key: String,
    /// Port → the view that was written.
    pub views: BTreeMap<String, FileStamp>,
}

/// A memory as it lies on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    pub path: PathBuf,
    /// The experiment's name as the name of a folder.
    pub experiment: String,
    /// `None` where it cannot be read.
    pub latest: Option<LatestResult>,
}

/// How a view looked when it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileStamp {
    pub digest: String,
    pub bytes: u64,
    /// Nanoseconds since 1970.
    pub modified: u64,
    /// Its number on the disk, because two views of one size may be written within one tick of the file system's clock; 0
    /// where the system gives none.
    #[serde(default)]
    pub number: u64,
}

impl FileStamp {
    /// The stamp of the file at `path`, which is a copy of `digest`; `None` where there is no plain file.
    pub fn of(path: &Path, digest: &str) -> Option<Self> {
        let metadata = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
        let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos() as u64;
        Some(Self { digest: digest.into(), bytes: metadata.len(), modified, number: number(&metadata) })
    }
}

#[cfg(unix)]
fn number(metadata: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn number(_: &fs::Metadata) -> u64 {
    0
}

impl Store {
    /// The memory of a stage. A damaged one is forgotten: it is a convenience, not a result.
    pub fn latest(&self, experiment: &str, stage: &str) -> anyhow::Result<Option<LatestResult>> {
        let text = read_if_there(&self.latest_path(experiment, stage))?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Remembers a stage.
    pub fn remember(&self, experiment: &str, latest: &LatestResult) -> anyhow::Result<()> {
        let path = self.latest_path(experiment, &latest.stage);
        let text = serde_json::to_vec_pretty(latest).expect("a stage's memory is plain JSON");
        write_in_passing(&path, &text).with_context(|| format!("write `{}`", path.display()))
    }

    /// The stages of an experiment that have a result, by id.
    pub fn stages_of(&self, experiment: &str) -> anyhow::Result<Vec<LatestResult>> {
        Ok(memories(&self.part("last").join(file_name(experiment)))?.filter_map(|(_, latest)| latest).collect())
    }

    /// The memory of every stage of every experiment.
    pub fn all_latest(&self) -> anyhow::Result<Vec<Remembered>> {
        let mut all = Vec::new();
        for folder in list(&self.part("last"))?.into_iter().filter(|path| path.is_dir()) {
            let experiment = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let remembered = |(path, latest)| Remembered { path, experiment: experiment.clone(), latest };
            all.extend(memories(&folder)?.map(remembered));
        }
        Ok(all)
    }

    fn latest_path(&self, experiment: &str, stage: &str) -> PathBuf {
        self.part("last").join(file_name(experiment)).join(format!("{}.json", file_name(stage)))
    }
}

/// The memories in the folder of an experiment, each with `None` where it cannot be read. What a killed process left of one
/// (`.new-…`) is none.
fn memories(folder: &Path) -> anyhow::Result<impl Iterator<Item = (PathBuf, Option<LatestResult>)>> {
    let named = list(folder)?.into_iter().filter(|path| path.extension() == Some("json".as_ref()));
    Ok(named.filter_map(|path| {
        let text = read_if_there(&path).transpose()?;
        let latest = text.ok().and_then(|text| serde_json::from_slice(&text).ok());
        Some((path, latest))
    }))
}
