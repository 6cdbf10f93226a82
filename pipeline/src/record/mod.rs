//! The record of a run: `store/runs/<id>/` with `run.json`, `events.jsonl`, `experiment.yaml` as it was run, and
//! `logs/<stage>.log`.
//!
//! Everything that must not be in an object (times, hosts, costs, commands) is here, beside the digests of what was made.

mod journal;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::event::{Event, RunStatus, Status};
use crate::progress::Sink;
use crate::run::{Options, Project};
use crate::secret::redact;
use crate::store::{Entry, Holder, Store, file_name, list, read_if_there, write_atomically};
use crate::{MissReason, clock};
use journal::Journal;

/// Raised when the fields of `run.json` change their names or meaning.
const SCHEMA: u32 = 1;

/// What `run.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub schema_version: u32,
    pub id: String,
    pub experiment: String,
    pub status: RunStatus,
    pub command: String,
    pub host: String,
    pub pid: u32,
    pub program: String,
    /// UTC.
    pub started: String,
    pub seconds: f64,
    pub jobs: usize,
    pub threads: usize,
    pub nodes: Vec<NodeRecord>,
}

/// What became of one stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    pub stage: String,
    pub kind: String,
    pub status: Status,
    pub key: Option<String>,
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

/// The record of a run at work.
pub(crate) struct Record {
    dir: PathBuf,
    run: Mutex<RunRecord>,
    /// Node → its row in `run.nodes`.
    rows: BTreeMap<usize, usize>,
    holder: Holder,
    journal: Journal,
}

impl Record {
    /// Begins a record: from here on `runs` shows the run.
    pub fn create(project: &Project, options: &Options) -> anyhow::Result<Self> {
        let started = clock::timestamp(clock::now());
        let (id, dir) = fresh(&project.store, &started).with_context(|| {
            let store = project.store.artifacts().join("store");
            format!(
                "cannot write to the store `{}`\nhelp: give a folder that you may write to with `--artifacts DIR`",
                store.display()
            )
        })?;
        let node = |&index: &usize| NodeRecord {
            stage: project.node(index).id.clone(),
            kind: project.node(index).kind.kind.into(),
            status: Status::Skipped,
            key: None,
            reason: None,
            seconds: 0.0,
            notes: BTreeMap::new(),
            outputs: BTreeMap::new(),
            error: None,
        };
        let run = RunRecord {
            schema_version: SCHEMA,
            id: id.clone(),
            experiment: project.experiment.name.clone(),
            status: RunStatus::Running,
            command: options.command.clone(),
            host: clock::host(),
            pid: std::process::id(),
            program: concat!("apprentice ", env!("CARGO_PKG_VERSION")).into(),
            started: started.clone(),
            seconds: 0.0,
            jobs: options.jobs,
            threads: options.threads,
            nodes: options.chosen.iter().map(node).collect(),
        };
        fs::write(dir.join("experiment.yaml"), &*redact(&project.experiment.source))
            .with_context(|| format!("write into `{}`", dir.display()))?;
        let record = Self {
            holder: Holder { host: run.host.clone(), pid: run.pid, since: started, run: id },
            rows: options.chosen.iter().enumerate().map(|(row, &index)| (index, row)).collect(),
            journal: Journal::create(&dir)?,
            run: Mutex::new(run),
            dir,
        };
        record.save()?;
        Ok(record)
    }

    pub fn id(&self) -> &str {
        &self.holder.run
    }

    /// What this run writes into the locks that it holds.
    pub fn holder(&self) -> Holder {
        self.holder.clone()
    }

    /// The log of a stage, where it said anything.
    pub fn log_of(&self, stage: &str) -> Option<PathBuf> {
        Some(self.dir.join("logs").join(format!("{}.log", file_name(stage)))).filter(|path| path.is_file())
    }

    /// The node's key is known.
    pub fn keyed(&self, index: usize, key: &str) {
        self.row(index, |row| row.key = Some(key.into()));
    }

    /// The node has to run.
    pub fn missed(&self, index: usize, reason: &MissReason) {
        self.row(index, |row| row.reason = Some(reason.to_string()));
    }

    /// A node that had been a hit was made again for another one.
    pub fn remade(&self, index: usize, status: Status) {
        self.row(index, |row| row.status = status);
    }

    /// The node is through.
    pub fn ended(&self, index: usize, status: Status, entry: Option<&Entry>, seconds: f64, error: Option<String>) {
        self.row(index, |row| {
            (row.status, row.seconds, row.error) = (status, seconds, error);
            let outputs = entry.into_iter().flat_map(|entry| &entry.outputs);
            row.outputs = outputs.map(|output| (output.port.clone(), output.digest.clone())).collect();
        });
        if status != Status::Hit {
            // The record of a run that is killed shows how far it came; that it could not be written now is told at its end.
            let _ = self.save();
        }
    }

    /// Ends the record; gives what became of the nodes.
    pub fn close(&self, status: RunStatus, seconds: f64) -> anyhow::Result<Vec<NodeRecord>> {
        let nodes = {
            let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
            (run.status, run.seconds) = (status, seconds);
            run.nodes.clone()
        };
        self.save()?;
        Ok(nodes)
    }

    fn row(&self, index: usize, change: impl FnOnce(&mut NodeRecord)) {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = self.rows.get(&index).and_then(|&row| run.nodes.get_mut(row)) {
            change(row);
        }
    }

    fn save(&self) -> anyhow::Result<()> {
        let text = {
            let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
            serde_json::to_string_pretty(&*run).expect("a run's record is plain JSON: maps with text keys")
        };
        let path = self.dir.join("run.json");
        write_atomically(&path, format!("{text}\n").as_bytes()).with_context(|| format!("write `{}`", path.display()))
    }
}

impl Sink for Record {
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str) {
        self.journal.advanced(stage, label, done, total, unit, message);
    }
    fn finished(&self, stage: &str, label: &str) {
        self.journal.finished(stage, label);
    }
    fn note(&self, stage: &str, name: &str, value: &str) {
        self.journal.note(stage, name, value);
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = run.nodes.iter_mut().find(|row| row.stage == stage) {
            row.notes.insert(name.into(), value.into());
        }
    }
    fn event(&self, event: &Event) {
        self.journal.event(event);
    }
}

/// The records of all runs, oldest first. Unreadable ones are left out: they are not results.
pub(crate) fn runs(store: &Store) -> anyhow::Result<Vec<RunRecord>> {
    let mut runs = Vec::new();
    for dir in list(&store.part("runs"))? {
        runs.extend(read_if_there(&dir.join("run.json"))?.and_then(|text| serde_json::from_slice(&text).ok()));
    }
    Ok(runs)
}

/// A new folder under `runs`, named so that names sort by time.
fn fresh(store: &Store, started: &str) -> std::io::Result<(String, PathBuf)> {
    let runs = store.part("runs");
    fs::create_dir_all(&runs)?;
    let stem = format!("{}-{}", started.replace(['-', ':'], ""), std::process::id());
    for attempt in 1_u32.. {
        let id = if attempt == 1 { stem.clone() } else { format!("{stem}-{attempt}") };
        let dir: &Path = &runs.join(&id);
        match fs::create_dir(dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map(|()| (id, dir.to_path_buf())),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}
