//! The experiment file: from YAML to a checked graph of nodes, or to all of its faults in one pass.
//!
//! The path of a file: `tree` reads YAML with places, `set` applies overrides, `renamed` refuses old words, `document` and
//! `stage_block` read the keys, `inputs` finds what refers to what, `sweep` makes cells, `config` reads each stage's own block, `build` puts nodes together.
//! Nothing here runs a stage, touches the store or looks at an asset's bytes.

mod build;
mod config;
mod cycle;
mod document;
mod example;
mod inputs;
mod leakage;
mod node;
mod outline;
mod port_references;
mod port_rules;
mod reference;
mod reindexing;
pub mod renamed;
mod requirements;
mod schema;
mod schema_lookup;
mod search;
mod secrets;
mod serde_messages;
mod set;
mod stage_block;
mod stage_decl;
mod subject;
mod sweep;
mod template;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod toy;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::asset::AssetSpec;
use crate::diagnostic::{Diagnostic, Diagnostics, MOST, Source, Span, place};
use crate::{Catalog, secret};
pub use node::{Edge, Node};
pub(crate) use outline::{fields, stage_names, stages_in};
pub(crate) use reference::{Port, Setting, StageReference, reference};
pub(crate) use renamed::Rows;
pub use schema::schema;
pub use secrets::SecretUse;
pub use template::{new_experiment, write_log_experiment, write_template};

/// A checked experiment.
pub struct Experiment {
    /// Its name, also that of its folder of results.
    pub name: String,
    /// The folder of the file; relative paths begin here.
    pub base: PathBuf,
    /// The text as read.
    pub source: String,
    /// What stages may name as assets.
    pub assets: BTreeMap<String, AssetSpec>,
    /// Where each asset is written, `x.yaml:4:10`: at its first `path`, if it has one.
    pub asset_places: BTreeMap<String, String>,
    /// In reading order, which is topological; sweeps are expanded.
    pub nodes: Vec<Node>,
    /// What it was checked against.
    pub catalog: &'static Catalog,
}

/// Reads an experiment file with `--set` overrides.
///
/// # Errors
/// Everything that is wrong with it, in one pass.
pub fn load(path: &Path, sets: &[String], catalog: &'static Catalog) -> Result<Experiment, Diagnostics> {
    let name = path.display().to_string();
    let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
    check(&name, base, read(path)?, sets, catalog)
}

/// The values of an experiment file with `--set` overrides, whether they are sound or not; secrets by their names.
///
/// # Errors
/// Where it cannot be read as YAML.
pub(crate) fn document_of(
    path: &Path,
    sets: &[String],
    catalog: &'static Catalog,
) -> Result<serde_json::Value, Diagnostics> {
    let text = read(path)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut errors = Vec::new();
    let root = tree::parse(text, 0, 0, &mut errors);
    let rows = Rows::of(catalog);
    let root = root.map(|mut root| {
        for (index, set) in sets.iter().enumerate() {
            set::apply(&mut root, set, index + 1, &rows, &mut errors);
        }
        root.to_json()
    });
    let source = || Source { name: path.display().to_string(), text: text.to_owned() };
    root.ok_or_else(|| Diagnostics::new(vec![source()], errors))
}

/// Reads the text of an experiment file.
pub(crate) fn read(path: &Path) -> Result<String, Diagnostics> {
    let source = || Source { name: path.display().to_string(), text: String::new() };
    text_of(path).map_err(|fault| Diagnostics::new(vec![source()], vec![fault]))
}

fn text_of(path: &Path) -> Result<String, Diagnostic> {
    let bytes = std::fs::read(path).map_err(|error| {
        let fault = Diagnostic::nowhere(format!("cannot read the experiment `{}`: {error}", path.display()));
        match error.kind() {
            std::io::ErrorKind::NotFound => fault.help("`apprentice init` writes an experiment to start from"),
            std::io::ErrorKind::IsADirectory => fault.help("it is a folder: give the path of an experiment file in it"),
            _ => fault.help("see that you may read it, or give the path of another file"),
        }
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|&&byte| byte == b'\n').count() + 1;
        let message = format!("line {line} of `{}` is not UTF-8 text", path.display());
        Diagnostic::nowhere(message).help("save the file as UTF-8")
    })
}

/// Reads the text of an experiment file, as [`load`] does; `name` is the file's in messages, and relative paths begin at
/// `base`.
///
/// # Errors
/// Everything that is wrong with it, in one pass.
pub fn check(
    name: &str,
    base: PathBuf,
    text: String,
    sets: &[String],
    catalog: &'static Catalog,
) -> Result<Experiment, Diagnostics> {
    // A byte order mark would count as a character of the first key.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    // Lines that end as on an old Macintosh: the parser knows them, but nobody counts or shows them so.
    let text = if text.contains('\r') && !text.contains('\n') { text.replace('\r', "\n") } else { text };
    let mut errors = Vec::new();
    let experiment = experiment(name, &text, base, sets, catalog, &mut errors);
    let mut sources = vec![Source { name: name.to_owned(), text }];
    sources.extend(sets.iter().map(|set| Source { name: "--set".into(), text: set.clone() }));
    match experiment {
        Some((mut experiment, asset_spans)) if errors.is_empty() => {
            let shown = |span| {
                let (file, line, column) = place(&sources, span);
                format!("{file}:{line}:{column}")
            };
            experiment.asset_places = asset_spans.into_iter().map(|(name, span)| (name, shown(span))).collect();
            for node in &mut experiment.nodes {
                secret::watch_all(&node.config.config());
                for secret in &mut node.secrets {
                    secret.place = shown(secret.span);
                }
            }
            Ok(experiment)
        }
        _ => Err(Diagnostics::new(sources, errors)),
    }
}

fn experiment(
    file: &str,
    text: &str,
    base: PathBuf,
    sets: &[String],
    catalog: &'static Catalog,
    errors: &mut Vec<Diagnostic>,
) -> Option<(Experiment, BTreeMap<String, Span>)> {
    let mut root = tree::parse(text, 0, 0, errors)?;
    let start = Span { source: 0, start: 0, end: text.lines().next().unwrap_or_default().len() };
    if !matches!(root.data, tree::Data::Map(_)) {
        let found = if root.is_null() { "the file is empty".into() } else { format!("the file is {}", root.noun()) };
        let fault = Diagnostic::at(start, format!("an experiment is a mapping with `name` and `stages`; {found}"));
        errors.push(fault.help("`apprentice init` writes an experiment to start from"));
        return None;
    }
    let rows = Rows::of(catalog);
    for (index, set) in sets.iter().enumerate() {
        set::apply(&mut root, set, index + 1, &rows, errors);
    }
    errors.extend(renamed::rename(&mut root, &rows).iter().take(MOST).map(|word| word.fault(file)));
    document::only(&root, "an experiment", document::TOP_KEYS, errors);
    let name = document::name(&root, start, errors);
    let assets = document::assets(&root, catalog, errors);
    let asset_names: Vec<&str> =
        root.get("assets").map_or(&[][..], |entry| entry.value.entries()).iter().map(|e| e.key.as_str()).collect();
    let nodes = match root.get("stages") {
        None => {
            if !document::has_typo_of(&root, "stages", document::TOP_KEYS) {
                let fault = Diagnostic::at(start, "the experiment has no `stages`");
                errors.push(fault.help("`apprentice init` writes an experiment to start from"));
            }
            Vec::new()
        }
        Some(block) => {
            let stages = document::named(block, "a stage", errors);
            if stages.is_empty() && (block.value.is_null() || matches!(block.value.data, tree::Data::Map(_))) {
                errors.push(Diagnostic::at(block.key_span, "`stages` is empty: there is nothing to run"));
            }
            build::nodes(stages, &asset_names, catalog, errors)
        }
    };
    let asset_places = BTreeMap::new();
    let experiment = Experiment { name, base, source: text.to_owned(), assets, asset_places, nodes, catalog };
    Some((experiment, document::asset_spans(&root)))
}
