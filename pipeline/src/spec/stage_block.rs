//! One entry of `stages`: its keys.

use super::config::read_config;
use super::document::{has_typo_of, only};
use super::search::Search;
use super::subject::Subject;
use super::sweep::{self, Axis};
use super::tree::{Data, Entry};
use crate::config_error::read_strictly;
use crate::diagnostic::{Diagnostic, Span, listed};
use crate::resources::Resources;
use crate::{Catalog, ConfigError, Device, StageKind};

/// What may stand in a stage.
pub(crate) const STAGE_KEYS: &[&str] = &["use", "device", "resources", "inputs", "with", SWEEP, SEARCH];
/// The key of a sweep.
pub(crate) const SWEEP: &str = "sweep";
/// The key of a random search.
pub(crate) const SEARCH: &str = "search";

/// A stage as written; what is wrong or absent is left out, after it was reported.
pub(crate) struct StageBlock<'t> {
    pub name: &'t str,
    pub name_span: Span,
    pub kind: Option<&'static StageKind>,
    /// Where it is to train, if the file says so.
    pub device: Option<Device>,
    /// What it asks of the machine that works on it.
    pub resources: Resources,
    pub inputs: Option<&'t Entry>,
    /// `inputs` is written, but not as a mapping: then nothing is said about what it lacks.
    pub inputs_broken: bool,
    pub with: Option<&'t Entry>,
    /// As `inputs_broken`, for the config.
    pub with_broken: bool,
    pub axes: Vec<Axis<'t>>,
    pub search: Option<Search<'t>>,
}

impl<'t> StageBlock<'t> {
    pub fn read(entry: &'t Entry, catalog: &'static Catalog, errors: &mut Vec<Diagnostic>) -> Self {
        let of = format!("stage `{}`", entry.key);
        let mut block = Self {
            name: &entry.key,
            name_span: entry.key_span,
            kind: None,
            device: None,
            resources: Resources::default(),
            inputs: None,
            inputs_broken: false,
            with: None,
            with_broken: false,
            axes: Vec::new(),
            search: None,
        };
        if !matches!(entry.value.data, Data::Map(_)) && !entry.value.is_null() {
            let fault = Diagnostic::at(entry.value.span, format!("{of} takes a mapping, not {}", entry.value.noun()));
            errors.push(fault.help(format!("write `{}: {{ use: KIND, inputs: {{ … }}, with: {{ … }} }}`", entry.key)));
            return block;
        }
        only(&entry.value, &of, STAGE_KEYS, errors);
        block.kind = kind(entry, &of, catalog, errors);
        block.device = device(entry, block.kind, catalog, errors);
        block.resources = resources(entry, &of, errors).unwrap_or_default();
        block.inputs = mapping(entry, "inputs", errors);
        block.inputs_broken = block.inputs.is_none() && entry.value.get("inputs").is_some();
        block.with = mapping(entry, "with", errors);
        block.with_broken = block.with.is_none() && entry.value.get("with").is_some();
        if let Some(swept) = mapping(entry, SWEEP, errors) {
            block.axes = sweep::axes(swept, block.with, errors);
        }
        if let Some(search) = mapping(entry, SEARCH, errors).filter(|search| !search.value.is_null()) {
            block.search = Search::read(search, block.with, &block.axes, errors);
        }
        block
    }

    /// Where to point when something of `key` is absent.
    pub fn span_of(&self, key: Option<&Entry>) -> Span {
        key.map_or(self.name_span, |entry| entry.key_span)
    }
}

fn mapping<'t>(stage: &'t Entry, key: &str, errors: &mut Vec<Diagnostic>) -> Option<&'t Entry> {
    let entry = stage.value.get(key)?;
    if matches!(entry.value.data, Data::Map(_)) || entry.value.is_null() {
        return Some(entry);
    }
    errors.push(Diagnostic::at(entry.value.span, format!("`{key}` takes a mapping, not {}", entry.value.noun())));
    None
}

fn kind(
    stage: &Entry,
    of: &str,
    catalog: &'static Catalog,
    errors: &mut Vec<Diagnostic>,
) -> Option<&'static StageKind> {
    let known = || catalog.stages.iter().map(|row| row.kind);
    let all = || format!("the stage kinds are {}", listed(known()));
    let Some(entry) = stage.value.get("use") else {
        if !has_typo_of(&stage.value, "use", STAGE_KEYS) {
            errors.push(Diagnostic::at(stage.key_span, format!("{of} has no `use`")).help(all()));
        }
        return None;
    };
    let Some(name) = entry.value.text() else {
        let message = format!("`use` takes the name of a stage kind, not {}", entry.value.noun());
        errors.push(Diagnostic::at(entry.value.span, message).help(all()));
        return None;
    };
    let found = catalog.stage(name);
    if found.is_none() {
        let fault = Diagnostic::at(entry.value.span, format!("there is no stage kind `{name}`"));
        let (family, own) = name.split_once('.').unwrap_or((name, ""));
        let members = catalog.family(family);
        errors.push(match members.is_empty() {
            true => fault.suggest(name, known(), all),
            false if own.is_empty() => fault.help(format!("`{family}` is a family of kinds: {}", listed(members))),
            false => fault.suggest(name, known(), || format!("the kinds of `{family}` are {}", listed(members))),
        });
    }
    found
}

/// Reads `resources`.
fn resources(stage: &Entry, of: &str, errors: &mut Vec<Diagnostic>) -> Option<Resources> {
    let entry = mapping(stage, "resources", errors)?;
    let what = format!("`resources` of {of}");
    let subject =
        Subject { what: &what, key_span: entry.key_span, schema: &|generator| generator.subschema_for::<Resources>() };
    let parse = |value| {
        let read: Resources = read_strictly(value)?;
        read.check().map_err(|(field, message)| ConfigError { path: field.into(), message })?;
        Ok(read)
    };
    read_config(&subject, entry.value.clone(), parse, errors)
}

/// Reads `device`; refused where nothing is trained, and where this program could not use it.
fn device(stage: &Entry, kind: Option<&StageKind>, catalog: &Catalog, errors: &mut Vec<Diagnostic>) -> Option<Device> {
    let entry = stage.value.get("device")?;
    let fault = |message: String| Diagnostic::at(entry.value.span, message);
    let read = match entry.value.text() {
        Some(text) => text.parse::<Device>(),
        None => Err(format!("`device` takes the name of a device, not {}", entry.value.noun())),
    };
    match (read, kind) {
        (Err(message), _) => errors.push(fault(message).help("for example `device: cuda`")),
        (Ok(_), Some(kind)) if !kind.uses_device => {
            let training = catalog.stages.iter().filter(|row| row.uses_device).map(|row| row.kind);
            let message = format!("{} trains nothing, so it has no device", kind.kind);
            errors.push(
                fault(message).help(format!("leave it out here; the stage kinds that train: {}", listed(training))),
            );
        }
        (Ok(device), _) => match catalog.devices.lacks(device) {
            Some((message, help)) => errors.push(fault(message).help(help)),
            None => return Some(device),
        },
    }
    None
}
