//! The record of a run: `store/runs/<id>/` with `run.json`, `events.jsonl`, `experiment.yaml` as it was run,
//! `logs/<stage>.log`, and `keys`, which names all that the run asked the store for.
//!
//! Everything that must not be in an object (times, hosts, costs, commands) is here, beside the digests of what was made.

mod event_log;
mod partial_run;
mod run_history;
mod run_record;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::event::{Event, RunStatus, Status};
use crate::failpoints::reached;
use crate::progress::Sink;
use crate::run::{Options, Project};
use crate::secret::redact;
use crate::store::{Entry, Holder, Store, write_atomically, write_in_passing};
use crate::{Device, MissReason, clock, host_info};
use event_log::EventLog;
pub(crate) use run_history::{RUNNING, RunFolder, damaged, find, folders, runs};
pub(crate) use run_record::{NodeRecord, RunRecord};

/// Raised when the fields of `run.json` change their names or meaning.
const SCHEMA: u32 = 1;

/// At most one save in this time while the run goes on: each writes the whole record, which of a thousand stages is long.
const EVERY: Duration = Duration::from_secs(1);

/// The record of a run at work.
pub(crate) struct Record {
    dir: PathBuf,
    run: Mutex<RunRecord>,
    last_saved: Mutex<Instant>,
    /// Node → its row in `run.nodes`.
    rows: BTreeMap<usize, usize>,
    holder: Holder,
    event_log: EventLog,
    /// Locked for as long as the run is at work.
    keys: Mutex<File>,
}

impl Record {
    /// Begins a record: from here on `runs` shows the run.
    pub fn create(project: &Project, options: &Options) -> anyhow::Result<Self> {
        let started = clock::timestamp(clock::now());
        let begin = || {
            // A folder without a record is taken for the rest of one.
            let gc_lock = project.store.enter()?;
            let (id, dir) = fresh(&project.store, &started)?;
            let keys = run_history::create_keys(&dir)?;
            anyhow::Ok((gc_lock, id, dir, keys))
        };
        let (gc_lock, id, dir, keys) = begin().map_err(|error| {
            let store = project.store.artifacts().join("store");
            anyhow::anyhow!(
                "cannot write to the store `{}`: {error:#}\n\
                 help: give a folder that you may write to with `--artifacts DIR`",
                store.display()
            )
        })?;
        let node = |&index: &usize| NodeRecord {
            stage: project.node(index).id.clone(),
            kind: project.node(index).kind.kind.into(),
            status: Status::Skipped,
            key: None,
            device: None,
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
            machine: host_info::describe(),
            pid: std::process::id(),
            program: concat!("apprentice ", env!("CARGO_PKG_VERSION")).into(),
            started: started.clone(),
            seconds: 0.0,
            jobs: options.jobs,
            threads: options.threads,
            whole: options.chosen.len() == project.experiment.nodes.len(),
            nodes: options.chosen.iter().map(node).collect(),
        };
        reached("made", &dir);
        fs::write(dir.join(run_history::EXPERIMENT), &*redact(&project.experiment.source))
            .with_context(|| format!("write into `{}`", dir.display()))?;
        reached("written", &dir);
        let record = Self {
            holder: Holder { host: run.host.clone(), pid: run.pid, since: started, run: id },
            rows: options.chosen.iter().enumerate().map(|(row, &index)| (index, row)).collect(),
            event_log: EventLog::create(&dir)?,
            run: Mutex::new(run),
            keys: Mutex::new(keys),
            last_saved: Mutex::new(Instant::now()),
            dir,
        };
        record.save(write_in_passing)?;
        drop(gc_lock);
        Ok(record)
    }

    pub fn id(&self) -> &str {
        &self.holder.run
    }

    /// What this run writes into a lock that it takes now.
    pub fn holder(&self) -> Holder {
        Holder { since: clock::timestamp(clock::now()), ..self.holder.clone() }
    }

    /// The log of a stage, where it said anything.
    pub fn log_of(&self, stage: &str) -> Option<PathBuf> {
        Some(self.event_log.log_path(stage)).filter(|path| path.is_file())
    }

    /// The log of a stage at work, where it said anything so far.
    pub fn log_so_far(&self, stage: &str) -> Option<PathBuf> {
        self.event_log.has_log(stage).then(|| self.event_log.log_path(stage))
    }

    /// The node's key is known. From here on nothing that is found or made under the key is taken away by `gc`; the caller
    /// holds the gc lock.
    pub fn keyed(&self, index: usize, key: &str) -> anyhow::Result<()> {
        self.row(index, |row| row.key = Some(key.into()));
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.write_all(format!("{key}\n").as_bytes()).with_context(|| format!("write into `{}`", self.dir.display()))
    }

    /// The node has to run, and trains on that device if it trains. After a power cut, too, `gc` shall know whose unfinished work it finds.
    pub fn missed(&self, index: usize, reason: &MissReason, device: Option<Device>) {
        self.row(index, |row| {
            (row.reason, row.device) = (Some(reason.to_string()), device.map(|device| device.to_string()));
        });
        let _ = self.keys.lock().unwrap_or_else(PoisonError::into_inner).sync_data();
    }

    /// The node is through; also once more, where it was made again for another one.
    pub fn ended(&self, index: usize, status: Status, entry: Option<&Entry>, seconds: f64, error: Option<String>) {
        self.row(index, |row| {
            (row.status, row.seconds, row.error) = (status, seconds, error);
            row.outputs = entry.map(outputs).unwrap_or_default();
        });
        let mut saved = self.last_saved.lock().unwrap_or_else(PoisonError::into_inner);
        if status != Status::Hit && saved.elapsed() >= EVERY {
            // The record of a run that is killed shows how far it came; that it could not be written now is reported at its end.
            let _ = self.save(write_in_passing);
            *saved = Instant::now();
        }
    }

    /// The node that was through gives this now, which somebody else made.
    pub fn gives(&self, index: usize, entry: &Entry) {
        self.row(index, |row| row.outputs = outputs(entry));
    }

    /// Ends the record; gives what became of the nodes.
    pub fn close(&self, status: RunStatus, seconds: f64) -> anyhow::Result<Vec<NodeRecord>> {
        let nodes = {
            let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
            (run.status, run.seconds) = (status, seconds);
            run.nodes.clone()
        };
        self.save(write_atomically)?;
        Ok(nodes)
    }

    fn row(&self, index: usize, change: impl FnOnce(&mut NodeRecord)) {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = self.rows.get(&index).and_then(|&row| run.nodes.get_mut(row)) {
            change(row);
        }
    }

    fn save(&self, write: fn(&Path, &[u8]) -> io::Result<()>) -> anyhow::Result<()> {
        let text = {
            let run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
            serde_json::to_string_pretty(&*run).expect("a run's record is plain JSON: maps with text keys")
        };
        let path = self.dir.join("run.json");
        write(&path, format!("{text}\n").as_bytes()).with_context(|| format!("write `{}`", path.display()))
    }
}

impl Sink for Record {
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str) {
        self.event_log.advanced(stage, label, done, total, unit, message);
    }
    fn finished(&self, stage: &str, label: &str) {
        self.event_log.finished(stage, label);
    }
    fn note(&self, stage: &str, name: &str, value: &str) {
        self.event_log.note(stage, name, value);
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(row) = run.nodes.iter_mut().find(|row| row.stage == stage) {
            row.notes.insert(name.into(), value.into());
        }
    }
    fn event(&self, event: &Event) {
        self.event_log.event(event);
    }
}

fn outputs(entry: &Entry) -> BTreeMap<String, String> {
    entry.outputs.iter().map(|output| (output.port.clone(), output.digest.clone())).collect()
}

/// A new folder under `runs`, named so that names sort by time.
fn fresh(store: &Store, started: &str) -> io::Result<(String, PathBuf)> {
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
