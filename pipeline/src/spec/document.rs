//! The keys of the file itself: `name`, `assets`, `stages`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config::read_config;
use super::secrets;
use super::subject::Subject;
use super::tree::{Data, Entry, Tree};
use crate::Catalog;
use crate::asset::AssetSpec;
use crate::config_error::{ConfigError, read_strictly};
use crate::diagnostic::{Diagnostic, Span, listed, nearest};

/// What may stand at the top.
pub(crate) const TOP_KEYS: &[&str] = &["name", "assets", "stages"];
/// The folders that the store makes beside the experiments' own.
const TAKEN: &[&str] = &["store"];
pub(crate) const NAME_RULE: &str =
    "use up to 64 lower-case letters, digits, `_` and `-`, and begin with a letter or digit";
/// Names become names of files, which end at 255 bytes: a stage's together with that of its cell.
pub(crate) const LONGEST: usize = 64;

/// Whether a name can stand in a reference, a folder and a table alike.
fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= LONGEST && text.starts_with(plain) && text.chars().all(|c| plain(c) || c == '_' || c == '-')
}

/// Whether an experiment can have this name.
pub(crate) fn is_experiment(text: &str) -> bool {
    is_name(text) && !TAKEN.contains(&text)
}

/// Reports every key of a mapping that is not in `keys`.
pub(crate) fn only(tree: &Tree, of: &str, keys: &[&str], errors: &mut Vec<Diagnostic>) {
    for entry in tree.entries().iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
        let fault = Diagnostic::at(entry.key_span, format!("unknown key `{}` in {of}", entry.key));
        errors.push(
            fault.suggest(&entry.key, keys.iter().copied(), || format!("{of} takes {}", listed(keys.iter().copied()))),
        );
    }
}

/// Whether an unknown key was most likely meant to be `key`, so that its absence need not be reported as well.
pub(crate) fn has_typo_of(tree: &Tree, key: &str, keys: &[&str]) -> bool {
    let unknown = tree.entries().iter().filter(|entry| !keys.contains(&entry.key.as_str()));
    unknown.into_iter().any(|entry| nearest(&entry.key, keys.iter().copied()) == Some(key))
}

/// The entries of a mapping whose keys are names of the file's own choosing; every bad name is reported.
pub(crate) fn named<'t>(entry: &'t Entry, what: &str, errors: &mut Vec<Diagnostic>) -> &'t [Entry] {
    if !matches!(entry.value.data, Data::Map(_)) && !entry.value.is_null() {
        let message = format!("`{}` takes a mapping of names, not {}", entry.key, entry.value.noun());
        errors.push(Diagnostic::at(entry.value.span, message));
    }
    for row in entry.value.entries().iter().filter(|row| !is_name(&row.key)) {
        errors.push(Diagnostic::at(row.key_span, format!("`{}` is no name for {what}", row.key)).help(NAME_RULE));
    }
    entry.value.entries()
}

/// Reads `name`; an empty text when it is missing or wrong.
pub(crate) fn name(root: &Tree, start: Span, errors: &mut Vec<Diagnostic>) -> String {
    let Some(entry) = root.get("name") else {
        if !has_typo_of(root, "name", TOP_KEYS) {
            let fault = Diagnostic::at(start, "the experiment has no `name`");
            errors.push(fault.help("add `name: my-experiment` at the top; its results go to the folder of that name"));
        }
        return String::new();
    };
    match entry.value.text() {
        Some(text) if TAKEN.contains(&text) => {
            errors.push(Diagnostic::at(entry.value.span, format!("the name `{text}` is taken by the store itself")));
        }
        Some(text) if is_name(text) => return text.to_owned(),
        Some(text) => {
            let fault = Diagnostic::at(entry.value.span, format!("`{text}` is no name for an experiment"));
            errors.push(fault.help(NAME_RULE));
        }
        None => {
            let message = format!("`name` takes a text, not {}", entry.value.noun());
            errors.push(Diagnostic::at(entry.value.span, message).help(NAME_RULE));
        }
    }
    String::new()
}

/// Reads `assets`.
pub(crate) fn assets(root: &Tree, catalog: &Catalog, errors: &mut Vec<Diagnostic>) -> BTreeMap<String, AssetSpec> {
    let mut assets = BTreeMap::new();
    let Some(block) = root.get("assets") else { return assets };
    for entry in named(block, "an asset", errors) {
        let what = format!("asset `{}`", entry.key);
        let subject = Subject { what: &what, key_span: entry.key_span, schema: &|g| g.subschema_for::<AssetSpec>() };
        let parse = |value: Value| {
            let spec: AssetSpec = read_strictly(value)?;
            spec.check().map_err(|(path, message)| ConfigError { path, message })?;
            Ok(spec)
        };
        if let Some(spec) = read_config(&subject, entry.value.clone(), parse, errors) {
            secrets::find(&subject, &entry.value, errors);
            check_generators(entry, catalog, errors);
            assets.insert(entry.key.clone(), spec);
        }
    }
    assets
}

/// Where each asset is written: its first `path`, which a person may have to correct, else its name.
pub(crate) fn asset_spans(root: &Tree) -> BTreeMap<String, Span> {
    let path = |asset: &Entry| match &asset.value.get("from")?.value.data {
        Data::List(sources) => sources.iter().find_map(|source| Some(source.get("path")?.value.span)),
        _ => None,
    };
    let entries = root.get("assets").map_or(&[][..], |block| block.value.entries());
    entries.iter().map(|asset| (asset.key.clone(), path(asset).unwrap_or(asset.key_span))).collect()
}

/// Reports generators that the program does not have.
fn check_generators(asset: &Entry, catalog: &Catalog, errors: &mut Vec<Diagnostic>) {
    let Some(Data::List(sources)) = asset.value.get("from").map(|from| &from.value.data) else { return };
    for value in sources.iter().filter_map(|source| Some(&source.get("generate")?.value)) {
        let Some(name) = value.text() else { continue };
        let known = || catalog.generators.iter().map(|row| row.name);
        if !known().any(|generator| generator == name) {
            let fault = Diagnostic::at(value.span, format!("there is no generator `{name}`"));
            errors.push(fault.suggest(name, known(), || format!("the generators are {}", listed(known()))));
        }
    }
}
