//! Users and items go by numbers, which a stage may give anew (`filter.kcore`): what comes from before it and what comes from
//! behind it must not meet in one stage, for one number means another item in each. Sizes need not tell.

use super::inputs::Wire;
use super::{Link, Node};
use crate::StageKind;
use crate::diagnostic::{Diagnostic, listed};

/// Who gave the numbers in what the nodes above give.
pub(crate) struct Numbered<'a> {
    /// The nodes that inputs come from.
    pub above: &'a [Node],
    /// For each of them the last node to number anew; none where the numbers are those of the log as it was read.
    pub by: &'a [Option<usize>],
}

impl Numbered<'_> {
    /// The same for the next node, which is of this kind.
    pub fn of(&self, kind: &StageKind, inputs: &[(String, Vec<Link>)], wires: &[Wire]) -> Option<usize> {
        if kind.numbers_anew {
            return Some(self.above.len());
        }
        // Where they differ, that is a fault.
        self.speaking(inputs, wires).first().and_then(|(_, link)| self.by[link.node])
    }

    /// What is wrong with the inputs of a node of `stage`.
    pub fn faults(&self, stage: &str, inputs: &[(String, Vec<Link>)], wires: &[Wire]) -> Vec<Diagnostic> {
        let all = self.speaking(inputs, wires);
        // Whoever put a stage there to number anew meant what comes behind it.
        let newest = all.iter().rev().max_by_key(|(_, link)| self.by[link.node]);
        let Some(&(meant, new)) = newest else { return Vec::new() };
        let Some(by) = self.by[new.node].map(|by| &self.above[by]) else { return Vec::new() };
        let named = |link: &Link| format!("{}.{}", self.above[link.node].stage, link.port);
        let fault = |(wire, old): &(&Wire, &Link)| {
            let feed = wire.feeds.iter().find(|feed| feed.output == old.port && feed.name == old.name)?;
            let message = format!(
                "`{stage}.{}` is `{}`, but `{stage}.{}` is `{}`, for which `{}` numbered users and items anew",
                wire.port.name,
                named(old),
                meant.port.name,
                named(new),
                by.id,
            );
            let outputs = (by.kind.outputs)();
            let fitting = outputs.iter().filter(|output| output.kind == wire.port.kind);
            let fitting: Vec<String> = fitting.map(|output| format!("{}.{}", by.stage, output.name)).collect();
            let help = match &fitting[..] {
                [] => format!("connect what was made of the outputs of `{}`", by.stage),
                _ => format!("connect {}, or what was made of it", listed(fitting.iter().map(String::as_str))),
            };
            Some(Diagnostic::at(feed.span, message).help(help))
        };
        all.iter().filter(|(_, link)| self.by[link.node] != self.by[new.node]).filter_map(fault).collect()
    }

    /// The inputs that know users or items by numbers.
    fn speaking<'i>(&self, inputs: &'i [(String, Vec<Link>)], wires: &'i [Wire]) -> Vec<(&'i Wire, &'i Link)> {
        let both = inputs.iter().zip(wires).filter(|(_, wire)| wire.port.numbered);
        both.flat_map(|((_, links), wire)| links.iter().map(move |link| (wire, link))).collect()
    }
}
