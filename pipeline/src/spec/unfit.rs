//! Inputs whose type fits and which have no place all the same, by the kind of stage that made them.

use super::build::Built;
use super::inputs::Wire;
use crate::Unfit;
use crate::diagnostic::Diagnostic;

/// What is wrong with the inputs of `stage`, shown at the reference; `above` holds the stages that they come from.
pub(crate) fn fault(stage: &str, unfit: &Unfit, wires: &[Wire], above: &[Built]) -> Option<Diagnostic> {
    let made_by = |at: usize| above[at].kind.map(|kind| kind.kind);
    let mut feeds = wires.iter().filter(|wire| wire.port.name == unfit.port).flat_map(|wire| &wire.feeds);
    let feed = feeds.find(|feed| made_by(feed.stage) == Some(unfit.made_by))?;
    let (name, port, kind, why) = (&above[feed.stage].name, unfit.port, unfit.made_by, unfit.why);
    let message = format!("`{name}.{}` is made by {kind} and has no place at `{stage}.{port}`: {why}", feed.output);
    Some(Diagnostic::at(feed.span, message).help(unfit.help))
}
