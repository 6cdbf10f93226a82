//! A checked experiment as a graph: its nodes, and the artifacts that flow between them.

use super::secrets::SecretUse;
use crate::{AnyStage, Device, Resources, StageKind};

/// One stage, or one cell of a swept stage.
pub struct Node {
    /// `policy`, or `policy@seed=3`.
    pub id: String,
    /// `policy`.
    pub stage: String,
    /// `seed=3`; empty where nothing is swept.
    pub cell: String,
    /// Its row in the catalogue.
    pub kind: &'static StageKind,
    /// Where it is to train, if the file says so; no part of its key.
    pub device: Option<Device>,
    /// What it asks of the machine that works on it; no part of its key either.
    pub resources: Resources,
    /// Its config, read and checked.
    pub config: Box<dyn AnyStage>,
    /// The secrets that its config names in the file.
    pub secrets: Vec<SecretUse>,
    /// What feeds each input port, in the order of the kind's ports; a port that is left open has no edges.
    pub inputs: Vec<(String, Vec<Edge>)>,
}

impl Node {
    /// The device of a stage that trains.
    pub(crate) fn trained_on(&self) -> Option<Device> {
        self.kind.uses_device.then(|| self.device.unwrap_or_default())
    }
}

/// One artifact that flows into a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Its name in tables: the key of `policies: { a2c: policy.policy }`, else the name of the stage.
    pub name: String,
    /// The sweep cell that makes it.
    pub cell: String,
    /// Position of the node that makes it in [`Experiment::nodes`].
    pub node: usize,
    /// The output port there.
    pub port: &'static str,
}
