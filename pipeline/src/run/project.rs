//! What `plan`, `explain` and `run` have in common: an experiment, its store and its assets, and how a node's key and the
//! reason of a miss come from them.

use std::collections::BTreeSet;

use super::assets::Assets;
use crate::MissReason;
use crate::asset::Resolved;
use crate::key::{Input, KeyMaterial};
use crate::key_changes::reason_of;
use crate::spec::{Edge, Experiment, Node};
use crate::store::{Entry, Lookup, Store};

/// An experiment together with what its results are kept in and made from.
pub(crate) struct Project<'a> {
    pub experiment: &'a Experiment,
    pub store: Store,
    pub assets: Assets<'a>,
}

impl Project<'_> {
    pub fn node(&self, index: usize) -> &Node {
        &self.experiment.nodes[index]
    }

    /// The nodes that a node needs.
    pub fn needs(&self, index: usize) -> BTreeSet<usize> {
        self.node(index).inputs.iter().flat_map(|(_, edges)| edges).map(|edge| edge.node).collect()
    }

    /// `wanted` and everything that they need, all the way up.
    pub fn with_needs(&self, wanted: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut all = wanted.clone();
        // Needs come before what needs them, so that one pass from the end finds them all.
        for index in (0..self.experiment.nodes.len()).rev() {
            if all.contains(&index) {
                all.extend(self.needs(index));
            }
        }
        all
    }

    /// The key material of a node, given its assets and the digest behind each edge.
    pub fn material(
        &self,
        index: usize,
        assets: &[(String, Resolved)],
        digest: &dyn Fn(&Edge) -> String,
    ) -> KeyMaterial {
        let node = self.node(index);
        let assets: Vec<_> = assets.iter().map(|(name, found)| (name.clone(), found.digest.clone())).collect();
        let inputs = |port: &str| {
            let edges = edges(node, port).iter();
            edges.map(|edge| Input { name: edge.name.clone(), cell: edge.cell.clone(), digest: digest(edge) }).collect()
        };
        KeyMaterial::new(node.kind, &*node.config, &assets, &inputs)
    }

    /// Why a node has to run, `found` being what the store said of its key.
    pub fn reason(&self, index: usize, material: &KeyMaterial, found: &Lookup) -> anyhow::Result<MissReason> {
        if let Lookup::Damaged(port) = found {
            return Ok(MissReason::Corrupt { port: port.clone() });
        }
        let Some(last) = self.last_entry(index)? else { return Ok(MissReason::New) };
        let names: Vec<_> = self.node(index).config.assets().into_iter().map(|name| name.0).collect();
        Ok(reason_of(&last.material, material, &names))
    }

    /// The entry of the last result that went by the node's name.
    pub fn last_entry(&self, index: usize) -> anyhow::Result<Option<Entry>> {
        match self.store.latest(&self.experiment.name, &self.node(index).id)? {
            Some(last) => self.store.entry(&last.key),
            None => Ok(None),
        }
    }
}

/// What is connected to a port.
pub(crate) fn edges<'a>(node: &'a Node, port: &str) -> &'a [Edge] {
    node.inputs.iter().find(|(name, _)| name == port).map_or(&[], |(_, edges)| edges)
}
