//! Sweeps: `sweep: { seed: [0, 1, 2] }` makes one cell for every value, and every cell is a node of its own.
//!
//! A stage that reads one output of a swept stage follows it cell by cell. Where several sweeps meet (those of its inputs
//! and its own), cells with the same key are joined on their value, so that `seed=3` meets `seed=3`; keys that only one of
//! them has are multiplied. A value without a partner is an error: dropping it silently would hide missing results.

use std::collections::BTreeSet;

use serde_json::Value;

use super::tree::{self, Data, Entry, Tree};
use crate::diagnostic::{Diagnostic, MOST, Span};
use crate::secret::is_reference;

/// More cells than this in one stage is a typing mistake.
const MAX_CELLS: usize = 10_000;
/// Longest text of a value in the name of a cell; file names are limited.
const MAX_LABEL: usize = 32;
/// Longest name of a cell; file names end at 255 bytes, and the stage's own name is in front.
const MAX_NAME: usize = 180;

/// One swept config path with its values.
pub(crate) struct Axis<'t> {
    pub key: &'t str,
    pub key_span: Span,
    pub values: Vec<(String, &'t Tree)>,
}

/// `seed=3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coordinate {
    pub key: String,
    pub label: String,
}

/// One combination of values; empty for a stage without a sweep.
pub(crate) type Cell = Vec<Coordinate>;

/// `gamma=0.9,seed=3`.
pub(crate) fn name(cell: &[Coordinate]) -> String {
    cell.iter().map(|at| format!("{}={}", at.key, at.label)).collect::<Vec<_>>().join(",")
}

/// The cells of one side of a join.
pub(crate) struct JoinSide {
    /// For messages: `` `policy` `` or `` `sweep` ``.
    pub what: String,
    /// Where it is written.
    pub span: Span,
    pub cells: Vec<Cell>,
}

impl JoinSide {
    /// The stage's own axis.
    pub fn of(axis: &Axis) -> Self {
        let cell = |(label, _): &(String, &Tree)| vec![Coordinate { key: axis.key.to_owned(), label: label.clone() }];
        Self { what: "`sweep`".into(), span: axis.key_span, cells: axis.values.iter().map(cell).collect() }
    }
}

/// Reads `sweep`. Faulty axes are reported and left out.
pub(crate) fn axes<'t>(swept: &'t Entry, with: Option<&Entry>, errors: &mut Vec<Diagnostic>) -> Vec<Axis<'t>> {
    let mut axes = Vec::new();
    let keys: BTreeSet<&str> = swept.value.entries().iter().map(|entry| &*entry.key).collect();
    for entry in swept.value.entries() {
        if errors.len() > MOST {
            break;
        }
        if entry.key.split('.').count() > tree::MAX_DEPTH {
            errors.push(Diagnostic::at(entry.key_span, "the path leads deeper than any config"));
            continue;
        }
        let values = match &entry.value.data {
            Data::List(values) if !values.is_empty() => values,
            _ => {
                let message = format!("`sweep` takes a list of values for `{}`", entry.key);
                let fault = Diagnostic::at(entry.value.span, message);
                errors
                    .push(fault.help(format!("write `{}: [0, 1, 2]`; a single value belongs into `with`", entry.key)));
                continue;
            }
        };
        if let Some(whole) = entry.key.match_indices('.').map(|(at, _)| &entry.key[..at]).find(|key| keys.contains(key))
        {
            errors.push(within(entry, whole));
            continue;
        }
        if values.len() > MAX_CELLS {
            errors.push(too_many(entry.value.span));
            continue;
        }
        if let Some(value) = with.and_then(|with| written(&with.value, &entry.key)) {
            errors.push(twice(entry, value));
        }
        let mut labelled: Vec<(String, &Tree)> = Vec::new();
        let mut known = BTreeSet::new();
        for value in values {
            if value.text().is_some_and(is_reference) {
                let message = format!("`{}` cannot be swept: a secret changes no result", entry.key);
                errors.push(Diagnostic::at(value.span, message).help("write the secret into `with`"));
                continue;
            }
            let label = label(&value.to_json());
            // File systems that fold case would put both into one folder.
            if !known.insert(label.to_ascii_lowercase()) {
                let message = format!("two cells of this sweep would be called `{}={label}`", entry.key);
                errors.push(Diagnostic::at(value.span, message).help("every value may stand in the list once"));
            } else {
                labelled.push((label, value));
            }
        }
        axes.push(Axis { key: &entry.key, key_span: entry.key_span, values: labelled });
    }
    axes
}

pub(super) fn written<'t>(with: &'t Tree, path: &str) -> Option<&'t Tree> {
    path.split('.').try_fold(with, |here, key| here.get(key).map(|entry| &entry.value))
}

fn twice(axis: &Entry, value: &Tree) -> Diagnostic {
    // Of an override and the file, the override is what the user has just written.
    if value.span.source > axis.key_span.source {
        let message = format!("`{}` is swept, so one value of it cannot be set", axis.key);
        return Diagnostic::at(value.span, message)
            .help(format!("set the sweep: `--set stages.STAGE.sweep.{}=[ … ]`", axis.key));
    }
    let message = format!("`{}` is swept here and has a value in `with`", axis.key);
    Diagnostic::at(axis.key_span, message).help("keep one of them")
}

/// Of two sweeps that write to one place, the cells would have the values of one and the names of both.
fn within(axis: &Entry, whole: &str) -> Diagnostic {
    let message = format!("`{}` is a part of `{whole}`, which is swept, too: only one of them can be", axis.key);
    Diagnostic::at(axis.key_span, message)
        .help(format!("write its values into those of `{whole}`, or sweep parts alone"))
}

fn too_many(span: Span) -> Diagnostic {
    Diagnostic::at(span, format!("the sweep has more than {MAX_CELLS} cells")).help("sweep fewer values at once")
}

/// A value as a part of a file name: itself where it is short and plain (`64-32` for `[64, 32]`), else its beginning and a
/// digest.
fn label(value: &Value) -> String {
    let mut words = Vec::new();
    flatten(value, &mut words);
    let text = words.join("-");
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    if !text.is_empty() && text.len() <= MAX_LABEL && text.chars().all(safe) {
        return text;
    }
    let digest = blake3::hash(value.to_string().as_bytes()).to_hex();
    let start: String = text.chars().filter(|&c| safe(c)).take(16).collect();
    if start.is_empty() { digest[..8].to_owned() } else { format!("{start}-{}", &digest[..8]) }
}

/// The words of a value: its keys and its plain values, in their order.
fn flatten(value: &Value, words: &mut Vec<String>) {
    match value {
        Value::String(text) => words.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| flatten(value, words)),
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            words.push(key.clone());
            flatten(value, words);
        }),
        plain => words.push(plain.to_string()),
    }
}

/// Joins all sides; one empty cell when there is none.
pub(crate) fn join(sides: &[JoinSide], errors: &mut Vec<Diagnostic>) -> Vec<Cell> {
    let mut joined: Vec<Cell> = vec![Vec::new()];
    let mut seen: Vec<&str> = Vec::new();
    for side in sides.iter().filter(|side| !side.cells.is_empty()) {
        if let Some(cell) = joined.iter().find(|cell| !side.cells.iter().any(|other| fit(cell, other))) {
            errors.push(unmatched(side, &seen.join(" and "), cell, &side.what));
            return joined;
        }
        if let Some(cell) = side.cells.iter().find(|cell| !joined.iter().any(|other| fit(cell, other))) {
            errors.push(unmatched(side, &side.what, cell, &seen.join(" and ")));
            return joined;
        }
        let mut next = Vec::new();
        for left in &joined {
            for right in side.cells.iter().filter(|right| fit(left, right)) {
                if next.len() == MAX_CELLS {
                    errors.push(too_many(side.span));
                    return joined;
                }
                let fresh = right.iter().filter(|at| !left.contains(at)).cloned();
                next.push(left.iter().cloned().chain(fresh).collect::<Cell>());
            }
        }
        joined = next;
        seen.push(&side.what);
    }
    if let Some((cell, side)) = joined.iter().map(|cell| name(cell)).find(|n| n.len() > MAX_NAME).zip(sides.last()) {
        let fault = Diagnostic::at(side.span, format!("the name of the cell `{cell}` is too long for a file name"));
        errors.push(fault.help("sweep fewer keys at once"));
    }
    joined
}

/// Whether two cells agree on every key that both have.
pub(crate) fn fit(left: &[Coordinate], right: &[Coordinate]) -> bool {
    left.iter().all(|at| right.iter().all(|other| at.key != other.key || at.label == other.label))
}

/// Whether `cell` is one of those that `part` was joined into.
pub(crate) fn contains(cell: &[Coordinate], part: &[Coordinate]) -> bool {
    part.iter().all(|at| cell.contains(at))
}

fn unmatched(side: &JoinSide, of: &str, cell: &[Coordinate], other: &str) -> Diagnostic {
    let message = format!("two sweeps do not fit: `{}` of {of} has no partner in {other}", name(cell));
    Diagnostic::at(side.span, message).help("sweeps that meet are joined on equal values; give both the same list")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn side(what: &str, cells: &[&str]) -> JoinSide {
        let coordinate = |part: &str| {
            let (key, label) = part.split_once('=').unwrap();
            Coordinate { key: key.into(), label: label.into() }
        };
        let cells = cells.iter().map(|cell| cell.split(',').map(coordinate).collect()).collect();
        JoinSide { what: what.into(), span: Span { source: 0, start: 0, end: 1 }, cells }
    }

    fn names(sides: &[JoinSide]) -> (Vec<String>, Vec<Diagnostic>) {
        let mut errors = Vec::new();
        let cells = join(sides, &mut errors);
        (cells.iter().map(|cell| name(cell)).collect(), errors)
    }

    #[test]
    fn shared_keys_are_joined_and_others_multiplied() {
        let (cells, errors) = names(&[side("a", &["seed=0", "seed=1"]), side("b", &["seed=0", "seed=1"])]);
        assert_eq!((cells, errors), (vec!["seed=0".to_owned(), "seed=1".to_owned()], vec![]));
        let (cells, errors) = names(&[side("a", &["seed=0", "seed=1"]), side("b", &["g=1,seed=1", "g=2,seed=0"])]);
        assert_eq!((cells, errors), (vec!["seed=0,g=2".to_owned(), "seed=1,g=1".to_owned()], vec![]));
        let (cells, _) = names(&[side("a", &["x=1", "x=2"]), side("b", &["y=1", "y=2"])]);
        assert_eq!(cells, ["x=1,y=1", "x=1,y=2", "x=2,y=1", "x=2,y=2"]);
    }

    #[test]
    fn a_value_without_a_partner_is_an_error() {
        let (_, errors) = names(&[side("`a`", &["seed=0", "seed=1"]), side("`b`", &["seed=0"])]);
        assert_eq!(errors[0].message, "two sweeps do not fit: `seed=1` of `a` has no partner in `b`");
        let (_, errors) = names(&[side("`a`", &["seed=0"]), side("`b`", &["seed=0", "seed=7"])]);
        assert_eq!(errors[0].message, "two sweeps do not fit: `seed=7` of `b` has no partner in `a`");
    }

    #[test]
    fn an_explosion_is_stopped() {
        let many: Vec<String> = (0..200).map(|i| format!("x={i}")).collect();
        let cells: Vec<&str> = many.iter().map(String::as_str).collect();
        let other: Vec<String> = (0..200).map(|i| format!("y={i}")).collect();
        let (_, errors) = names(&[side("a", &cells), side("b", &other.iter().map(String::as_str).collect::<Vec<_>>())]);
        assert_eq!(errors[0].message, "the sweep has more than 10000 cells");
    }

    #[test]
    fn labels_are_safe_in_file_names() {
        assert_eq!(label(&json!(3)), "3");
        assert_eq!(label(&json!(1e-3)), "0.001");
        assert_eq!(label(&json!("by-time")), "by-time");
        assert_eq!(label(&json!(true)), "true");
        assert_eq!(label(&json!([64, 32])), "64-32");
        assert_eq!(label(&json!({ "gguf": { "asset": "smollm2" } })), "gguf-asset-smollm2");
        for value in [json!("../x y"), json!({ "gguf": { "a": 1 } }), json!([64, 32]), json!("x".repeat(40)), json!("")]
        {
            let text = label(&value);
            assert!(text.len() <= MAX_LABEL && !text.contains(['/', ' ', ',', '=', '"']), "{text}");
        }
        assert!(label(&json!({ "gguf": { "a": 1 } })).starts_with("gguf-"));
        assert_ne!(label(&json!({ "gguf": { "a": 1 } })), label(&json!({ "gguf": { "a": 2 } })));
    }
}
