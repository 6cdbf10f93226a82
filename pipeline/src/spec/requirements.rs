//! Settings that want an input, and settings that leave no room for one.

use super::node::Edge;
use super::stage_block::StageBlock;
use super::tree::Tree;
use crate::Requirement;
use crate::diagnostic::{Diagnostic, Span};

/// What is wrong between the settings of a stage and its inputs; `with` is its config as written.
pub(crate) fn fault(
    block: &StageBlock,
    requirement: &Requirement,
    with: &Tree,
    inputs: &[(String, Vec<Edge>)],
) -> Option<Diagnostic> {
    let connected = inputs.iter().any(|(port, edges)| port == requirement.port && !edges.is_empty());
    if connected == requirement.connected {
        return None;
    }
    let (stage, setting, port) = (block.name, requirement.setting, requirement.port);
    let written = place(with, setting);
    let message = match (connected, written) {
        (false, _) => format!("`{stage}` has no input `{port}`, which `{setting}` requires: {}", requirement.why),
        (true, Some(_)) => {
            format!("`{setting}` cannot be set where `{stage}` has an input `{port}`: {}", requirement.why)
        }
        (true, None) => {
            format!("`{stage}` has an input `{port}`, which `{setting}` leaves unused: {}", requirement.why)
        }
    };
    let span = written.unwrap_or_else(|| block.span_of(block.inputs));
    Some(Diagnostic::at(span, message).help(requirement.help))
}

/// Where a setting is written, or else what of its path is; none where it has its default.
fn place(with: &Tree, setting: &str) -> Option<Span> {
    let mut here = with;
    let mut found = None;
    for key in setting.split('.') {
        let Some(entry) = here.get(key) else { break };
        found = Some(entry.key_span);
        here = &entry.value;
    }
    found
}
