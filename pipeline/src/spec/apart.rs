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
    let hidden = Hidden::of(links(apart.port), apart, above);
    let (link, seen) = links(apart.from).iter().find_map(|link| Some((link, hidden.meets(link, apart, above)?)))?;
    let wire = wires.iter().find(|wire| wire.port.name == apart.from)?;
    let (part, itself) = (!hidden.own.contains(&seen), (link.node, link.port) == seen);
    let (name, seen) = (&above[link.node].stage, format!("{}.{}", above[seen.0].stage, seen.1));
    let feed = wire.feeds.iter().find(|feed| feed.output == link.port && feed.name == link.name)?;
    let (port, why) = (apart.port, apart.why);
    let message = match part {
        true => format!("`{name}.{}` was made with `{seen}`, of which `{stage}.{port}` is a part: {why}", link.port),
        false if itself => format!("`{seen}` stands at `{stage}.{port}` too: {why}"),
        false => format!("`{name}.{}` was made with `{seen}`, which is `{stage}.{port}`: {why}", link.port),
    };
    Some(Diagnostic::at(feed.span, message).help(apart.help))
}

/// Outputs that what is kept apart must not have been made with.
#[derive(Default)]
struct Hidden<'a> {
    /// Those at the port itself.
    own: Vec<(usize, &'a str)>,
    /// Those that they were drawn from.
    whole: BTreeSet<(usize, &'a str)>,
    /// The nodes that drew them.
    drew: BTreeSet<usize>,
}

impl<'a> Hidden<'a> {
    fn of(links: &'a [Link], apart: &Apart, above: &'a [Node]) -> Self {
        let mut hidden = Self { own: links.iter().map(|link| (link.node, link.port)).collect(), ..Self::default() };
        let Some(kind) = apart.drawn_from else { return hidden };
        let mut open: Vec<usize> = links.iter().map(|link| link.node).collect();
        while let Some(node) = open.pop() {
            if hidden.drew.insert(node) {
                for link in above[node].inputs.iter().flat_map(|(_, links)| links) {
                    let outputs = (above[link.node].kind.outputs)();
                    if outputs.iter().any(|output| output.name == link.port && output.kind == kind) {
                        hidden.whole.insert((link.node, link.port));
                    }
                    open.push(link.node);
                }
            }
        }
        hidden
    }

    /// The first of these outputs among what an artifact was made with, itself included.
    fn meets(&self, link: &Link, apart: &Apart, above: &'a [Node]) -> Option<(usize, &'a str)> {
        let mut open = vec![(link.node, link.port)];
        let mut seen = BTreeSet::new();
        while let Some(at) = open.pop() {
            if self.own.contains(&at) || self.whole.contains(&at) {
                return Some(at);
            }
            // Another output of a node that was seen has the same ancestors; what is above a node that drew is met on its way.
            if !self.drew.contains(&at.0) && seen.insert(at.0) {
                let ports = above[at.0].inputs.iter().filter(|(port, _)| !apart.except.contains(&port.as_str()));
                open.extend(ports.flat_map(|(_, links)| links).map(|link| (link.node, link.port)));
            }
        }
        None
    }
}
