//! Inputs whose type fits and which have no place all the same, by the kind of stage that made them.

use super::inputs::PortBinding;
use super::stage_decl::StageDecl;
use crate::ForbiddenSource;
use crate::diagnostic::Diagnostic;

/// What is wrong with the inputs of `stage`, shown at the reference; `above` holds the stages that they come from.
pub(crate) fn fault(
    stage: &str,
    rule: &ForbiddenSource,
    bindings: &[PortBinding],
    above: &[StageDecl],
) -> Option<Diagnostic> {
    let made_by = |at: usize| above[at].kind.map(|kind| kind.kind);
    let mut references =
        bindings.iter().filter(|binding| binding.port.name == rule.port).flat_map(|binding| &binding.references);
    let reference = references.find(|reference| made_by(reference.stage) == Some(rule.made_by))?;
    let (name, port, kind, why) = (&above[reference.stage].name, rule.port, rule.made_by, rule.why);
    let message =
        format!("`{name}.{}` is made by {kind} and has no place at `{stage}.{port}`: {why}", reference.output);
    Some(Diagnostic::at(reference.span, message).help(rule.help))
}
