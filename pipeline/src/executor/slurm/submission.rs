//! The mark of a key that its job was submitted, for the run that comes after one that went away.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::executor::job::Job;
use crate::executor::job_files::JobFiles;
use crate::store::{Store, read_if_there, write_in_passing};

/// Where the job of a key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Submission {
    /// `job_task` in Slurm.
    pub id: String,
    /// The file of the job and the log of the task, below the folder of results.
    job: PathBuf,
    log: PathBuf,
}

impl Submission {
    /// Notes that a job was submitted.
    pub fn note(store: &Store, key: &str, id: &str, job: &Path, log: &Path) -> anyhow::Result<()> {
        let root = fs::canonicalize(store.artifacts())?;
        let below = |path: &Path| -> anyhow::Result<PathBuf> {
            // The log is not there yet.
            let folder = fs::canonicalize(path.parent().context("a file has a folder")?)?;
            Ok(folder.strip_prefix(&root)?.join(path.file_name().context("a file has a name")?))
        };
        let submission = Self { id: id.to_owned(), job: below(job)?, log: below(log)? };
        let path = place(store, key);
        let text = serde_json::to_string(&submission).expect("a submission is plain JSON");
        fs::create_dir_all(store.part("scratch"))
            .and_then(|()| write_in_passing(&path, text.as_bytes()))
            .with_context(|| format!("write `{}`", path.display()))
    }

    /// The submission of a job like this one, with its files; nothing where there is none, or it was of something else.
    pub fn of(store: &Store, job: &Job) -> anyhow::Result<Option<(Self, JobFiles)>> {
        let Some(text) = read_if_there(&place(store, &job.key))? else { return Ok(None) };
        let Ok(submission) = serde_json::from_slice::<Self>(&text) else { return Ok(None) };
        let files = JobFiles::at(&store.artifacts().join(&submission.job));
        let same = files.read().is_ok_and(|(known, _)| known.key == job.key && known.superseded == job.superseded);
        let files = files.logging_to(store.artifacts().join(&submission.log));
        Ok(same.then_some((submission, files)))
    }

    /// Takes the mark away.
    pub fn forget(store: &Store, key: &str) {
        // One that stays is found to be gone from the queue, and `gc` removes it.
        let _ = fs::remove_file(place(store, key));
    }
}

fn place(store: &Store, key: &str) -> PathBuf {
    store.part("scratch").join(format!("{key}.slurm"))
}
