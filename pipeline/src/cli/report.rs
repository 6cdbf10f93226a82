//! `apprentice report`.

use anyhow::{Context as _, anyhow};

use super::args;
use super::session::Session;
use super::{print, print_json, talk};
use crate::event::RunStatus;
use crate::exit::Failure;
use crate::record::{self, RunRecord};
use crate::report::{Form, Ran, RanFile, Request};
use crate::secret::redact;
use crate::store::write_atomically;
use crate::{Exit, Wrong};

pub(super) fn report(session: &Session, args: &args::Report) -> Result<Exit, Failure> {
    let store = session.store();
    let known = record::runs(&store)?;
    if known.is_empty() {
        return Err(Failure::wrong(anyhow!(
            "no run is recorded in `{}`, so there is nothing to report\n\
             help: `apprentice run EXPERIMENT.yaml` makes one; `--artifacts DIR` looks into another folder",
            store.artifacts().display()
        )));
    }
    let newest = ["last".to_owned()];
    let names = if args.runs.is_empty() { &newest[..] } else { &args.runs };
    let runs = names.iter().map(|name| record::find(&known, name)).collect::<Result<Vec<_>, _>>();
    let runs = runs.map_err(Failure::wrong)?;
    let ran = runs.into_iter().map(|run| Ran::of(&store, run)).collect::<Result<Vec<_>, _>>()?;
    let form = if session.global.json && args.html.is_none() { Form::Json } else { args.format.unwrap_or_default() };
    let with_way_out = |error: anyhow::Error| -> anyhow::Error {
        match error.downcast::<Wrong>() {
            Ok(Wrong(said)) => Wrong(said + &instead(&ran, &known)).into(),
            Err(error) => error,
        }
    };
    let page = match &ran[..] {
        [one] if form == Form::Html => {
            Some(page(one, args.page.as_deref()).map_err(with_way_out).map_err(Failure::wrong)?)
        }
        _ if args.page.is_some() => {
            return Err(Failure::wrong(anyhow!(
                "`--page` chooses the page of one run, and pages are HTML\n\
                 help: name one run and leave out `--format`, or leave out `--page`"
            )));
        }
        _ => None,
    };
    let text = (session.catalog.report)(&Request { form, runs: &ran, page }).map_err(with_way_out)?;
    if let Some(path) = &args.html {
        write_atomically(path, redact(&text).as_bytes()).with_context(|| format!("write `{}`", path.display()))?;
        talk(&format!("wrote `{}`", path.display()));
        let ids: Vec<_> = ran.iter().map(|run| run.id.clone()).collect();
        let told = serde_json::json!({ "runs": ids, "path": path });
        return if session.global.json { print_json(told) } else { Ok(Exit::Ok) };
    }
    match form {
        Form::Json => print_json(serde_json::from_str(&text).context("read the report's JSON")?),
        Form::Html | Form::Md | Form::Csv => print(&text),
    }
}

/// Of runs that did not end well: that they did not, and the last one of the experiment that did.
fn instead(ran: &[Ran], known: &[RunRecord]) -> String {
    let Some(stopped) = ran.iter().find(|run| run.status != "ok") else { return String::new() };
    let ended = format!("\nhelp: run {} ended as `{}`", stopped.id, stopped.status);
    let good = |run: &&RunRecord| run.experiment == stopped.experiment && run.status == RunStatus::Ok;
    match known.iter().rfind(good) {
        Some(good) => format!("{ended}; `apprentice report {}` tells the last one that finished", good.id),
        None => format!("{ended}; run the experiment again: it goes on where it stopped"),
    }
}

/// The page of a run, of the stage that was named.
fn page<'a>(ran: &'a Ran, stage: Option<&str>) -> anyhow::Result<&'a RanFile> {
    let pages: Vec<&RanFile> = ran.pages().filter(|page| stage.is_none_or(|stage| page.stage == stage)).collect();
    let all = || ran.pages().map(|page| page.stage.as_str()).collect::<Vec<_>>().join(", ");
    match pages[..] {
        [page] => Ok(page),
        [] if ran.pages().next().is_none() && ran.status != "ok" => {
            Err(Wrong(format!("run {} of {} ended before it made a page", ran.id, ran.experiment)).into())
        }
        [] if ran.pages().next().is_none() => Err(Wrong(format!(
            "run {} of {} made no page\n\
             help: add a stage `use: report` to the experiment and run it; `--format md` and `--format csv` need none",
            ran.id, ran.experiment
        ))
        .into()),
        [] => {
            Err(Wrong(format!("run {} made no page of that stage\nhelp: its pages are those of {}", ran.id, all()))
                .into())
        }
        _ => Err(Wrong(format!(
            "run {} made {} pages\nhelp: choose one with `--page STAGE`: {}",
            ran.id,
            pages.len(),
            all()
        ))
        .into()),
    }
}
