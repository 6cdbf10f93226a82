//! `apprentice inspect`: what the catalogue knows of a file's inside, and what the store knows of its making.

mod ancestors;
mod lineage;
mod newest;
mod origin;
mod output;
mod producers;
mod result;
mod target;

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};

use super::args::{Diff, Inspect};
use super::output::{numbered, print};
use super::progress_ui::progress_ui;
use super::session::Session;
use crate::exit::Failure;
use crate::inspect::{Format, RelatedFile, Request, Show, Verdict};
use crate::progress::{Progress, Sink};
use crate::store::{Entry, Store};
use crate::{Catalog, Exit, escape};
pub(super) use ancestors::ancestors;
use lineage::Lineage;
use origin::Origin;
use output::Output;
use target::Content;
pub(super) use target::{Target, find};

pub(super) fn inspect(session: &Session, args: &Inspect) -> Result<Exit, Failure> {
    let store = session.store();
    let format = format(session, args.format)?;
    let found = find(&store, &args.target, args.experiment.as_deref(), session.catalog);
    match found.or_else(|failure| target::many(&args.target).ok_or(failure))? {
        Target::Run(run) => {
            about_results(args, "a run")?;
            let (json, text) = result::run(&run, &store)?;
            answer(format, json, &text)
        }
        Target::Result(entry) if args.lineage => trace(&store, &entry, None, format),
        Target::Result(entry) => {
            about_results(args, &format!("a result of {}", outputs(&entry)))?;
            let (json, text) = result::result(&entry, &store)?;
            answer(format, json, &text)
        }
        Target::Content(content) if args.lineage => {
            let (entry, output) = content.origin.as_ref().ok_or_else(|| unknown(&content))?;
            trace(&store, entry, Some(&output.port), format)
        }
        Target::Content(content) => look(session, &store, args, &content, format),
    }
}

fn format(session: &Session, format: Option<Format>) -> Result<Format, Failure> {
    match (format, session.global.json) {
        (Some(format), true) if format != Format::Json => {
            Err(Failure::usage(anyhow!("`--json` is `--format json`, but `--format {format}` was given too")))
        }
        (Some(format), _) => Ok(format),
        (None, json) => Ok(if json { Format::Json } else { Format::Table }),
    }
}

fn outputs(entry: &Entry) -> String {
    format!("{} outputs", entry.outputs.len())
}

/// Refuses options that need the content of one file.
fn about_results(args: &Inspect, found: &str) -> Result<(), Failure> {
    let wants_content = args.rows
        || args.verify
        || args.lineage
        || args.episode.is_some()
        || args.filter.is_some()
        || args.sql.is_some()
        || args.tail.is_some()
        || args.sample.is_some()
        || !args.columns.is_empty()
        || matches!(args.format, Some(Format::Csv | Format::Ndjson));
    if wants_content {
        let what = &args.target;
        return Err(Failure::usage(anyhow!(
            "`{what}` is {found}, and what you ask for needs one file\nhelp: `apprentice inspect {what}` lists its outputs"
        )));
    }
    Ok(())
}

fn unknown(content: &Content) -> Failure {
    Failure::usage(anyhow!(
        "this store does not know where `{}` came from: it has no such content (or the file was changed since)\nhelp: \
         `--artifacts DIR` names the store that made it",
        escape::shown(&content.name, usize::MAX)
    ))
}

/// Prints JSON or text about something that is not a file. As Markdown the text is a block of code.
fn answer(format: Format, json: Value, text: &str) -> Result<Exit, Failure> {
    match format {
        Format::Json => print(&safe(&numbered(json))),
        Format::Table => print(text),
        Format::Md => print(&format!("```text\n{text}```\n")),
        Format::Csv | Format::Ndjson => Err(rows_only(format)),
    }
}

fn rows_only(format: Format) -> Failure {
    Failure::usage(anyhow!("{format} holds rows and nothing else\nhelp: use `--format json`, `md` or `table` here"))
}

fn safe(value: &Value) -> String {
    escape::json(&format!("{value:#}\n"))
}

fn trace(store: &Store, entry: &Entry, port: Option<&str>, format: Format) -> Result<Exit, Failure> {
    let lineage = Lineage::of(store, entry)?;
    answer(format, lineage.to_json(entry, port), &lineage.to_text(entry, port))
}

/// What the catalogue says about a file, between what the engine says about it.
fn look(session: &Session, store: &Store, args: &Inspect, content: &Content, format: Format) -> Result<Exit, Failure> {
    let show = show(args);
    let rows = show == Show::Rows || args.sql.is_some() || matches!(format, Format::Csv | Format::Ndjson);
    if rows && !matches!(show, Show::Rows | Show::Overview) {
        return Err(rows_only(format));
    }
    let overview = show == Show::Overview && !rows;
    if show == Show::Verify
        && let Some(output) = &content.named
    {
        // The bytes first: then what they say is what was made.
        target::whole(store, &output.digest)?;
    }
    let request = Request {
        show: if rows { Show::Rows } else { show },
        format,
        name: content.name.clone(),
        columns: args.columns.clone(),
        sql: args.sql.clone(),
        filter: args.filter.clone(),
        head: args.head,
        tail: args.tail,
        sample: args.sample,
        seed: args.seed,
        scan: args.scan,
        related: if args.episode.is_some() { related(store, content)? } else { Vec::new() },
        progress: Progress::new("inspect", [progress_ui(false, format == Format::Json, false) as Arc<dyn Sink>].into()),
    };
    let origin = if overview { Origin::of(store, content)? } else { None };
    let out = &mut BufWriter::new(Output::new(io::stdout().lock()));
    let verdict = match format {
        Format::Json => json_around(session, &request, content, origin.as_ref(), out),
        _ => (session.catalog.inspect)(&content.path, &request, out).and_then(|verdict| {
            if overview {
                let known = origin.as_ref().map_or_else(|| origin::UNKNOWN.into(), Origin::to_text);
                let known = if format == Format::Md { format!("```text\n{known}```\n") } else { known };
                write!(out, "\n{known}")?;
            }
            if args.verify && format == Format::Table {
                write!(out, "{}", origin::as_made(content))?;
            }
            Ok(verdict)
        }),
    };
    match ended(out, verdict)? {
        Verdict::Whole if args.verify && content.changed_view.is_some() => Ok(Exit::Failed),
        Verdict::Whole => Ok(Exit::Ok),
        // The bytes are those that were made, so that the fault is not the store's.
        Verdict::Damaged => Ok(Exit::Failed),
    }
}

/// How two files differ.
pub(super) fn compare(session: &Session, args: &Diff, one: &Content, other: Content) -> Result<Exit, Failure> {
    let format = format(session, args.format)?;
    if matches!(format, Format::Csv | Format::Ndjson) {
        return Err(rows_only(format));
    }
    let request = Request {
        show: Show::Diff { other: other.path, name: other.name, key: args.key.clone() },
        format,
        name: one.name.clone(),
        columns: args.columns.clone(),
        scan: args.scan,
        progress: Progress::new("diff", [progress_ui(false, format == Format::Json, false) as Arc<dyn Sink>].into()),
        ..Request::default()
    };
    let out = &mut BufWriter::new(Output::new(io::stdout().lock()));
    let verdict = match format {
        Format::Json => json_around(session, &request, one, None, out),
        _ => (session.catalog.inspect)(&one.path, &request, out),
    };
    ended(out, verdict).map(|_| Exit::Ok)
}

/// What came out, once all of the answer is written.
fn ended<W: Write>(out: &mut BufWriter<Output<W>>, verdict: anyhow::Result<Verdict>) -> Result<Verdict, Failure> {
    let verdict = verdict.and_then(|verdict| {
        out.flush()?;
        Ok(verdict)
    });
    if let Some(error) = out.get_mut().refused() {
        // Nothing went wrong where the reader of our output has gone.
        let exit = if error.kind() == ErrorKind::BrokenPipe { Exit::Ok } else { Exit::Failed };
        return Err(Failure::new(exit, anyhow::Error::new(error).context("write to standard output")));
    }
    Ok(verdict?)
}

/// An object with the answer as its `content`. Rows pass through as they come, however many there are.
fn json_around(
    session: &Session,
    request: &Request,
    content: &Content,
    origin: Option<&Origin>,
    out: &mut dyn Write,
) -> anyhow::Result<Verdict> {
    let mut about = numbered(json!({ "file": content.path, "digest": content.digest }));
    if request.show == Show::Overview {
        about["provenance"] = origin.map(Origin::to_json).into();
    }
    if request.show == Show::Rows {
        let about = escape::json(&about.to_string());
        write!(out, "{},\"content\":", about.trim_end_matches('}'))?;
        let verdict = (session.catalog.inspect)(&content.path, request, out)?;
        writeln!(out, "}}")?;
        return Ok(verdict);
    }
    let mut answer = Vec::new();
    let verdict = (session.catalog.inspect)(&content.path, request, &mut answer)?;
    about["content"] = serde_json::from_slice(&answer).context("describe the file as JSON")?;
    out.write_all(safe(&about).as_bytes())?;
    Ok(verdict)
}

fn show(args: &Inspect) -> Show {
    match (args.episode, args.verify, args.rows) {
        (Some(episode), ..) => Show::Episode(episode),
        (None, true, _) => Show::Verify,
        (None, _, true) => Show::Rows,
        _ => Show::Overview,
    }
}

/// What catalogues are called among the kinds of artifacts.
const CATALOGUE: &str = "items";

/// The other outputs of the stage that made a content, its inputs, and the catalogues behind these, as far as they are whole:
/// who judges episodes need not know what the items are called.
pub(super) fn related(store: &Store, content: &Content) -> anyhow::Result<Vec<RelatedFile>> {
    let Some((entry, made)) = &content.origin else { return Ok(Vec::new()) };
    let outputs = entry.outputs.iter().filter(|output| output.digest != made.digest);
    let outputs = outputs.map(|output| (output.kind.clone(), output.digest.clone()));
    let inputs = entry.inputs().map(|(kind, digest)| (kind.to_owned(), digest.to_owned()));
    let mut found = Vec::new();
    for (kind, digest) in outputs.chain(inputs) {
        if let Ok(path) = store.check_object(&digest)? {
            found.push(RelatedFile { kind, path });
        }
    }
    found.extend(ancestors(store, entry, |kind| kind == CATALOGUE)?);
    Ok(found)
}

/// The file of a policy.
pub(super) fn policy(
    store: &Store,
    what: &str,
    experiment: Option<&str>,
    catalog: &Catalog,
) -> Result<PathBuf, Failure> {
    of_kind(store, what, experiment, catalog, ("policy", "a policy", "policies come from `rl` stages"))
}

/// The file of a catalogue.
pub(super) fn catalogue(
    store: &Store,
    what: &str,
    experiment: Option<&str>,
    catalog: &Catalog,
) -> Result<PathBuf, Failure> {
    of_kind(
        store,
        what,
        experiment,
        catalog,
        (CATALOGUE, "a catalogue", "`ingest` stages write one, as in `log.items`"),
    )
}

/// The file of an artifact of one kind: the kind, one of it in words, and where they come from.
fn of_kind(
    store: &Store,
    what: &str,
    experiment: Option<&str>,
    catalog: &Catalog,
    (kind, wanted, from): (&str, &str, &str),
) -> Result<PathBuf, Failure> {
    // Once, because it says so where the experiment is not the newest.
    let experiment = match experiment {
        Some(name) => Some(name.to_owned()),
        None if Path::new(what).is_file() => None,
        None => newest::experiment_with(store, what)?,
    };
    let found = |what: &str| find(store, what, experiment.as_deref(), catalog);
    // A stage that trains a policy also tells how it went; which of the two is meant is plain.
    let found = found(what).or_else(|failure| found(&format!("{what}.{kind}")).map_err(|_| failure))?;
    let another = |found: &str| Failure::usage(anyhow!("`{what}` is {found}, not {wanted}\nhelp: {from}"));
    match found {
        Target::Content(content) => match content.origin {
            Some((_, output)) if output.kind != kind => Err(another(&format!("of kind `{}`", output.kind))),
            _ => Ok(content.path),
        },
        Target::Result(entry) => match entry.outputs.iter().find(|output| output.kind == kind) {
            Some(output) => target::whole(store, &output.digest),
            None => Err(another(&format!("a result of {}", outputs(&entry)))),
        },
        Target::Run(_) => Err(another("a run")),
    }
}
