//! What a run said, as it said it: `events.jsonl` for programs, one log a stage for people.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::run_history::{LOGS, log_path};
use crate::clock;
use crate::event::{EVENT_SCHEMA, Event};
use crate::failpoints::reached;
use crate::progress::Throttle;

/// The events of a run, one a line.
pub(super) const EVENTS: &str = "events.jsonl";

/// At most one line a bar in this time, so that a stage that counts millions of rows does not fill the disk.
const EVERY: Duration = Duration::from_secs(2);

pub(super) struct EventLog {
    dir: PathBuf,
    start: Instant,
    throttle: Throttle,
    files: Mutex<Files>,
}

struct Files {
    events: File,
    /// Of the stages at work: a log is closed with its stage, else a thousand stages would use up the files that a process
    /// may have open.
    logs: BTreeMap<String, File>,
}

impl EventLog {
    pub fn create(dir: &Path) -> anyhow::Result<Self> {
        let wanted = || format!("make the run's record in `{}`", dir.display());
        fs::create_dir(dir.join(LOGS)).with_context(wanted)?;
        let events = File::create(dir.join(EVENTS)).with_context(wanted)?;
        let files = Mutex::new(Files { events, logs: BTreeMap::new() });
        Ok(Self { dir: dir.to_path_buf(), start: Instant::now(), throttle: Throttle::new(EVERY), files })
    }

    pub fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str) {
        if self.throttle.may(stage, label) {
            let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
            self.log(stage, format!("{label}: {done}{of} {unit} {message}").trim_end());
            self.tell(json!({
                "event": "progress", "stage": stage, "label": label, "done": done, "total": total, "unit": unit,
                "message": message,
            }));
        }
    }

    pub fn finished(&self, stage: &str, label: &str) {
        self.throttle.forget(stage, label);
        self.log(stage, &format!("{label}: done"));
    }

    pub fn note(&self, stage: &str, name: &str, value: &str) {
        self.log(stage, &format!("{name}: {value}"));
        self.tell(json!({ "event": "note", "stage": stage, "name": name, "value": value }));
    }

    pub fn event(&self, event: &Event) {
        match event {
            Event::StageStarted { stage, why, resumed, key, .. } => {
                let resumed = if *resumed { "; resumes from saved units" } else { "" };
                self.log(stage, &format!("started: {why}{resumed} (key {key})"));
            }
            Event::Waiting { stage, holder } => self.log(stage, &format!("waits for {holder}")),
            Event::WaitingForMemory { stage, why } => self.log(stage, &format!("waits for memory: {why}")),
            Event::Queued { stage, why } => self.log(stage, why),
            Event::Warning { stage, text } => self.log(stage, &format!("warning: {text}")),
            Event::StageEnded { stage, status, seconds, error, .. } => {
                // A hit that said nothing gets no log.
                if self.has_log(stage) || error.is_some() {
                    let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
                    let status = format!("{status:?}").to_lowercase();
                    self.log(stage, &format!("{status} after {seconds:.3} s{error}"));
                    self.files.lock().unwrap_or_else(PoisonError::into_inner).logs.remove(stage);
                }
            }
            Event::RunStarted { .. } | Event::RunEnded { .. } => {}
        }
        self.tell(serde_json::to_value(event).expect("an event is plain JSON"));
    }

    fn tell(&self, event: Value) {
        let mut line = json!({ "schema_version": EVENT_SCHEMA, "seconds": self.start.elapsed().as_secs_f64() });
        if let (Some(line), Value::Object(event)) = (line.as_object_mut(), event) {
            line.extend(event);
        }
        let line = format!("{line}\n");
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        // In one go, not piece by piece as JSON is made: a run of a thousand hits writes two thousand lines, and a kill leaves
        // no part of one. A run does not fail because its diary cannot be written: a full disk shows itself at the next commit.
        let _ = files.events.write_all(line.as_bytes());
        drop(files);
        reached("written", &self.dir.join(LOGS));
    }

    fn log(&self, stage: &str, text: &str) {
        let line = format!("{} {text}\n", clock::timestamp(clock::now()));
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if !files.logs.contains_key(stage) {
            let path = self.log_path(stage);
            let Ok(file) = OpenOptions::new().create(true).append(true).open(path) else { return };
            files.logs.insert(stage.into(), file);
        }
        if let Some(file) = files.logs.get_mut(stage) {
            let _ = file.write_all(line.as_bytes());
        }
    }

    /// Where the log of a stage is, or would be.
    pub fn log_path(&self, stage: &str) -> PathBuf {
        log_path(&self.dir, stage)
    }

    /// Whether a stage at work said anything so far.
    pub fn has_log(&self, stage: &str) -> bool {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).logs.contains_key(stage)
    }
}
