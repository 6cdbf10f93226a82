//! `apprentice report`.

use anyhow::{Context as _, anyhow};

use super::args;
use super::output::{print, print_json, talk};
use super::session::Session;
use crate::event::RunStatus;
use crate::exit::Failure;
use crate::record::{self, RUNNING, RunRecord};
use crate::report::{ReportFormat, Request, RunSummary, RunSummaryFile};
use crate::secret::redact;
use crate::store::write_atomically;
use crate::{Exit, UsageError, spec};

pub(super) fn report(session: &Session, args: &args::Report) -> Result<Exit, Failure> {
    let store = session.store();
    let known = record::runs(&store)?;
    if known.is_empty() {
        return Err(Failure::usage(anyhow!(
            "no run is recorded in `{}`, so there is nothing to report\n\
             help: `apprentice run EXPERIMENT.yaml` makes one; `--artifacts DIR` looks into another folder",
            store.artifacts().display()
        )));
    }
    let format =
        if session.global.json && args.html.is_none() { ReportFormat::Json } else { args.format.unwrap_or_default() };
    let ran = if args.runs.is_empty() {
        vec![newest(session, args, format, &known)?]
    } else {
        let runs = args.runs.iter().map(|name| record::find(&known, name)).collect::<Result<Vec<_>, _>>();
        let runs = runs.map_err(Failure::usage)?;
        runs.into_iter().map(|run| RunSummary::of(&store, run)).collect::<Result<Vec<_>, _>>()?
    };
    let with_way_out = |error: anyhow::Error, lacks: &dyn Fn(&RunSummary) -> Option<String>| -> anyhow::Error {
        match error.downcast::<UsageError>() {
            Ok(UsageError(said)) => {
                UsageError(ran.iter().find_map(lacks).unwrap_or(said) + &instead(&ran, &known)).into()
            }
            Err(error) => error,
        }
    };
    let lacks_page = |run: &RunSummary| lacks(session, run, "page", &|_, extension| extension == PAGE);
    let compared = |kind: &str, _: &str| session.catalog.metrics.iter().any(|reader| reader.kind == kind);
    let lacks_metrics = |run: &RunSummary| lacks(session, run, "metrics", &compared);
    let page = match &ran[..] {
        [one] if format == ReportFormat::Html => {
            let page = page(one, args.page.as_deref()).map_err(|error| with_way_out(error, &lacks_page));
            Some(page.map_err(Failure::usage)?)
        }
        _ if args.page.is_some() => {
            return Err(Failure::usage(anyhow!(
                "`--page` chooses the page of one run, and pages are HTML\n\
                 help: name one run and leave out `--format`, or leave out `--page`"
            )));
        }
        _ => None,
    };
    let text = (session.catalog.report)(&Request { format, runs: &ran, page });
    let text = text.map_err(|error| with_way_out(error, &lacks_metrics))?;
    if let Some(path) = &args.html {
        write_atomically(path, redact(&text).as_bytes()).with_context(|| format!("write `{}`", path.display()))?;
        talk(&format!("wrote `{}`", path.display()));
        let ids: Vec<_> = ran.iter().map(|run| run.id.clone()).collect();
        let written = serde_json::json!({ "runs": ids, "path": path });
        return if session.global.json { print_json(written) } else { Ok(Exit::Ok) };
    }
    match format {
        ReportFormat::Json => print_json(serde_json::from_str(&text).context("read the report's JSON")?),
        ReportFormat::Html | ReportFormat::Md | ReportFormat::Csv => print(&text),
    }
}

/// The newest run that made what the form tells, said on the screen; where none did, the newest of all, so that what it lacks
/// is shown. A failed run, or one of a single stage, hides no result of another.
fn newest(
    session: &Session,
    args: &args::Report,
    format: ReportFormat,
    known: &[RunRecord],
) -> Result<RunSummary, Failure> {
    let store = session.store();
    let what = if format == ReportFormat::Html { "a page" } else { "metrics" };
    let has = |ran: &RunSummary| match format {
        ReportFormat::Html => ran.pages().any(|page| args.page.as_ref().is_none_or(|stage| page.stage == *stage)),
        // Only who renders them knows what can be rendered.
        _ => {
            let rendered = (session.catalog.report)(&Request { format, runs: std::slice::from_ref(ran), page: None });
            !rendered.is_err_and(|error| error.is::<UsageError>())
        }
    };
    let mut later: Vec<RunSummary> = Vec::new();
    for run in known.iter().rev() {
        let ran = RunSummary::of(&store, run)?;
        if has(&ran) {
            let newer = later.first().map(|newest| {
                let RunSummary { id, experiment, status, .. } = newest;
                format!(", the newest run that made {what}: run {id} of {experiment} ({status}) made none")
            });
            talk(&format!("run {} of {} ({}){}", ran.id, ran.experiment, ran.status, newer.unwrap_or_default()));
            return Ok(ran);
        }
        later.push(ran);
    }
    later.into_iter().next().ok_or_else(|| Failure::usage(anyhow!("no run is recorded")))
}

/// What pages end with.
const PAGE: &str = "html";

/// Of a run that made no output for which `fits` is true, given its kind and extension: that it is still at work, or that it
/// left out the stage that makes one.
fn lacks(session: &Session, run: &RunSummary, what: &str, fits: &dyn Fn(&str, &str) -> bool) -> Option<String> {
    let RunSummary { id, experiment, status, .. } = run;
    if run.stages.iter().flat_map(|stage| &stage.files).any(|file| fits(&file.kind, &file.extension)) {
        return None;
    }
    if status == RUNNING {
        return Some(format!("run {id} of {experiment} is still running and has made no {what} yet"));
    }
    let makes = |kind: &str| {
        let outputs = session.catalog.stage(kind).map(|kind| (kind.outputs)()).unwrap_or_default();
        outputs.iter().any(|port| fits(port.kind, port.extension))
    };
    let included = |name: &str| run.stages.iter().any(|stage| stage.name.split('@').next() == Some(name));
    let mut stages = spec::stages_in(&run.config).into_iter().filter(|_| status == "ok");
    let (left_out, _) = stages.find(|(name, kind)| makes(kind) && !included(name))?;
    Some(format!(
        "run {id} of {experiment} made no {what}: it did not include `{left_out}`\n\
         help: `apprentice run EXPERIMENT.yaml {left_out}` runs it and what it needs"
    ))
}

/// Of runs that did not end well, or not yet: that they did not, and the last one of the experiment that did.
fn instead(ran: &[RunSummary], known: &[RunRecord]) -> String {
    let Some(stopped) = ran.iter().find(|run| run.status != "ok") else { return String::new() };
    let (ended, next) = match &*stopped.status {
        RUNNING => {
            (format!("run {} is still running", stopped.id), "wait for its end: `apprentice runs` shows how far it is")
        }
        status => {
            (format!("run {} ended as `{status}`", stopped.id), "run the experiment again: it resumes where it stopped")
        }
    };
    let good = |run: &&RunRecord| run.experiment == stopped.experiment && run.status == RunStatus::Ok;
    match known.iter().rfind(good) {
        Some(good) => format!("\nhelp: {ended}; `apprentice report {}` shows the last one that finished", good.id),
        None => format!("\nhelp: {ended}; {next}"),
    }
}

/// The page of a run, of the stage that was named.
fn page<'a>(ran: &'a RunSummary, stage: Option<&str>) -> anyhow::Result<&'a RunSummaryFile> {
    let pages: Vec<&RunSummaryFile> =
        ran.pages().filter(|page| stage.is_none_or(|stage| page.stage == stage)).collect();
    let all = || ran.pages().map(|page| page.stage.as_str()).collect::<Vec<_>>().join(", ");
    match pages[..] {
        [page] => Ok(page),
        [] if ran.pages().next().is_none() && ran.status != "ok" => {
            Err(UsageError(format!("run {} of {} ended before it made a page", ran.id, ran.experiment)).into())
        }
        [] if ran.pages().next().is_none() => Err(UsageError(format!(
            "run {} of {} made no page\n\
             help: add a stage `use: report` to the experiment and run it; `--format md` and `--format csv` need none",
            ran.id, ran.experiment
        ))
        .into()),
        [] => Err(UsageError(format!(
            "run {} made no page of that stage\nhelp: its pages are those of {}",
            ran.id,
            all()
        ))
        .into()),
        _ => Err(UsageError(format!(
            "run {} made {} pages\nhelp: choose one with `--page STAGE`: {}",
            ran.id,
            pages.len(),
            all()
        ))
        .into()),
    }
}
