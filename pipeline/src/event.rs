//! What happens in a run, as the engine tells it to the screen, to the run's record and, under `--json`, to programs.

use serde::Serialize;

use crate::MissReason;

/// Raised when an event's fields change their names or meaning.
pub const EVENT_SCHEMA: u32 = 1;

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins.
    RunStarted {
        /// Its id, also the name of its folder in the store.
        run: String,
        /// The experiment's name.
        experiment: String,
        /// How many stages are to be brought up to date.
        stages: usize,
        /// Stages at work at once, at most.
        jobs: usize,
        /// Threads for their numerical work.
        threads: usize,
    },
    /// A stage has to run.
    StageStarted {
        /// Its id.
        stage: String,
        /// Its key.
        key: String,
        /// Why it is not a hit.
        reason: MissReason,
        /// The reason in words.
        why: String,
        /// Whether units of an earlier, broken-off run are there.
        resumed: bool,
    },
    /// A stage waits for another run that is making the same result.
    Waiting {
        /// Its id.
        stage: String,
        /// Who holds the lock.
        holder: String,
    },
    /// A stage waits until its tables fit beside those of the stages at work.
    WaitingForMemory {
        /// Its id.
        stage: String,
        /// What it needs, and who holds what.
        why: String,
    },
    /// A stage waits in the queue of a cluster, or for it.
    Queued {
        /// Its id.
        stage: String,
        /// What the cluster says of it.
        why: String,
    },
    /// Something the user should know and need not act on: a damaged object, a restored view.
    Warning {
        /// The stage's id.
        stage: String,
        /// What happened, and what was done about it.
        text: String,
    },
    /// A stage is up to date, or will not be.
    StageEnded {
        /// Its id.
        stage: String,
        /// How it ended.
        status: Status,
        /// How long it took here.
        seconds: f64,
        /// The error with its causes, where it failed.
        error: Option<String>,
        /// What to do about it, which `error` ends with; nothing where nobody knows.
        help: Option<String>,
        /// The file with everything that the stage said.
        log: Option<String>,
    },
    /// The run is over.
    RunEnded {
        /// Its id.
        run: String,
        /// `ok`, `failed`, `partial`, `submitted` or `interrupted`.
        status: RunStatus,
        /// How many stages were served from the store.
        hits: usize,
        /// How many ran.
        ran: usize,
        /// How many failed.
        failed: usize,
        /// The ids of those that failed; what each said is in its own `stage_ended`.
        failures: Vec<String>,
        /// The ids of those that were not started.
        not_begun: Vec<String>,
        /// Where the pages are that tell what came of the run, and what was run.
        pages: Vec<String>,
        /// How long the run took.
        seconds: f64,
    },
}

/// How a stage ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Its result was in the store.
    Hit,
    /// It ran, and its result is in the store.
    Ran,
    /// It failed; it left no result.
    Failed,
    /// It stopped when asked to; its finished units are saved.
    Interrupted,
    /// It submitted work elsewhere; the next run takes it in.
    Submitted,
    /// It was not started, because something that it needs failed, or the run stopped before.
    Skipped,
}

impl Status {
    /// What it is called on the screen.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Ran => "ran",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Submitted => "submitted",
            Self::Skipped => "not started",
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// It is still going on, or its process was killed.
    Running,
    /// Every stage is up to date.
    Ok,
    /// A stage failed.
    Failed,
    /// Stages failed under `--keep-going`; the others are up to date.
    Partial,
    /// Stages submitted work elsewhere; the next run takes it in. None failed.
    Submitted,
    /// The user stopped it.
    Interrupted,
}

impl RunStatus {
    /// As events and records spell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Partial => "partial",
            Self::Submitted => "submitted",
            Self::Interrupted => "interrupted",
        }
    }
}
