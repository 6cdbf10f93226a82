//! `--set stages.policy.with.gamma=0.9`: a value put into the tree before anything is checked, so that it is checked like
//! the file, with `--set` as its place.

use serde_json::Value;

use super::document::TOP_KEYS;
use super::renamed::Rows;
use super::stage_block::{STAGE_KEYS, SWEEP};
use super::tree::{self, Data, Entry, Tree};
use crate::diagnostic::{Diagnostic, Span, listed, nearest};

/// `#` signs of one value that are looked at, so that a value of nothing else is soon read.
const MARKS: usize = 100;

/// Applies one `path=value`; `source` is the number of its text among the sources.
pub(crate) fn apply(root: &mut Tree, text: &str, source: usize, rows: &Rows, errors: &mut Vec<Diagnostic>) {
    let whole = Span { source, start: 0, end: text.len() };
    let Some((path, value)) = text.split_once('=') else {
        let fault = Diagnostic::at(whole, "`--set` takes `path=value`");
        errors.push(fault.help("for example `--set stages.policy.with.gamma=0.9`"));
        return;
    };
    let (written, start) = (value, path.len() + 1);
    // At the beginning of a line these would be ends of documents, and leave nothing.
    let is_text = tree::is_end_of_document(written);
    let text =
        || Tree { span: Span { start, ..whole }, data: Data::Scalar(Value::String(written.trim_end().to_owned())) };
    let parsed = if is_text { Some(text()) } else { tree::parse(written, source, start, errors) };
    let Some(value) = parsed else { return };
    if let Some(fault) = left_out(written, source, start, &value) {
        errors.push(fault);
        return;
    }
    let segments = segments(path, source, rows);
    if segments.len() > tree::MAX_DEPTH {
        let fault = Diagnostic::at(Span { end: path.len(), ..whole }, "the path leads deeper than any experiment");
        errors.push(fault.help("for example `--set stages.policy.with.gamma=0.9`"));
        return;
    }
    if let Err(fault) = place(root, path, &segments, value, rows) {
        errors.push(*fault);
    }
}

/// The fault of a value that YAML ends at a `#`: on a command line nobody comments, and a part of the value would be lost.
fn left_out(written: &str, source: usize, start: usize, value: &Tree) -> Option<Diagnostic> {
    let begins = |&(at, _): &(usize, &str)| written[..at].chars().next_back().is_none_or(char::is_whitespace);
    // What begins a comment is missed by nothing before it.
    let is_lost = |&(at, _): &(usize, &str)| {
        let before = tree::parse(&written[..at], source, start, &mut Vec::new());
        before.is_some_and(|before| before.to_json() == value.to_json())
    };
    let (at, _) = written.match_indices('#').filter(begins).take(MARKS).find(is_lost)?;
    let span = Span { source, start: start + at, end: start + written.trim_end().len() };
    let fault = Diagnostic::at(span, "`#` begins a comment, which would be lost");
    Some(fault.help("quote the value: `--set 'path=\"a #1\"'`"))
}

/// The path cut at its dots, each piece with its place. The name of a swept value (`sweep.llm.temperature`) keeps its dots.
fn segments<'p>(path: &'p str, source: usize, rows: &Rows) -> Vec<(&'p str, Span)> {
    let is_sweep = |key: &str| rows.stage_key(key).map_or(key, |row| row.new) == SWEEP;
    let mut pieces: Vec<(&str, Span)> = Vec::new();
    let mut start = 0;
    while start <= path.len() {
        let swept = pieces.len() == 3 && is_sweep(pieces[2].0);
        let end = if swept { path.len() } else { path[start..].find('.').map_or(path.len(), |dot| start + dot) };
        pieces.push((&path[start..end], Span { source, start, end }));
        start = end + 1;
    }
    pieces
}

fn place(
    root: &mut Tree,
    path: &str,
    segments: &[(&str, Span)],
    value: Tree,
    rows: &Rows,
) -> Result<(), Box<Diagnostic>> {
    let mut here = root;
    let last = segments.len() - 1;
    for (depth, &(name, span)) in segments.iter().enumerate() {
        if here.is_null() {
            here.data = Data::Map(Vec::new());
        }
        let stands = if depth == 0 { "the experiment".into() } else { format!("`{}`", &path[..span.start - 1]) };
        known(here, segments, depth, rows).map_err(|names| unknown(path, name, span, &stands, &names))?;
        let noun = here.noun();
        let next = match &mut here.data {
            Data::Map(entries) => {
                let at = entries.iter().position(|entry| entry.key == name).unwrap_or_else(|| {
                    let empty = Tree { span, data: Data::Scalar(Value::Null) };
                    entries.push(Entry { key: name.to_owned(), key_span: span, value: empty });
                    entries.len() - 1
                });
                if depth == last {
                    entries[at].key_span = span;
                }
                &mut entries[at].value
            }
            Data::List(items) => {
                let count = items.len();
                let item = name.parse::<usize>().ok().and_then(|at| items.get_mut(at));
                item.ok_or_else(|| {
                    Diagnostic::at(span, format!("{stands} is a list of {count}: `{name}` is no place in it"))
                        .help("write the position, counted from 0, or set the whole list")
                })?
            }
            Data::Scalar(_) => {
                return Err(Diagnostic::at(span, format!("{stands} is {noun}, so there is no `{name}` in it")).into());
            }
        };
        here = next;
    }
    *here = value;
    Ok(())
}

/// The names that may stand at this depth, where that is not for the stage's own config to say.
fn known(here: &Tree, segments: &[(&str, Span)], depth: usize, rows: &Rows) -> Result<(), Vec<String>> {
    let name = segments[depth].0;
    let own = |keys: &[&str]| keys.iter().map(|&key| key.to_owned()).collect::<Vec<_>>();
    let names = match depth {
        0 => own(TOP_KEYS),
        1 if matches!(segments[0].0, "stages" | "assets") => here.entries().iter().map(|e| e.key.clone()).collect(),
        // What is old is refused with its new name.
        2 if segments[0].0 == "stages" && rows.stage_key(name).is_none() => own(STAGE_KEYS),
        _ => return Ok(()),
    };
    if names.iter().any(|known| known == name) { Ok(()) } else { Err(names) }
}

fn unknown(path: &str, name: &str, span: Span, stands: &str, names: &[String]) -> Box<Diagnostic> {
    let names = || names.iter().map(String::as_str);
    let fault = Diagnostic::at(span, format!("there is no `{name}` in {stands}"));
    let fault = match nearest(name, names()) {
        Some(near) => {
            let meant = format!("{}{near}{}", &path[..span.start], &path[span.end..]);
            Diagnostic { label: Some(format!("did you mean `{meant}`?")), ..fault }
        }
        None if names().next().is_none() => fault,
        None => fault.help(format!("{stands} has {}", listed(names()))),
    };
    fault.into()
}
