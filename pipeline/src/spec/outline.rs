//! What can be said of an experiment before it is checked, and of a stage kind: names, for completion in a shell.

use std::path::Path;

use super::shape::Shape;
use super::tree;
use crate::StageKind;

/// The names under `stages`, also of an experiment with faults.
pub(crate) fn stage_names(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let root = tree::parse(&text, 0, 0, &mut Vec::new());
    let stages = root.as_ref().and_then(|root| root.get("stages")).map_or(&[][..], |entry| entry.value.entries());
    stages.iter().map(|entry| entry.key.clone()).collect()
}

/// The fields of a kind's config, each with the first sentence of its documentation.
pub(crate) fn fields(kind: &StageKind) -> Vec<(String, String)> {
    Shape::new(&|generator| (kind.schema)(generator)).fields()
}
