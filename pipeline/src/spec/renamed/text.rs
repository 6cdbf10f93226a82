//! Places in the text of a file: what a tree of values does not remember, and what it takes to change bytes and leave the rest.

use crate::diagnostic::Span;
use crate::spec::tree::{Data, Entry, Tree};

/// Bytes to be replaced, by position.
#[derive(Default)]
pub(super) struct Edits(Vec<(usize, usize, String)>);

impl Edits {
    pub fn replace(&mut self, start: usize, end: usize, text: impl Into<String>) {
        self.0.push((start, end, text.into()));
    }

    pub fn insert(&mut self, at: usize, text: impl Into<String>) {
        self.replace(at, at, text);
    }

    /// The text with all of them; what is inserted at one place stands in the order of the calls.
    pub fn apply(mut self, text: &str) -> String {
        self.0.sort_by_key(|&(start, end, _)| (start, end));
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for (start, end, new) in self.0 {
            out.push_str(&text[done..start.max(done)]);
            out.push_str(&new);
            done = end.max(done);
        }
        out.push_str(&text[done..]);
        out
    }
}

/// A word in the quotes of the one that it replaces.
pub(super) fn quoted_alike(old: &str, new: &str) -> String {
    match old.chars().next() {
        Some(quote @ ('"' | '\'')) => format!("{quote}{new}{quote}"),
        _ => new.to_owned(),
    }
}

/// The mapping in which an entry is written, which may be another than the one that `<<` put it into; and that mapping's own
/// entries.
pub(super) fn written_in(tree: &Tree, key: Span) -> Option<&Tree> {
    let inner = match &tree.data {
        Data::Scalar(_) => None,
        Data::List(items) => items.iter().find_map(|item| written_in(item, key)),
        Data::Map(entries) => entries.iter().find_map(|entry| written_in(&entry.value, key)),
    };
    let holds = || tree.entries().iter().any(|entry| entry.key_span == key);
    inner.or_else(|| (within(key, tree.span) && holds()).then_some(tree))
}

/// The mapping with this place.
pub(super) fn mapping_at(tree: &Tree, span: Span) -> Option<&Tree> {
    match &tree.data {
        Data::Map(_) if tree.span == span => Some(tree),
        Data::Scalar(_) => None,
        Data::List(items) => items.iter().find_map(|item| mapping_at(item, span)),
        Data::Map(entries) => entries.iter().find_map(|entry| mapping_at(&entry.value, span)),
    }
}

/// The entry whose value is written at this place, with the mapping that holds it.
pub(super) fn holder(tree: &Tree, value: Span) -> Option<(&Tree, &Entry)> {
    let own = own(tree).find(|entry| entry.value.span == value && within(value, tree.span));
    if let Some(entry) = own {
        return Some((tree, entry));
    }
    match &tree.data {
        Data::Scalar(_) => None,
        Data::List(items) => items.iter().find_map(|item| holder(item, value)),
        Data::Map(entries) => entries.iter().find_map(|entry| holder(&entry.value, value)),
    }
}

/// The entries of a mapping that are written in it.
pub(super) fn own(mapping: &Tree) -> impl Iterator<Item = &Entry> {
    mapping.entries().iter().filter(|entry| within(entry.key_span, mapping.span))
}

/// Whether the mapping is written `{ … }`.
pub(super) fn is_flow(text: &str, mapping: &Tree) -> bool {
    text[mapping.span.start..].starts_with('{')
}

fn within(inner: Span, outer: Span) -> bool {
    inner.source == outer.source && inner.start >= outer.start && inner.end <= outer.end
}

/// Where an entry ends: behind its value, be that an alias or nothing.
pub(super) fn end_of(text: &str, entry: &Entry) -> usize {
    let key_end = entry.key_span.end;
    let colon = text[key_end..].find(':').map_or(key_end, |at| key_end + at + 1);
    let rest = &text[colon..];
    let value = colon + (rest.len() - rest.trim_start_matches([' ', '\t']).len());
    if text[value..].starts_with('*') {
        let is_end = |c: char| c.is_whitespace() || [',', '}', ']'].contains(&c);
        return text[value..].find(is_end).map_or(text.len(), |at| value + at);
    }
    if entry.value.span.end <= colon {
        return colon;
    }
    colon + text[colon..entry.value.span.end].trim_end().len()
}

/// Where the line with this byte begins, and where the next one does.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

pub(super) fn next_line(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |newline| at + newline + 1)
}

/// The number of spaces before a byte that is the first of its line; `None` where something else stands before it.
pub(super) fn indent(text: &str, at: usize) -> Option<usize> {
    let before = &text[line_start(text, at)..at];
    before.bytes().all(|byte| byte == b' ').then_some(before.len())
}

/// Where the comment lines directly above a line begin that are indented as it is.
pub(super) fn comments_above(text: &str, line: usize, indent: usize) -> usize {
    let mut start = line;
    while start > 0 {
        let above = line_start(text, start - 1);
        let content = text[above..start].trim_end();
        let is_comment = content.len() > indent
            && content[..indent].bytes().all(|byte| byte == b' ')
            && content[indent..].starts_with('#');
        if !is_comment {
            break;
        }
        start = above;
    }
    start
}

/// Lines moved to the right or to the left; empty ones stay.
pub(super) fn indented(lines: &str, from: usize, to: usize) -> String {
    let shift = |line: &str| match line.trim().is_empty() {
        true => line.to_owned(),
        false if to >= from => format!("{}{line}", " ".repeat(to - from)),
        false => {
            let spaces = line.len() - line.trim_start_matches(' ').len();
            line[spaces.min(from - to)..].to_owned()
        }
    };
    lines.split_inclusive('\n').map(shift).collect()
}
