//! Users and items go by numbers, which a stage may give anew (`filter.kcore`): what comes from before it and what comes from
//! behind it must not meet in one stage, for one number means another item in each. Sizes need not tell.

use super::inputs::PortBinding;
use super::node::{Edge, Node};
use crate::StageKind;
use crate::diagnostic::{Diagnostic, listed};

/// Who gave the numbers in what the nodes above give.
pub(crate) struct Reindexing<'a> {
    /// The nodes that inputs come from.
    pub above: &'a [Node],
    /// For each of them the last node to number anew; none where the numbers are those of the log as it was read.
    pub by: &'a [Option<usize>],
}

impl Reindexing<'_> {
    /// The same for the next node, which is of this kind.
    pub fn of(&self, kind: &StageKind, inputs: &[(String, Vec<Edge>)], bindings: &[PortBinding]) -> Option<usize> {
        if kind.reindexes {
            return Some(self.above.len());
        }
        // Where they differ, that is a fault.
        self.speaking(inputs, bindings).first().and_then(|(_, edge)| self.by[edge.node])
    }

    /// What is wrong with the inputs of a node of `stage`.
    pub fn faults(&self, stage: &str, inputs: &[(String, Vec<Edge>)], bindings: &[PortBinding]) -> Vec<Diagnostic> {
        let all = self.speaking(inputs, bindings);
        // Whoever put a stage there to number anew meant what comes behind it.
        let newest = all.iter().rev().max_by_key(|(_, edge)| self.by[edge.node]);
        let Some(&(intended, new)) = newest else { return Vec::new() };
        let Some(by) = self.by[new.node].map(|by| &self.above[by]) else { return Vec::new() };
        let named = |edge: &Edge| format!("{}.{}", self.above[edge.node].stage, edge.port);
        let fault = |(binding, old): &(&PortBinding, &Edge)| {
            let reference = binding
                .references
                .iter()
                .find(|reference| reference.output == old.port && reference.name == old.name)?;
            let message = format!(
                "`{stage}.{}` is `{}`, but `{stage}.{}` is `{}`, for which `{}` numbered users and items anew",
                binding.port.name,
                named(old),
                intended.port.name,
                named(new),
                by.id,
            );
            let outputs = (by.kind.outputs)();
            let fitting = outputs.iter().filter(|output| output.kind == binding.port.kind);
            let fitting: Vec<String> = fitting.map(|output| format!("{}.{}", by.stage, output.name)).collect();
            let help = match &fitting[..] {
                [] => format!("connect what was made of the outputs of `{}`", by.stage),
                _ => format!("connect {}, or what was made of it", listed(fitting.iter().map(String::as_str))),
            };
            Some(Diagnostic::at(reference.span, message).help(help))
        };
        all.iter().filter(|(_, edge)| self.by[edge.node] != self.by[new.node]).filter_map(fault).collect()
    }

    /// The inputs that know users or items by numbers.
    fn speaking<'i>(
        &self,
        inputs: &'i [(String, Vec<Edge>)],
        bindings: &'i [PortBinding],
    ) -> Vec<(&'i PortBinding, &'i Edge)> {
        let both = inputs.iter().zip(bindings).filter(|(_, binding)| binding.port.numbered);
        both.flat_map(|((_, edges), binding)| edges.iter().map(move |edge| (binding, edge))).collect()
    }
}
