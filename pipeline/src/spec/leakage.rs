//! Inputs that a stage wants kept apart: what comes into one must not have been made with what comes into another.

use std::collections::BTreeSet;

use super::inputs::PortBinding;
use super::node::{Edge, Node};
use crate::NoLeakage;
use crate::diagnostic::Diagnostic;

/// What is wrong with the inputs of a node of `stage`; `above` holds the nodes that they come from.
pub(crate) fn fault(
    stage: &str,
    rule: &NoLeakage,
    inputs: &[(String, Vec<Edge>)],
    bindings: &[PortBinding],
    above: &[Node],
) -> Option<Diagnostic> {
    let edges = |port: &str| inputs.iter().find(|(name, _)| name == port).map_or(&[][..], |(_, edges)| edges);
    let hidden = Hidden::of(edges(rule.port), rule, above);
    let (edge, seen) = edges(rule.from).iter().find_map(|edge| Some((edge, hidden.meets(edge, rule, above)?)))?;
    let binding = bindings.iter().find(|binding| binding.port.name == rule.from)?;
    let (part, itself) = (!hidden.own.contains(&seen), (edge.node, edge.port) == seen);
    let (name, seen) = (&above[edge.node].stage, format!("{}.{}", above[seen.0].stage, seen.1));
    let reference =
        binding.references.iter().find(|reference| reference.output == edge.port && reference.name == edge.name)?;
    let (port, why) = (rule.port, rule.why);
    let message = match part {
        true => format!("`{name}.{}` was made with `{seen}`, of which `{stage}.{port}` is a part: {why}", edge.port),
        false if itself => format!("`{seen}` stands at `{stage}.{port}` too: {why}"),
        false => format!("`{name}.{}` was made with `{seen}`, which is `{stage}.{port}`: {why}", edge.port),
    };
    Some(Diagnostic::at(reference.span, message).help(rule.help))
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
    fn of(edges: &'a [Edge], rule: &NoLeakage, above: &'a [Node]) -> Self {
        let mut hidden = Self { own: edges.iter().map(|edge| (edge.node, edge.port)).collect(), ..Self::default() };
        let Some(kind) = rule.drawn_from else { return hidden };
        let mut open: Vec<usize> = edges.iter().map(|edge| edge.node).collect();
        while let Some(node) = open.pop() {
            if hidden.drew.insert(node) {
                for edge in above[node].inputs.iter().flat_map(|(_, edges)| edges) {
                    let outputs = (above[edge.node].kind.outputs)();
                    if outputs.iter().any(|output| output.name == edge.port && output.kind == kind) {
                        hidden.whole.insert((edge.node, edge.port));
                    }
                    open.push(edge.node);
                }
            }
        }
        hidden
    }

    /// The first of these outputs among what an artifact was made with, itself included.
    fn meets(&self, edge: &Edge, rule: &NoLeakage, above: &'a [Node]) -> Option<(usize, &'a str)> {
        let mut open = vec![(edge.node, edge.port, rule.through.is_empty())];
        let mut seen = BTreeSet::new();
        while let Some((node, port, counts)) = open.pop() {
            let at = (node, port);
            if counts && (self.own.contains(&at) || self.whole.contains(&at)) {
                return Some(at);
            }
            // Another output of a node that was seen has the same ancestors; what is above a node that drew is met on its way.
            if !self.drew.contains(&node) && seen.insert((node, counts)) {
                for (name, edges) in &above[node].inputs {
                    if !rule.except.contains(&name.as_str()) {
                        let counts = counts || rule.through.contains(&name.as_str());
                        open.extend(edges.iter().map(|edge| (edge.node, edge.port, counts)));
                    }
                }
            }
        }
        None
    }
}
