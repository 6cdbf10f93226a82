//! Inputs that a stage wants kept apart: what comes into one must not have been made with what comes into another.

use std::collections::BTreeSet;

use super::inputs::Wire;
use super::{Link, Node};
use crate::Apart;
use crate::diagnostic::Diagnostic;

/// What is wrong with the inputs of a node of `stage`; `above` holds the nodes that they come from.
pub(crate) fn fault(
    stage: &str,
    apart: &Apart,
    inputs: &[(String, Vec<Link>)],
    wires: &[Wire],
    above: &[Node],
) -> Option<Diagnostic> {
    let links = |port: &str| inputs.iter().find(|(name, _)| name == port).map_or(&[][..], |(_, links)| links);
    let hidden: Vec<(usize, &str)> = links(apart.port).iter().map(|link| (link.node, link.port)).collect();
    let (link, seen) = links(apart.from).iter().find_map(|link| Some((link, meets(link, &hidden, apart, above)?)))?;
    let wire = wires.iter().find(|wire| wire.port.name == apart.from)?;
    let (name, seen) = (&above[link.node].stage, format!("{}.{}", above[seen.0].stage, seen.1));
    let feed = wire.feeds.iter().find(|feed| feed.output == link.port && feed.name == link.name)?;
    let message = match (link.node, link.port) == (hidden[0].0, hidden[0].1) {
        true => format!("`{seen}` stands at `{stage}.{}` too: {}", apart.port, apart.why),
        false => {
            format!("`{name}.{}` was made with `{seen}`, which is `{stage}.{}`: {}", link.port, apart.port, apart.why)
        }
    };
    Some(Diagnostic::at(feed.span, message).help(apart.help))
}

/// The first of the `hidden` outputs among what an artifact was made with, itself included.
fn meets<'h>(link: &Link, hidden: &[(usize, &'h str)], apart: &Apart, above: &[Node]) -> Option<(usize, &'h str)> {
    let mut open = vec![(link.node, link.port)];
    let mut seen = BTreeSet::new();
    while let Some(at) = open.pop() {
        if let Some(found) = hidden.iter().find(|hidden| **hidden == at) {
            return Some(*found);
        }
        // Another output of a node that was seen has the same ancestors.
        if seen.insert(at.0) {
            let ports = above[at.0].inputs.iter().filter(|(port, _)| !apart.except.contains(&port.as_str()));
            open.extend(ports.flat_map(|(_, links)| links).map(|link| (link.node, link.port)));
        }
    }
    None
}
