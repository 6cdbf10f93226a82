//! `apprentice graph`.

use serde_json::{Map, Value, json};

use super::args::Graph;
use super::output::{print, print_json};
use super::session::Session;
use crate::exit::Failure;
use crate::spec::Experiment;
use crate::{Exit, graph};

pub(super) fn graph(session: &Session, args: &Graph) -> Result<Exit, Failure> {
    let experiment = session.load(&args.source)?;
    match (session.global.json, args.mermaid) {
        (true, _) => print_json(to_json(&experiment)),
        (false, true) => print(&graph::mermaid(&experiment)),
        (false, false) => print(&graph::ascii(&experiment)),
    }
}

fn to_json(experiment: &Experiment) -> Value {
    let nodes = experiment.nodes.iter().map(|node| {
        let inputs: Map<String, Value> = node
            .inputs
            .iter()
            .map(|(port, edges)| {
                let from = edges.iter().map(|edge| format!("{}.{}", experiment.nodes[edge.node].id, edge.port));
                (port.clone(), from.collect())
            })
            .collect();
        let outputs: Vec<_> = (node.kind.outputs)().iter().map(|port| port.name).collect();
        json!({ "id": node.id, "stage": node.stage, "cell": node.cell, "kind": node.kind.kind, "inputs": inputs, "outputs": outputs })
    });
    json!({ "experiment": experiment.name, "stages": nodes.collect::<Vec<_>>() })
}
