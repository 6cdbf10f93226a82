//! Settings that want an input, and settings that leave no room for one.

use super::Link;
use super::block::Block;
use super::tree::Tree;
use crate::Wants;
use crate::diagnostic::{Diagnostic, Span};

/// What is wrong between the settings of a stage and its inputs; `with` is its config as written.
pub(crate) fn fault(block: &Block, wants: &Wants, with: &Tree, inputs: &[(String, Vec<Link>)]) -> Option<Diagnostic> {
    let connected = inputs.iter().any(|(port, links)| port == wants.port && !links.is_empty());
    if connected == wants.connected {
        return None;
    }
    let (stage, setting, port) = (block.name, wants.setting, wants.port);
    let message = match connected {
        false => format!("`{stage}` has no input `{port}`, which `{setting}` wants: {}", wants.why),
        true => format!("`{stage}` has an input `{port}`, beside which `{setting}` has no place: {}", wants.why),
    };
    let span = place(with, setting).unwrap_or_else(|| block.span_of(block.inputs));
    Some(Diagnostic::at(span, message).help(wants.help))
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
