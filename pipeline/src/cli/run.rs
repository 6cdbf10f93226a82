//! `apprentice run`.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;

use super::args::{ExecutorName, Run, RunOptions};
use super::format;
use super::output::{print, talk};
use super::progress_ui::{Shown, progress_ui};
use super::run_checks::{MOST_JOBS, MOST_REMOTE_JOBS, forced, refuse};
use super::session::Session;
use crate::error_report::ErrorReport;
use crate::event::{RunStatus, Status};
use crate::executor::{Executor, Local, Process, Profile, Slurm};
use crate::exit::Failure;
use crate::interrupt::{self, Heard};
use crate::record::NodeRecord;
use crate::run::{self, Options, Outcome, Project, select};
use crate::secret::redact;
use crate::spec::Experiment;
use crate::{Cancel, Device, Exit, out_of_memory};

pub(super) fn run(session: &Session, args: &Run) -> Result<Exit, Failure> {
    let experiment = session.load(&args.source)?;
    run_of(session, &experiment, &args.stages, &args.force, &args.options)
}

/// Brings these stages of an experiment up to date, all where none is named.
pub(super) fn run_of(
    session: &Session,
    experiment: &Experiment,
    stages: &[String],
    force: &[String],
    args: &RunOptions,
) -> Result<Exit, Failure> {
    let project = session.project(experiment);
    let wanted = select(experiment, stages).map_err(Failure::usage)?;
    let chosen = project.with_needs(&wanted);
    let forced = forced(&project, &chosen, force)?;
    let executor = executor(args)?;
    look_for_needs(session, &project, &chosen, &forced, args.keep_going, &*executor)?;
    let threads = session.global.threads();
    let cancel = Cancel::default();
    let progress_ui = progress_ui(session.global.json, args.quiet, session.global.verbose);
    let shown = Arc::clone(&progress_ui);
    interrupt::listen(&cancel, move |what| heard(what, &*shown)).context("listen for Ctrl-C")?;
    out_of_memory::explain_aborts().context("listen for the end of memory")?;
    out_of_memory::set_cap(session.global.memory());
    let here = threads.min(MOST_JOBS);
    let remote = executor.is_remote();
    let jobs = args.jobs.map_or(if remote { MOST_REMOTE_JOBS } else { here }, usize::from);
    let options = Options {
        chosen,
        forced,
        jobs,
        local_jobs: if remote { here } else { jobs },
        threads,
        memory: session.global.memory(),
        keep_going: args.keep_going,
        no_wait: args.no_wait,
        cancel,
        command: command(),
        catalog: session.catalog,
        executor,
        track: args.track.clone(),
    };
    // Where the store cannot be written at all, the run itself says so.
    if let Ok(Some(why)) = project.store.locks_missing() {
        talk(&format!(
            "warning: {why}: two runs at once may make one result twice, and `gc` does not work here\nhelp: run one at a time, or keep the results on a local disk with `--artifacts DIR`"
        ));
    }
    let outcome = run::run(&project, &options, progress_ui)?;
    end(session, &project, outcome)
}

/// Where the stages are worked on.
fn executor(args: &RunOptions) -> Result<Arc<dyn Executor>, Failure> {
    Ok(match args.executor {
        ExecutorName::Local => Arc::new(Local),
        ExecutorName::Process => Arc::new(Process::new()?),
        ExecutorName::Slurm => {
            let profile = args.profile.as_deref().map_or_else(|| Ok(Profile::default()), Profile::read);
            let mut profile = profile.map_err(Failure::usage)?;
            profile.on_interrupt = args.on_interrupt.unwrap_or(profile.on_interrupt);
            Arc::new(Slurm::new(profile)?)
        }
    })
}

/// Whether the devices, assets and secrets are there that the stages need which have to run: reported before hours of other work
/// are done. Under `--keep-going` those that lack something are left to fail by themselves.
fn look_for_needs(
    session: &Session,
    project: &Project,
    chosen: &BTreeSet<usize>,
    forced: &BTreeSet<usize>,
    keep_going: bool,
    executor: &dyn Executor,
) -> Result<(), Failure> {
    // Other machines have other devices and another memory: what they lack, a worker says.
    let here = !executor.is_remote();
    let asked = |&index: &usize| project.node(index).device.filter(|&device| here && device != Device::Cpu);
    let devices = chosen.iter().any(|index| asked(index).is_some());
    let cap = if here { session.global.memory() } else { u64::MAX };
    let may_exceed = run::may_exceed_memory(project, chosen, cap);
    if !devices && !may_exceed && !run::may_miss_prerequisites(project, chosen) && !run::may_differ(project, chosen) {
        return Ok(());
    }
    let plan = run::plan(project, chosen, forced)?;
    plan.check_ids(project).map_err(Failure::usage)?;
    for index in chosen.iter().filter(|index| !plan.hits.contains_key(index)) {
        if let Some(need) = plan.memory(project, *index).filter(|_| !keep_going) {
            need.check(cap).with_context(|| format!("stage `{}`", project.node(*index).id))?;
        }
        if let Some(device) = asked(index) {
            let stage = || format!("stage `{}` is to train on `{device}`", project.node(*index).id);
            (session.catalog.devices.probe)(device).with_context(stage).map_err(Failure::usage)?;
        }
    }
    let (certain, others): (Vec<_>, Vec<_>) =
        run::missing_prerequisites(project, &plan).into_iter().partition(|one| one.certain);
    let warnings = if keep_going { certain.iter().chain(&others).collect::<Vec<_>>() } else { others.iter().collect() };
    warnings.iter().for_each(|one| talk(&format!("warning: {}", one.text())));
    if keep_going { Ok(()) } else { refuse(&certain).map_or(Ok(()), Err) }
}

/// Tells a person who stops the run.
fn heard(heard: Heard, progress_ui: &dyn Shown) {
    if heard == Heard::Leaving {
        progress_ui.clear();
    }
    progress_ui.say(&heard.words(progress_ui.one_more().as_deref()));
}

/// Tells what came of the run. Under `--json` the events have said it already.
fn end(session: &Session, project: &Project, outcome: Outcome) -> Result<Exit, Failure> {
    let summary = summary(&outcome);
    let exit = match outcome.status {
        RunStatus::Ok | RunStatus::Running => Exit::Ok,
        RunStatus::Partial => Exit::Partial,
        RunStatus::Interrupted => Exit::Interrupted,
        RunStatus::Submitted => Exit::Submitted,
        RunStatus::Failed => Exit::Failed,
    };
    if !session.global.json {
        if exit == Exit::Ok {
            print(&summary)?;
        } else {
            talk(summary.trim_end());
        }
    }
    let exits = outcome.failed.into_iter().map(|(index, error)| {
        let id = &project.node(index).id;
        let log = outcome.logs.get(&index).map(|log| format!("\nlog: {}", log.display())).unwrap_or_default();
        if !session.global.json {
            let ended = if run::is_submission(&error) { "stage" } else { "error: stage" };
            let word = if run::is_submission(&error) { "submitted its requests" } else { "failed" };
            talk(&format!("{ended} `{id}` {word}: {}{log}", ErrorReport::of(&error)));
        }
        Failure::from(error).exit
    });
    let exits: Vec<Exit> = exits.collect();
    let skipped: Vec<&str> = skipped(&outcome.nodes);
    if !session.global.json && exit == Exit::Partial && !skipped.is_empty() {
        talk(&format!("not started, because their inputs failed: {}", skipped.join(", ")));
    }
    // A lock that was not waited for has its own code; under --keep-going the partial result counts.
    let first = exits.iter().find(|&&exit| exit != Exit::Submitted).copied();
    Ok(if exit == Exit::Failed { first.unwrap_or(exit) } else { exit })
}

fn skipped(nodes: &[NodeRecord]) -> Vec<&str> {
    nodes.iter().filter(|node| node.status == Status::Skipped).map(|node| node.stage.as_str()).collect()
}

/// `12 stages: 12 hits in 0.08 s · report: artifacts/quickstart/report/page-as-run.html`.
fn summary(outcome: &Outcome) -> String {
    let mut parts = Vec::new();
    for (status, singular, plural) in [
        (Status::Hit, "hit", "hits"),
        (Status::Ran, "ran", "ran"),
        (Status::Failed, "failed", "failed"),
        (Status::Interrupted, "interrupted", "interrupted"),
        (Status::Submitted, "submitted", "submitted"),
        (Status::Skipped, "not started", "not started"),
    ] {
        let count = outcome.nodes.iter().filter(|node| node.status == status).count();
        if count > 0 {
            parts.push(format!("{count} {}", if count == 1 { singular } else { plural }));
        }
    }
    let stages = format::count(outcome.nodes.len(), "stage");
    let mut text = format!("{stages}: {} in {}", parts.join(", "), format::seconds(outcome.seconds));
    // What a person opens in a browser is what the run was for.
    for page in &outcome.pages {
        text += &format!(" · report: {}", page.display());
    }
    text + "\n"
}

/// The command line as it was given, quoted where a shell needs it.
fn command() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=@:,+%".contains(c);
    let quoted = |word: String| {
        if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    };
    let words = std::env::args_os().skip(1).map(|word| quoted(word.to_string_lossy().into_owned()));
    let line = std::iter::once("apprentice".to_owned()).chain(words).collect::<Vec<_>>().join(" ");
    // A value that a shell put in the place of a variable is in the experiment by its name only.
    redact(&line).into_owned()
}
