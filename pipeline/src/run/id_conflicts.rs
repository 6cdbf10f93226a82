//! Inputs that number users or items differently, found before anything runs: as far as results are made already.

use std::collections::{BTreeMap, BTreeSet};

use super::project::edges;
use super::{Plan, Project};
use crate::IdSpaces;
use crate::numbered_input::{NumberedInput, agreed};

/// Whether several of the stages read ids of their own, so that inputs could number differently; found out without reading
/// anything.
pub(crate) fn may_differ(project: &Project, chosen: &BTreeSet<usize>) -> bool {
    let numbered = |ports: Vec<crate::PortSpec>| ports.iter().any(|port| port.numbered);
    let reads = |&&index: &&usize| {
        let kind = project.node(index).kind;
        numbered((kind.outputs)()) && (kind.reindexes || !numbered((kind.inputs)()))
    };
    chosen.iter().filter(reads).count() > 1
}

impl Plan {
    /// Refuses a node that has to run and whose inputs do not number alike.
    ///
    /// What is not made yet numbers as what it is made from, where its stage does not number anew. What cannot be read, or says
    /// nothing, is left to the stage.
    ///
    /// # Errors
    /// With the stage and the first two inputs that differ.
    pub fn check_ids(&self, project: &Project) -> anyhow::Result<()> {
        let mut foreseen: BTreeMap<usize, IdSpaces> = BTreeMap::new();
        for &index in self.verdicts.keys().filter(|index| !self.hits.contains_key(index)) {
            let node = project.node(index);
            let mut inputs = Vec::new();
            for port in (node.kind.inputs)().into_iter().filter(|port| port.numbered) {
                for edge in edges(node, port.name) {
                    let made = self.hits.get(&edge.node).and_then(|entry| entry.output(edge.port));
                    let spaces = match made {
                        Some(output) => (port.id_spaces)(&project.store.object(&output.digest)).unwrap_or_default(),
                        None => foreseen.get(&edge.node).cloned().unwrap_or_default(),
                    };
                    inputs.push(NumberedInput { port: port.name, name: project.node(edge.node).id.clone(), spaces });
                }
            }
            let spaces = agreed(&inputs).map_err(|error| error.context(format!("stage `{}`", node.id)))?;
            foreseen.insert(index, if node.kind.reindexes { IdSpaces::default() } else { spaces });
        }
        Ok(())
    }
}
