//! One attempt at a stage: the job that describes it, room for its tables, and the executor that works on it.

use super::Run;
use super::execute_node::Contents;
use super::memory_gate::Admitted;
use super::project::edges;
use super::work::{Work, need_of};
use crate::asset::Resolved;
use crate::event::Event;
use crate::executor::{ExactNumbers, Executor, Job, JobAsset, JobInput, Local, Task};
use crate::key::KeyMaterial;
use crate::secret::Unset;
use crate::spec::Node;
use crate::store::Entry;
use crate::{Interrupted, MemoryNeed};

impl Run<'_> {
    /// Whether a stage works in the process of the run, which then holds the lock of its key. Secrets and budgets never leave it.
    pub(super) fn stays(&self, index: usize) -> bool {
        let node = self.project.node(index);
        self.options.executor.is_local() || !node.secrets.is_empty() || node.config.local_only()
    }

    /// Has the stage run and its result committed; `resumed` where its scratch folder holds finished units, `superseded` is the
    /// digest of an entry that does not count.
    pub(super) fn attempt(
        &self,
        index: usize,
        material: KeyMaterial,
        contents: &Contents,
        assets: &[(String, Resolved)],
        resumed: bool,
        superseded: Option<String>,
    ) -> anyhow::Result<Entry> {
        let node = self.project.node(index);
        let store = &self.project.store;
        let job = self.job(index, &material, contents, assets, superseded);
        let files = |port: &str| job.files(store, port);
        let executor: &dyn Executor = if self.stays(index) { &Local } else { &*self.options.executor };
        // Another machine has a memory of its own.
        let need = match executor.is_remote() {
            true => None,
            false => need_of(node.kind, &*node.config, &files, self.options.memory, &self.progress(index))?,
        };
        let _slot = self.stays(index).then(|| self.slots.take());
        let _admitted = self.admitted(index, need.as_ref())?;
        let here = || {
            let work = Work {
                job: &job,
                material: material.clone(),
                kind: node.kind,
                config: &*node.config,
                store,
                resolver: self.project.assets.resolver(),
                assets,
                device: node.trained_on(),
                need: need.as_ref(),
                resumed,
                progress: self.progress(index),
                cancel: self.options.cancel.clone(),
                warn: &|text| self.warn(index, text),
            };
            work.carry_out()
        };
        let task = Task { job: job.clone(), here: &here, store, sinks: &self.sinks, cancel: &self.options.cancel };
        let made = executor.execute(&task);
        made.map_err(|error| self.project.assets.wanted_folder(assets, located(node, error)))
    }

    fn job(
        &self,
        index: usize,
        material: &KeyMaterial,
        contents: &Contents,
        assets: &[(String, Resolved)],
        superseded: Option<String>,
    ) -> Job {
        let node = self.project.node(index);
        let input = |edge: &crate::spec::Edge| JobInput {
            name: edge.name.clone(),
            cell: edge.cell.clone(),
            digest: contents.behind(edge),
        };
        let port = |port: crate::PortSpec| {
            (port.name.to_owned(), edges(node, port.name).iter().map(input).collect::<Vec<_>>())
        };
        let asset = |found: &Resolved| JobAsset {
            path: found.path.clone(),
            digest: found.digest.clone(),
            origin: found.origin.clone(),
        };
        Job {
            experiment: self.project.experiment.name.clone(),
            stage: node.stage.clone(),
            id: node.id.clone(),
            run: self.record.id().into(),
            command: self.options.command.clone(),
            inputs: (node.kind.inputs)().into_iter().map(port).collect(),
            assets: assets.iter().map(|(name, found)| (name.clone(), asset(found))).collect(),
            device: node.trained_on().map(|device| device.to_string()),
            threads: self.options.threads,
            memory: Some(self.options.memory),
            resources: node.resources.clone(),
            no_wait: self.options.no_wait,
            kind: node.kind.kind.into(),
            config: ExactNumbers(node.config.config()),
            key: material.key(),
            superseded,
        }
    }

    /// Waits until the tables of the stage fit beside those of the stages at work.
    ///
    /// # Errors
    /// When the run is interrupted before they do.
    fn admitted(&self, index: usize, need: Option<&MemoryNeed>) -> anyhow::Result<Admitted<'_>> {
        let (id, cancel) = (self.id(index), &self.options.cancel);
        let waits_for = |why: &str| self.tell(&Event::WaitingForMemory { stage: id.clone(), why: why.to_owned() });
        let stage = (id.as_str(), need.map_or(0, MemoryNeed::total));
        let admitted = self.gate.admit(index, stage, self.options.memory, &|| cancel.is_raised(), waits_for);
        admitted.ok_or_else(|| Interrupted.into())
    }
}

/// Adds to the error of a missing secret where the experiment names it; a default has no place.
fn located(node: &Node, error: anyhow::Error) -> anyhow::Error {
    let unset = error.chain().find_map(|cause| cause.downcast_ref::<Unset>());
    let named = unset.and_then(|unset| node.secrets.iter().find(|secret| secret.variable == unset.variable));
    match named {
        Some(secret) => {
            let place = format!("{} (`{}`)", secret.place, secret.field);
            error.context(place)
        }
        None => error,
    }
}
