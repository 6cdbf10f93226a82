//! One run: its graph, its stages, what they said and made.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use anyhow::{Context as _, anyhow};

use super::super::format;
use super::super::runs::State;
use super::pages::Pages;
use super::{graph_svg, html};
use crate::UsageError;
use crate::reason::short;
use crate::record::{self, RunFolder, RunRecord};
use crate::report::{ReportFormat, Request, RunSummary, RunSummaryFile};
use crate::serve::PageReply;

/// The end of a log that is shown, in bytes.
const LOG: u64 = 1 << 20;

/// The record of that id.
fn record_of(pages: &Pages, id: &str) -> anyhow::Result<RunRecord> {
    let known = record::runs(&pages.store)?;
    let found = known.into_iter().find(|run| run.id == id);
    found.ok_or_else(|| {
        UsageError("there is no such run\nhelp: it may be forgotten; the first page lists them".into()).into()
    })
}

pub(super) fn run(pages: &Pages, id: &str) -> anyhow::Result<PageReply> {
    let state = State::of(&pages.store, &record_of(pages, id)?)?;
    let run = &state.run;
    let summary = RunSummary::of(&pages.store, run)?;
    let word = run.word(state.alive);
    let here = format!("/run/{}", html::path(&run.id));
    let facts = [
        ("status", format!("<span class=\"{word}\">{word}</span>")),
        ("command", format!("<code>{}</code>", html::text(&run.command))),
        ("on", html::text(&format!("{}, {} threads, {} at once, {}", run.host, run.threads, run.jobs, run.program))),
        ("started", html::text(&run.started)),
        ("took", html::text(&state.took())),
        ("experiment", format!("<a href=\"{here}/experiment\">as it was run</a>")),
    ];
    let mut body = html::table(["", ""], facts.into_iter().map(|(name, value)| [name.into(), value]));
    let reports: Vec<String> = summary
        .pages()
        .map(|page| {
            let [stage, port] = [&page.stage, &page.port].map(|part| html::path(part));
            format!(
                "<a href=\"{here}/page/{stage}/{port}\">{}</a>",
                html::text(&format!("{}.{}", page.stage, page.port))
            )
        })
        .collect();
    if !reports.is_empty() {
        body += &format!("<p>Reports: {}</p>", reports.join(", "));
    }
    let states: Vec<&str> = run.nodes.iter().map(|node| state.ended(node).0).collect();
    body += &format!("<h2>Graph</h2>\n{}", graph_svg::graph(&summary, &states));
    let rows = run.nodes.iter().zip(&summary.stages).map(|(node, stage)| {
        let (word, took) = state.ended(node);
        let files = stage.files.iter().map(|file| {
            let title = html::text(&format!("{}, {}", file.kind, short(&file.digest)));
            format!("<a href=\"/file/{}\" title=\"{title}\">{}</a>", file.digest, html::text(&file.port))
        });
        let notes = stage.notes.iter().map(|(name, value)| html::text(&format!("{name}: {value}")));
        let error = node.error.iter().map(|error| format!("<span class=\"failed\">{}</span>", html::text(error)));
        let log = RunFolder::of(&pages.store, &run.id).log_of(&node.stage);
        let log =
            log.map_or_else(String::new, |_| format!("<a href=\"{here}/log/{}\">log</a>", html::path(&node.stage)));
        [
            format!("{}<br><span class=\"dim\">{}</span>", html::text(&node.stage), html::text(&node.kind)),
            format!("<span class=\"{word}\">{word}</span>"),
            html::text(&took),
            files.collect::<Vec<_>>().join(", "),
            log,
            error.chain(notes).collect::<Vec<_>>().join("<br>"),
        ]
    });
    body += "<h2>Stages</h2>\n";
    body += &html::table(["stage", "", "took", "files", "", "what it noted"], rows);
    Ok(html::page(&format!("{} · {}", run.experiment, run.id), &body, state.alive.then_some(2)))
}

pub(super) fn experiment(pages: &Pages, id: &str) -> anyhow::Result<PageReply> {
    let run = record_of(pages, id)?;
    let text = RunFolder::of(&pages.store, &run.id).experiment()?;
    Ok(html::page(&format!("{}, as it was run", run.experiment), &format!("<pre>{}</pre>", html::text(&text)), None))
}

pub(super) fn log(pages: &Pages, id: &str, stage: &str) -> anyhow::Result<PageReply> {
    let run = record_of(pages, id)?;
    let none = || UsageError(format!("`{stage}` left no log in this run\nhelp: a stage that is a hit says nothing"));
    let known = run.nodes.iter().any(|node| node.stage == stage);
    let path = RunFolder::of(&pages.store, &run.id).log_of(stage).filter(|_| known).ok_or_else(none)?;
    let read = || {
        let mut file = File::open(&path)?;
        let from = file.metadata()?.len().saturating_sub(LOG);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(LOG).read_to_end(&mut bytes)?;
        std::io::Result::Ok((from, bytes))
    };
    let (from, bytes) = read().with_context(|| format!("cannot read `{}`", path.display()))?;
    let before = if from > 0 {
        format!("<p class=\"dim\">{} before are left out</p>", format::bytes(from))
    } else {
        String::new()
    };
    let body = format!("{before}<pre>{}</pre>", html::text(&String::from_utf8_lossy(&bytes)));
    let alive = RunFolder::of(&pages.store, &run.id).is_alive()?;
    Ok(html::page(&format!("{stage} · {}", run.id), &body, alive.then_some(2)))
}

/// A report of a stage, together with what was run.
pub(super) fn page(pages: &Pages, id: &str, stage: &str, port: &str) -> anyhow::Result<PageReply> {
    let summary = RunSummary::of(&pages.store, &record_of(pages, id)?)?;
    let is_it = |page: &&RunSummaryFile| page.stage == stage && page.port == port;
    let page = summary.pages().find(is_it);
    let page = page.ok_or_else(|| anyhow!(UsageError("this run made no such report".into())))?;
    let runs = std::slice::from_ref(&summary);
    let text = (pages.catalog.report)(&Request { format: ReportFormat::Html, runs, page: Some(page) })?;
    Ok(html::report(crate::secret::redact(&text).into_owned()))
}
