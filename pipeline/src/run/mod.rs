//! Brings the stages of an experiment up to date: each is a hit, or runs.
//!
//! The path of a node: its inputs are up to date → key → look into the store → (miss) check the contents of the inputs →
//! lock the key → look again → run in the key's scratch folder → commit → bring the view up to date. A failed stage leaves
//! no entry; an interrupted one leaves its units in the scratch folder.

mod assets;
mod attempt;
mod execute_node;
mod id_conflicts;
mod key_lock;
mod memory_gate;
mod options;
mod panics;
mod plan;
mod prerequisites;
mod project;
mod redact;
mod scheduler;
mod select;
mod single_flight;
mod slots;
mod time_estimate;
mod work;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;

use crate::error_report::ErrorReport;
use crate::event::{Event, RunStatus, Status};
use crate::progress::{Progress, Sink};
use crate::record::{NodeRecord, Record, RunFolder};
use crate::report::{self, RunSummary};
use crate::secret::redact;
use crate::store::Entry;
use crate::tracking::{TrackedRun, Tracking};
use crate::{Interrupted, Submitted};
pub(crate) use assets::Assets;
pub(crate) use id_conflicts::may_differ;
use memory_gate::MemoryGate;
pub(crate) use options::Options;
pub(crate) use panics::THREADS;
pub(crate) use plan::{Plan, Verdict, may_exceed_memory, plan};
pub(crate) use prerequisites::{MissingPrerequisite, may_miss_prerequisites, missing_prerequisites};
pub(crate) use project::Project;
use redact::RedactingSink;
use scheduler::NodeEnd;
pub(crate) use select::select;
use single_flight::SingleFlight;
use slots::Slots;
pub(crate) use time_estimate::TimeEstimate;
pub(crate) use worker::work_on;

/// A run at work: shared by the threads that visit nodes.
struct Run<'a> {
    project: &'a Project<'a>,
    options: &'a Options,
    record: &'a Record,
    sinks: Arc<[Arc<dyn Sink>]>,
    tracking: Option<Tracking>,
    /// The results of the nodes that are up to date.
    done: Mutex<BTreeMap<usize, Entry>>,
    /// Objects whose contents were checked in this run.
    checked: Mutex<BTreeSet<String>>,
    /// The keys that stages of this run are making.
    flights: SingleFlight,
    /// The stages of this run that hold tables.
    gate: MemoryGate,
    /// The stages at work in this process.
    slots: Slots,
    /// The nodes that failed, with their errors.
    failed: Mutex<Vec<(usize, anyhow::Error)>>,
}

/// What came of a run.
pub(crate) struct Outcome {
    pub status: RunStatus,
    pub nodes: Vec<NodeRecord>,
    /// Errors in the order in which they came.
    pub failed: Vec<(usize, anyhow::Error)>,
    /// The logs of those that failed.
    pub logs: BTreeMap<usize, PathBuf>,
    /// The pages that tell this run.
    pub pages: Vec<PathBuf>,
    pub seconds: f64,
}

/// Runs what `options` chose, telling `progress_ui` and the run's record what happens.
pub(crate) fn run(project: &Project, options: &Options, progress_ui: Arc<dyn Sink>) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let record = Arc::new(Record::create(project, options)?);
    let sinks: Arc<[Arc<dyn Sink>]> =
        Arc::new([Arc::new(RedactingSink(progress_ui)), Arc::new(RedactingSink(record.clone()))]);
    let tracked = TrackedRun {
        id: record.id().into(),
        experiment: project.experiment.name.clone(),
        command: redact(&options.command).into_owned(),
    };
    let tracking = Tracking::start(&options.track, tracked, sinks.clone())?;
    let mut run = Run {
        project,
        options,
        record: &record,
        sinks,
        tracking,
        done: Mutex::default(),
        checked: Mutex::default(),
        flights: SingleFlight::default(),
        gate: MemoryGate::default(),
        slots: Slots::new(options.local_jobs),
        failed: Mutex::default(),
    };
    run.tell(&Event::RunStarted {
        run: record.id().into(),
        experiment: project.experiment.name.clone(),
        stages: options.chosen.len(),
        jobs: options.jobs,
        threads: options.threads,
    });
    let needs: Vec<_> = (0..project.experiment.nodes.len()).map(|index| project.needs(index)).collect();
    let execute = |index| run.execute_and_tell(index);
    let cancelled = || options.cancel.is_raised();
    scheduler::schedule(&needs, &options.chosen, options.jobs, options.keep_going, &cancelled, &execute);
    let failed = std::mem::take(&mut *run.failed.lock().unwrap_or_else(PoisonError::into_inner));
    let done = run.done.lock().unwrap_or_else(PoisonError::into_inner).len();
    let only_submitted = failed.iter().all(|(_, error)| is_submission(error));
    let status = match (failed.is_empty(), done == options.chosen.len()) {
        (true, true) => RunStatus::Ok,
        (true, false) => RunStatus::Interrupted,
        (false, _) if only_submitted && options.cancel.is_raised() => RunStatus::Interrupted,
        (false, _) if only_submitted => RunStatus::Submitted,
        (false, _) if options.keep_going && !options.cancel.is_raised() => RunStatus::Partial,
        (false, _) => RunStatus::Failed,
    };
    let seconds = start.elapsed().as_secs_f64();
    let nodes = record.close(status, seconds)?;
    let pages = run.show_pages();
    if let Some(tracking) = run.tracking.take() {
        tracking.end(status, &pages);
    }
    let count = |status| nodes.iter().filter(|node| node.status == status).count();
    let named = |status| nodes.iter().filter(|node| node.status == status).map(|node| node.stage.clone()).collect();
    let ended = Event::RunEnded {
        run: record.id().into(),
        status,
        hits: count(Status::Hit),
        ran: count(Status::Ran),
        failed: count(Status::Failed),
        failures: named(Status::Failed),
        not_begun: named(Status::Skipped),
        pages: pages.iter().map(|path| path.display().to_string()).collect(),
        seconds,
    };
    run.sinks.iter().for_each(|sink| sink.event(&ended));
    let logs =
        failed.iter().filter_map(|(index, _)| Some((*index, record.log_of(&project.node(*index).id)?))).collect();
    Ok(Outcome { status, nodes, failed, logs, pages, seconds })
}

impl Run<'_> {
    fn tell(&self, event: &Event) {
        self.sinks.iter().for_each(|sink| sink.event(event));
    }

    /// Writes the pages that tell this run, whose record is closed. A run does not fail because they cannot be written: what
    /// it made is in the store.
    fn show_pages(&self) -> Vec<PathBuf> {
        let store = &self.project.store;
        let is_page =
            |index: &usize| (self.project.node(*index).kind.outputs)().iter().any(|port| port.extension == "html");
        if !self.options.chosen.iter().any(is_page) {
            return Vec::new();
        }
        let warn = |text: String| {
            self.tell(&Event::Warning { stage: "report".into(), text });
        };
        let shown = || {
            let record = RunFolder::of(store, self.record.id()).record()?;
            let record = record.and_then(Result::ok).context("its record cannot be read")?;
            report::show(store, &RunSummary::of(store, &record)?, self.options.catalog.report)
        };
        match panics::caught(shown) {
            Ok((pages, kept)) => {
                for aside in kept {
                    warn(format!(
                        "the page of an earlier run was changed by hand; it is kept as `{}`",
                        aside.display()
                    ));
                }
                pages
            }
            Err(error) => {
                warn(format!("the page of this run could not be written: {error:#}"));
                Vec::new()
            }
        }
    }

    /// Reports what a stage came to, wherever the run is reported.
    fn track(&self, id: &str, entry: Option<&Entry>) {
        let (Some(tracking), Some(entry)) = (&self.tracking, entry) else { return };
        let told = panics::caught(|| tracking.stage(id, entry, &self.project.store, self.options.catalog));
        if let Err(error) = told {
            self.tell(&Event::Warning { stage: id.to_owned(), text: format!("it could not be reported: {error:#}") });
        }
    }

    fn progress(&self, index: usize) -> Progress {
        Progress::new(&self.project.node(index).id, self.sinks.clone())
    }

    /// Visits a node, records how it ended, and says whether others may go on.
    fn execute_and_tell(&self, index: usize) -> NodeEnd {
        let start = Instant::now();
        // Everything about a node that can go wrong is an error of that node: also what the engine itself does for it.
        let executed = panics::caught(|| self.execute_node(index));
        let (status, error, end) = match executed {
            Ok(status) => (status, None, NodeEnd::Done),
            Err(error) if is_interruption(&error) => (Status::Interrupted, None, NodeEnd::Stop),
            Err(error) if is_submission(&error) => (Status::Submitted, Some(error), NodeEnd::Submitted),
            Err(error) => (Status::Failed, Some(error), NodeEnd::Failed),
        };
        self.tell_end(index, status, start, error.as_ref());
        if let Some(error) = error {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).push((index, error));
        }
        end
    }

    /// Records how a node ended that was visited since `start`, and tells it.
    fn tell_end(&self, index: usize, status: Status, start: Instant, error: Option<&anyhow::Error>) {
        let id = &self.project.node(index).id;
        let entry = self.done.lock().unwrap_or_else(PoisonError::into_inner).get(&index).cloned();
        let report = error.map(ErrorReport::of);
        let text = report.as_ref().map(|report| redact(&report.to_string()).into_owned());
        let log = self.record.log_so_far(id);
        let seconds = start.elapsed().as_secs_f64();
        self.record.ended(index, status, entry.as_ref(), seconds, text.clone());
        self.track(id, entry.as_ref());
        self.tell(&Event::StageEnded {
            stage: id.clone(),
            status,
            seconds,
            error: text,
            help: report.and_then(|report| report.help()).map(|help| redact(&help).into_owned()),
            log: log.map(|path| path.display().to_string()),
        });
    }
}

/// Whether a stage ended because it submitted work elsewhere.
pub(crate) fn is_submission(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Submitted>())
}

fn is_interruption(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Interrupted>())
}
