//! What `run.json` holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{RunStatus, Status};

/// What `run.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub schema_version: u32,
    pub id: String,
    pub experiment: String,
    pub status: RunStatus,
    pub command: String,
    pub host: String,
    /// What kind of machine it is.
    #[serde(default)]
    pub machine: String,
    pub pid: u32,
    pub program: String,
    /// UTC.
    pub started: String,
    pub seconds: f64,
    pub jobs: usize,
    pub threads: usize,
    /// Whether every stage of the experiment was chosen, so that a stage which is not here is not in the experiment.
    #[serde(default)]
    pub whole: bool,
    pub nodes: Vec<NodeRecord>,
}

/// What became of one stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    pub stage: String,
    pub kind: String,
    pub status: Status,
    pub key: Option<String>,
    /// Where it trained, if it did in this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Why it ran, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub seconds: f64,
    /// What the stage noted, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, String>,
    /// Output port → digest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
