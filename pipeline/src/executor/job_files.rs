//! The files of a job, in the folder of its run: the job, what its worker said as events, and what it printed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;

use super::job::{Job, artifacts_of};
use crate::store::{Store, file_name, write_in_passing};

/// Where a job lies.
#[derive(Clone, Debug)]
pub(crate) struct JobFiles {
    job: PathBuf,
    log: PathBuf,
}

impl JobFiles {
    /// Writes the file of a job into the folder of its run. Each job of a run has files of its own.
    pub fn create(store: &Store, job: &Job) -> anyhow::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = store.part("runs").join(&job.run).join("jobs");
        let path = folder.join(format!("{number}-{}.json", file_name(&job.id)));
        let text = serde_json::to_string_pretty(job).expect("a job is plain JSON: maps with text keys");
        fs::create_dir_all(&folder)
            .and_then(|()| write_in_passing(&path, format!("{text}\n").as_bytes()))
            .with_context(|| format!("write `{}`", path.display()))?;
        Ok(Self::at(&path))
    }

    /// The files of a job that was written before.
    pub fn at(job: &Path) -> Self {
        Self { job: job.to_path_buf(), log: job.with_extension("log") }
    }

    /// The same, where the worker prints into another file.
    pub fn logging_to(self, log: PathBuf) -> Self {
        Self { log, ..self }
    }

    /// Reads the job, and finds the store that it lies in.
    pub fn read(&self) -> anyhow::Result<(Job, Store)> {
        let wanted = || format!("read the job `{}`", self.job.display());
        let whole = fs::canonicalize(&self.job).with_context(wanted)?;
        let artifacts = artifacts_of(&whole).context("it lies in no store").with_context(wanted)?;
        let job = serde_json::from_slice(&fs::read(&whole).with_context(wanted)?).with_context(wanted)?;
        Ok((job, Store::new(artifacts)))
    }

    /// The job itself.
    pub fn job(&self) -> &Path {
        &self.job
    }

    /// What its worker says.
    pub fn events(&self) -> PathBuf {
        self.job.with_extension("events")
    }

    /// What its worker prints.
    pub fn log(&self) -> PathBuf {
        self.log.clone()
    }

    /// The last lines of the log, quoted below its name; nothing where the log is empty.
    pub fn log_tail(&self) -> String {
        /// Lines, and bytes, at most.
        const LINES: usize = 20;
        const BYTES: usize = 16 << 10;
        let bytes = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(BYTES)..]).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.is_empty() {
            return String::new();
        }
        let last = lines[lines.len().saturating_sub(LINES)..].iter().map(|line| format!("\n  | {line}"));
        format!("\nthe end of `{}`:{}", self.log().display(), last.collect::<String>())
    }
}
