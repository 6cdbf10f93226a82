//! What can be said of an experiment before it is checked, and of a stage kind: names, for completion in a shell and for
//! messages about what a run left out.

use std::path::Path;

use super::schema_lookup::SchemaLookup;
use super::tree;
use crate::StageKind;

/// The names under `stages` in a file, also of an experiment with faults.
pub(crate) fn stage_names(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    stages_in(&text).into_iter().map(|(name, _)| name).collect()
}

/// The names under `stages` in the text of an experiment, each with the kind of stage, which is empty where none is written.
pub(crate) fn stages_in(text: &str) -> Vec<(String, String)> {
    let root = tree::parse(text, 0, 0, &mut Vec::new());
    let stages = root.as_ref().and_then(|root| root.get("stages")).map_or(&[][..], |entry| entry.value.entries());
    let kind = |stage: &tree::Entry| Some(stage.value.get("use")?.value.text()?.to_owned());
    stages.iter().map(|stage| (stage.key.clone(), kind(stage).unwrap_or_default())).collect()
}

/// The fields of a kind's config, each with the first sentence of its documentation.
pub(crate) fn fields(kind: &StageKind) -> Vec<(String, String)> {
    SchemaLookup::new(&|generator| (kind.schema)(generator)).fields()
}
