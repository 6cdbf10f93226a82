//! Reads a block of YAML as a strict serde struct and reports everything that is wrong with it, each at its place.
//!
//! serde stops at its first error. So the value at fault is taken out and the rest is read again, until nothing is wrong
//! or what is wrong follows from what was taken out.

use serde_json::Value;

use super::schema_lookup::{SchemaLookup, Step};
use super::subject::{Subject, dotted};
use super::tree::{Data, Tree};
use super::{secrets, serde_messages};
use crate::diagnostic::{Diagnostic, MOST, Span, listed, nearest};
use crate::{ConfigError, secret};

/// Reads `tree` with `parse`; on failure all faults are in `errors`.
pub(crate) fn read_config<T>(
    subject: &Subject,
    mut tree: Tree,
    parse: impl Fn(Value) -> Result<T, ConfigError>,
    errors: &mut Vec<Diagnostic>,
) -> Option<T> {
    if tree.is_null() {
        tree.data = Data::Map(Vec::new());
    }
    let first = match parse(tree.to_json()) {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let lookup = SchemaLookup::new(subject.schema);
    let mut error = first;
    let mut removed: Vec<Vec<Step>> = Vec::new();
    loop {
        let place = locate(&tree, &error.path);
        let written = place.rest.is_empty() && !place.steps.is_empty();
        let missing = serde_messages::quoted_after(&error.message, "missing field ");
        let follows = match &missing {
            Some(name) => removed.contains(&with_key(&place.steps, name)),
            None => !removed.is_empty() && (!written || removed.iter().any(|gone| below(gone, &place.steps))),
        };
        if follows {
            return None;
        }
        if let Some(name) = missing {
            errors.push(lacking(subject, &lookup, &place, &name, &removed));
            return None;
        }
        errors.push(describe(subject, &lookup, &place, &error));
        let mut gone = place.steps.clone();
        if let Some(key) = unknown_key(&place, &error.message) {
            gone = with_key(&gone, &key);
        }
        // What the key was most likely meant to be need not be reported as missing.
        if let (Some(key), Some((_, around))) =
            (serde_messages::quoted_after(&error.message, "unknown field "), gone.split_last())
        {
            let known = serde_messages::expected_names(&error.message);
            removed.extend(nearest(&key, known.iter().map(String::as_str)).map(|near| with_key(around, near)));
        }
        if gone.is_empty() || !remove(&mut tree, &gone) {
            return None;
        }
        removed.push(gone);
        if errors.len() > MOST {
            return None;
        }
        match parse(tree.to_json()) {
            Ok(_) => return None,
            Err(next) => error = next,
        }
    }
}

/// Where a path of serde leads in a tree.
struct Place<'t> {
    steps: Vec<Step>,
    key_span: Option<Span>,
    value: &'t Tree,
    /// What of the path is not written in the tree.
    rest: String,
}

fn locate<'t>(tree: &'t Tree, path: &str) -> Place<'t> {
    let mut place = Place { steps: Vec::new(), key_span: None, value: tree, rest: path.to_owned() };
    while !place.rest.is_empty() {
        let rest = place.rest.trim_start_matches('.');
        let after = match &place.value.data {
            Data::Map(entries) => {
                // A key may itself hold dots, so the longest that fits is meant.
                let fits =
                    |key: &str| rest.strip_prefix(key).is_some_and(|r| r.is_empty() || r.starts_with(['.', '[']));
                let fitting = entries.iter().filter(|entry| fits(&entry.key));
                let Some(entry) = fitting.max_by_key(|entry| entry.key.len()) else { break };
                place.steps.push(Step::Key(entry.key.clone()));
                place.key_span = Some(entry.key_span);
                place.value = &entry.value;
                &rest[entry.key.len()..]
            }
            Data::List(items) => {
                let index = rest.strip_prefix('[').and_then(|r| r.split_once(']'));
                let Some((index, after)) = index.and_then(|(index, after)| Some((index.parse().ok()?, after))) else {
                    break;
                };
                let Some(item) = items.get(index) else { break };
                place.steps.push(Step::Index(index));
                place.value = item;
                after
            }
            // A choice without a body (`split: random`): serde names the choice, YAML has only its text.
            Data::Scalar(value) if value.as_str() == Some(rest) => "",
            Data::Scalar(_) => break,
        };
        place.rest = after.to_owned();
    }
    place
}

fn with_key(steps: &[Step], key: &str) -> Vec<Step> {
    steps.iter().cloned().chain([Step::Key(key.to_owned())]).collect()
}

/// The unknown key of a message, when the path stops at the mapping around it.
fn unknown_key(place: &Place, message: &str) -> Option<String> {
    let name = serde_messages::quoted_after(message, "unknown field ")?;
    place.value.get(&name).is_some().then_some(name)
}

fn remove(tree: &mut Tree, steps: &[Step]) -> bool {
    let Some((first, rest)) = steps.split_first() else { return false };
    match (&mut tree.data, first) {
        (Data::Map(entries), Step::Key(key)) => {
            let Some(at) = entries.iter().position(|entry| entry.key == *key) else { return false };
            if rest.is_empty() {
                entries.remove(at);
                return true;
            }
            remove(&mut entries[at].value, rest)
        }
        (Data::List(items), Step::Index(index)) if *index < items.len() => {
            if rest.is_empty() {
                items.remove(*index);
                return true;
            }
            remove(&mut items[*index], rest)
        }
        _ => false,
    }
}

fn below(path: &[Step], above: &[Step]) -> bool {
    path.len() > above.len() && path.starts_with(above)
}

/// `` `llm.gguf` `` or, for the block itself, the subject's own words. A value of a list goes without its position, which
/// shifts when values before it are taken out.
fn name_of(subject: &Subject, steps: &[Step]) -> String {
    match steps {
        [] => subject.what.to_owned(),
        [list @ .., Step::Index(_)] => format!("a value of `{}`", dotted(list)),
        _ => format!("`{}`", dotted(steps)),
    }
}

fn lacking(subject: &Subject, lookup: &SchemaLookup, place: &Place, name: &str, removed: &[Vec<Step>]) -> Diagnostic {
    let mut names = lookup.required(&place.steps);
    names.retain(|key| place.value.get(key).is_none() && !removed.contains(&with_key(&place.steps, key)));
    if !names.iter().any(|key| key == name) {
        names = vec![name.to_owned()];
    }
    let span = place.key_span.unwrap_or(if place.steps.is_empty() { subject.key_span } else { place.value.span });
    let list = listed(names.iter().map(String::as_str));
    let fault = Diagnostic::at(span, format!("{} lacks {list}", name_of(subject, &place.steps)));
    let about = |key: &String| Some(format!("`{key}`: {}", lookup.about(&with_key(&place.steps, key))?));
    let lines: Vec<String> = names.iter().filter_map(about).collect();
    if lines.is_empty() { fault } else { fault.help(lines.join("\n")) }
}

fn describe(subject: &Subject, lookup: &SchemaLookup, place: &Place, error: &ConfigError) -> Diagnostic {
    let message = error.message.as_str();
    if let Some(name) = serde_messages::quoted_after(message, "unknown field ") {
        let inside = place.value.get(&name);
        let around =
            if inside.is_some() { &place.steps[..] } else { &place.steps[..place.steps.len().saturating_sub(1)] };
        let what = name_of(subject, around);
        let span = inside.map(|entry| entry.key_span).or(place.key_span).unwrap_or(place.value.span);
        let known = serde_messages::expected_names(message);
        let names = || known.iter().map(String::as_str);
        let allowed = || match known.is_empty() {
            true => format!("{what} takes no keys"),
            false => format!("{what} takes {}", listed(names())),
        };
        return Diagnostic::at(span, format!("unknown key `{name}` in {what}")).suggest(&name, names(), allowed);
    }
    if message.starts_with(secret::RULE) {
        // What stands there may be the secret itself, so the line is shown without it.
        let what = name_of(subject, &place.steps);
        return Diagnostic::at(place.value.span, format!("{what} {message}"))
            .help("the value of a secret is never written down")
            .masked();
    }
    if place.value.text().is_some_and(secret::is_reference) {
        return secrets::refused(subject, lookup, &place.steps, place.value.span);
    }
    let what = name_of(subject, &place.steps);
    if let Some(name) = serde_messages::quoted_after(message, "unknown variant ") {
        let span = place.value.get(&name).map_or(place.value.span, |entry| entry.key_span);
        let known = serde_messages::expected_names(message);
        let names = || known.iter().map(String::as_str);
        let fault = Diagnostic::at(span, format!("`{name}` is no choice for {what}"));
        return fault.suggest(&name, names(), || format!("{what} is one of {}", listed(names())));
    }
    let span = if place.steps.is_empty() { subject.key_span } else { place.value.span };
    if let Some(name) = place.value.text().filter(|_| message.ends_with(" variant")) {
        let body: Vec<String> =
            lookup.required(&with_key(&place.steps, name)).iter().map(|key| format!("{key}: …")).collect();
        let body = if body.is_empty() { "…".to_owned() } else { body.join(", ") };
        return Diagnostic::at(span, format!("the choice `{name}` of {what} needs a block"))
            .help(format!("write `{{ {name}: {{ {body} }} }}`"));
    }
    let text = match serde_messages::wanted(message) {
        Some(wanted) if serde_messages::is_large_number(place.value.text()) => {
            format!("{what} takes {wanted}, and this number is too large")
        }
        Some(wanted) => format!("{what} takes {wanted}, not {}", place.value.noun()),
        // The path of a check may name a value that the file leaves at its default.
        None if place.rest.is_empty() => format!("{what}: {message}"),
        None => format!("`{}`: {message}", error.path),
    };
    let fault = Diagnostic::at(span, text);
    let choices = if serde_messages::is_choice(message) { lookup.choices(&place.steps) } else { Vec::new() };
    if !choices.is_empty() {
        return fault.help(format!("{what} is one of {}", listed(choices.iter().map(String::as_str))));
    }
    let about = if place.steps.is_empty() { None } else { lookup.about(&place.steps) };
    let example = if place.rest.is_empty() { lookup.example(&place.steps) } else { None };
    let example = example.filter(|_| serde_messages::wanted(message).is_some());
    match (about, example) {
        (Some(about), Some(example)) => fault.help(format!("{what}: {about}; for example `{example}`")),
        (Some(about), None) => fault.help(format!("{what}: {about}")),
        (None, Some(example)) => fault.help(format!("for example `{example}`")),
        (None, None) => fault,
    }
}
