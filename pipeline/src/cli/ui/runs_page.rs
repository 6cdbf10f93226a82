//! The runs of a store, and their figures side by side.

use anyhow::bail;

use super::super::format;
use super::super::runs::State;
use super::html;
use super::pages::Pages;
use crate::event::Status;
use crate::report::{ReportFormat, Request, RunSummary};
use crate::serve::{PageReply, PageRequest};
use crate::{UsageError, record};

/// Runs on the first page; an address with `all=1` has all.
const NEWEST: usize = 200;

pub(super) fn runs(pages: &Pages, request: &PageRequest) -> anyhow::Result<PageReply> {
    let runs = record::runs(&pages.store)?;
    if runs.is_empty() {
        let body = format!(
            "<p>No run is recorded in <code>{}</code>. <code>apprentice run EXPERIMENT.yaml</code> makes one.</p>",
            html::text(&pages.store.artifacts().display().to_string())
        );
        return Ok(html::page("Runs", &body, Some(2)));
    }
    let most = if request.values("all").next().is_some() { usize::MAX } else { NEWEST };
    let states = runs.iter().rev().take(most).map(|run| State::of(&pages.store, run));
    let states = states.collect::<Result<Vec<_>, _>>()?;
    let row = |state: &State| {
        let run = &state.run;
        let count = |status| run.nodes.iter().filter(|node| node.status == status).count();
        let word = run.word(state.alive);
        [
            format!(
                "<input type=\"checkbox\" name=\"run\" value=\"{0}\" aria-label=\"compare {0}\">",
                html::text(&run.id)
            ),
            format!("<a href=\"/run/{}\">{}</a>", html::path(&run.id), html::text(&run.experiment)),
            format!("<span class=\"{word}\">{word}</span>"),
            html::text(run.started.replace('T', " ").trim_end_matches('Z')),
            html::text(&state.took()),
            format!("{} hit, {} ran, {} failed", count(Status::Hit), count(Status::Ran), count(Status::Failed)),
            format!("<span class=\"dim\">{}</span>", html::text(&run.id)),
        ]
    };
    let heads = ["", "experiment", "", "started (UTC)", "took", "stages", "run"];
    let rest = match runs.len().saturating_sub(states.len()) {
        0 => String::new(),
        older => format!("<p><a href=\"/?all=1\">{older} older runs</a></p>"),
    };
    let body = format!(
        "<form action=\"/compare\">{}<p><button>Compare the figures of those that are ticked</button></p></form>{rest}",
        html::table(heads, states.iter().map(row))
    );
    // A page that somebody ticks boxes on stays as it is.
    Ok(html::page("Runs", &body, None))
}

pub(super) fn compare(pages: &Pages, request: &PageRequest) -> anyhow::Result<PageReply> {
    let known = record::runs(&pages.store)?;
    let chosen = request.values("run").map(|id| record::find(&known, id)).collect::<Result<Vec<_>, _>>();
    let chosen = chosen.map_err(|error| UsageError(error.to_string()))?;
    if chosen.len() < 2 {
        bail!(UsageError(format!(
            "{} is chosen, and two or more are compared\nhelp: tick them on the first page",
            format::count(chosen.len(), "run")
        )));
    }
    let runs = chosen.into_iter().map(|run| RunSummary::of(&pages.store, run)).collect::<Result<Vec<_>, _>>()?;
    let text = (pages.catalog.report)(&Request { format: ReportFormat::Html, runs: &runs, page: None })?;
    Ok(html::report(text))
}
