//! Rewrites a file with old words: only their bytes change, and what moves takes its comments along.
//!
//! It is done in the text. The proof that it was done right is the tree: the new text must say what the old one says after
//! [`rename`]; where it does not, as with an anchor that stands for stages of two kinds, a person has to do it.

use std::collections::BTreeMap;

use super::moves::{self, Move};
use super::text::{Edits, quoted_alike};
use super::{Edit, OldWord, Rows, rename};
use crate::Catalog;
use crate::diagnostic::{Diagnostic, Diagnostics, Source, Span};
use crate::spec::tree::{self, Data, Tree};

/// A byte order mark.
const MARK: char = '\u{feff}';
const BY_HAND: &str = "change it by hand; `apprentice plan` then names what is left";

/// A file in today's words.
#[derive(Debug)]
pub struct Migrated {
    /// The whole text.
    pub text: String,
    /// What was changed, in the order of the lines.
    pub changes: Vec<Change>,
}

/// One word that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The line of the old text, from 1.
    pub line: usize,
    /// The word there.
    pub old: String,
    /// What it is called now.
    pub new: String,
}

/// Rewrites the text of an experiment file; `name` is the file's in messages.
///
/// # Errors
/// Where the text is no YAML, or a word cannot be replaced safely; then nothing is.
pub fn migrate(name: &str, text: &str, catalog: &Catalog) -> Result<Migrated, Diagnostics> {
    // As in [`crate::spec::check`]: a byte order mark is no part of the first key, and lines may end as on an old Macintosh.
    let (mark, body) = text.strip_prefix(MARK).map_or(("", text), |body| (&text[..MARK.len_utf8()], body));
    if body.contains('\r') && !body.contains('\n') {
        let migrated = migrate_lines(name, &body.replace('\r', "\n"), catalog)?;
        return Ok(Migrated { text: format!("{mark}{}", migrated.text.replace('\n', "\r")), ..migrated });
    }
    let migrated = migrate_lines(name, body, catalog)?;
    Ok(Migrated { text: format!("{mark}{}", migrated.text), ..migrated })
}

fn migrate_lines(name: &str, text: &str, catalog: &Catalog) -> Result<Migrated, Diagnostics> {
    let fail = |faults| Diagnostics::new(vec![Source { name: name.to_owned(), text: text.to_owned() }], faults);
    let rows = Rows::of(catalog);
    let root = read(text).map_err(fail)?;
    let mut wanted = root.clone();
    let words = rename(&mut wanted, &rows);
    let faults: Vec<Diagnostic> =
        words.iter().filter(|word| matches!(word.edit, Edit::ByHand(_))).map(|word| word.fault(name)).collect();
    if !faults.is_empty() {
        return Err(fail(faults));
    }
    let mut changed = in_place(text, &words).map_err(|fault| fail(vec![*fault]))?;
    // Every round moves one; a place in the text is good until the text changes.
    for _ in 0..=words.len() {
        let root = read(&changed).map_err(|_| fail(vec![unsafe_at(&words)]))?;
        let left = rename(&mut root.clone(), &rows);
        let Some(next) = left.iter().find_map(|word| Some((word, movement(word)?))) else { break };
        changed = moves::apply(&changed, &root, &next.1).map_err(|why| {
            let original = words.iter().find(|word| word.old == next.0.old && word.new == next.0.new);
            let word = original.unwrap_or(&words[0]);
            fail(vec![OldWord { edit: Edit::ByHand(why.to_owned()), ..word.clone() }.fault(name)])
        })?;
    }
    let result = read(&changed).map_err(|_| fail(vec![unsafe_at(&words)]))?;
    if let Some(span) = differs(&wanted, &result) {
        let message =
            "the old words here cannot be replaced safely: what is written once stands for stages of several kinds";
        return Err(fail(vec![Diagnostic::at(span, message).help(BY_HAND)]));
    }
    Ok(Migrated { text: changed, changes: changes(text, &words) })
}

fn read(text: &str) -> Result<Tree, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    match tree::parse(text, 0, 0, &mut faults) {
        Some(tree) if faults.is_empty() => Ok(tree),
        _ => Err(faults),
    }
}

/// Replaces the words that stay where they are.
fn in_place(text: &str, words: &[OldWord]) -> Result<String, Box<Diagnostic>> {
    let mut edits: BTreeMap<Span, &str> = BTreeMap::new();
    let parts = words.iter().filter_map(|word| if let Edit::Words(parts) = &word.edit { Some(parts) } else { None });
    for (span, new) in parts.flatten() {
        if edits.insert(*span, new).is_some_and(|known| known != new) {
            let message =
                "stages of several kinds share it, whose names for it differ now: give each kind its own block";
            return Err(Diagnostic::at(*span, message).help(BY_HAND).into());
        }
    }
    let mut all = Edits::default();
    for (span, new) in edits {
        all.replace(span.start, span.end, quoted_alike(&text[span.start..span.end], new));
    }
    Ok(all.apply(text))
}

fn movement(word: &OldWord) -> Option<Move<'_>> {
    let Edit::Move { within, path, value } = &word.edit else { return None };
    Some(Move { key: word.span, within: *within, path, value: value.as_ref() })
}

fn unsafe_at(words: &[OldWord]) -> Diagnostic {
    Diagnostic::at(words[0].span, "the old words of this file cannot be replaced safely, from here on").help(BY_HAND)
}

fn changes(text: &str, words: &[OldWord]) -> Vec<Change> {
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    let mut all: Vec<(Span, Change)> = words
        .iter()
        .map(|word| {
            let change = Change { line: line(word.span.start), old: word.old.clone(), new: word.new.clone() };
            (word.span, change)
        })
        .collect();
    all.sort_by_key(|(span, _)| *span);
    // What an alias repeats is written once.
    all.dedup_by(|left, right| left.0 == right.0);
    all.into_iter().map(|(_, change)| change).collect()
}

/// Where the first tree says something else than the second; the order of keys says nothing but in sweeps, whose keys stay.
fn differs(wanted: &Tree, found: &Tree) -> Option<Span> {
    match (&wanted.data, &found.data) {
        (Data::Scalar(left), Data::Scalar(right)) => (left != right).then_some(wanted.span),
        (Data::List(left), Data::List(right)) if left.len() == right.len() => {
            left.iter().zip(right).find_map(|(left, right)| differs(left, right))
        }
        (Data::Map(left), Data::Map(_)) => {
            let missing = left.iter().find_map(|entry| match found.get(&entry.key) {
                Some(other) => differs(&entry.value, &other.value),
                None => Some(entry.key_span),
            });
            missing.or_else(|| (left.len() != found.entries().len()).then_some(wanted.span))
        }
        _ => Some(wanted.span),
    }
}
