//! Where each part of a store lies.

use std::path::{Path, PathBuf};

use super::file_name::file_name;

/// A store below an `artifacts` folder. Opening it touches nothing: what only reads works on a read-only disk.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    artifacts: PathBuf,
}

impl Store {
    pub fn new(artifacts: &Path) -> Self {
        Self { artifacts: artifacts.to_path_buf() }
    }

    /// The folder that holds the store and the views.
    pub fn artifacts(&self) -> &Path {
        &self.artifacts
    }

    /// A part of the store, such as `runs`.
    pub fn part(&self, name: &str) -> PathBuf {
        self.artifacts.join("store").join(name)
    }

    /// The ledger of what a stage spent.
    pub fn spent(&self, experiment: &str, stage: &str) -> PathBuf {
        self.part("spent").join(file_name(experiment)).join(file_name(stage))
    }

    /// Work in progress of a key.
    pub fn scratch(&self, key: &str) -> PathBuf {
        self.part("scratch").join(key)
    }

    /// Where the entry of a key lies.
    pub fn entry_path(&self, key: &str) -> PathBuf {
        self.part("entries").join(format!("{key}.json"))
    }
}
