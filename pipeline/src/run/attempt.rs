//! One attempt at a stage: its surroundings, its work, and the commit of what it wrote.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Context as _;

use super::execute_node::Contents;
use super::memory_gate::Admitted;
use super::project::edges;
use super::{Run, THREADS, panics};
use crate::asset::Resolved;
use crate::event::Event;
use crate::failpoints::reached;
use crate::key::KeyMaterial;
use crate::memory_need::{self, TableRefused, WORTH_SAYING};
use crate::progress::WORTH_A_BAR;
use crate::secret::Unset;
use crate::spec::Node;
use crate::store::{AssetMade, Entry, Made, Output};
use crate::{Context, Interrupted, MemoryNeed, PortFile, Sizes, clock, out_of_memory};

impl Run<'_> {
    /// Runs the stage in its scratch folder and commits what it wrote; `resumed` where that holds finished units. The caller holds the key's lock.
    pub(super) fn attempt(
        &self,
        index: usize,
        material: KeyMaterial,
        contents: &Contents,
        assets: &[(String, Resolved)],
        resumed: bool,
    ) -> anyhow::Result<Entry> {
        let node = self.project.node(index);
        let store = &self.project.store;
        let files = |port: &str| {
            let file = |edge: &crate::spec::Edge| PortFile {
                name: edge.name.clone(),
                cell: edge.cell.clone(),
                path: store.object(&contents.behind(edge)),
            };
            edges(node, port).iter().map(file).collect()
        };
        let need = self.need_of(index, &files)?;
        let _admitted = self.admitted(index, need.as_ref())?;
        let start = Instant::now();
        let key = material.key();
        let scratch = store.scratch(&key);
        let out = scratch.with_extension("out");
        // What a killed attempt had written as outputs is not trusted; its units in `scratch` are, and carry checksums.
        remove(&out)?;
        for dir in [&scratch, &out, &store.part("calls")] {
            fs::create_dir_all(dir).with_context(|| format!("make the folder `{}`", dir.display()))?;
        }
        let cx = Context {
            scratch: scratch.clone(),
            calls: store.part("calls"),
            spent: store.spent(&self.project.experiment.name, &node.stage),
            assets: assets.iter().map(|(name, found)| (name.clone(), found.path.clone())).collect(),
            progress: self.progress(index),
            threads: self.options.threads,
            device: node.trained_on().unwrap_or_default(),
            cancel: self.options.cancel.clone(),
            warnings: Arc::default(),
            incomplete: Arc::default(),
        };
        // A pool for each stage: in a shared one, the stage that began first would keep every thread until its queue is empty.
        // Which thread computes what changes no result, so the system may share the cores among all of them.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(self.options.threads);
        let pool = pool.thread_name(|index| format!("{THREADS}pool-{index}")).build();
        let pool = pool.context("start the threads of the stage")?;
        let _at_work = out_of_memory::at_work(&node.id, need.as_ref().map_or("", MemoryNeed::help));
        let worked = panics::caught(|| pool.install(|| node.config.execute(&files, &cx, &out)));
        let worked = worked.map_err(|error| with_help(need.as_ref(), error));
        worked.map_err(|error| self.project.assets.wanted_folder(assets, located(node, error)))?;
        // A result of other bytes than those of the key must not go by it.
        for (name, found) in assets {
            self.project.assets.check_unchanged(name, found)?;
        }
        let output = |port: crate::PortSpec| Output {
            port: port.name.into(),
            kind: port.kind.into(),
            format: port.format,
            extension: port.extension.into(),
            digest: String::new(),
            bytes: 0,
        };
        let outputs: Vec<_> = (node.kind.outputs)().into_iter().map(output).collect();
        let mut bytes = 0;
        for output in &outputs {
            let written = fs::metadata(out.join(&output.port)).ok().filter(fs::Metadata::is_file);
            let written = written.with_context(|| format!("{} wrote no output `{}`", node.kind.kind, output.port))?;
            bytes += written.len();
        }
        let made = Made {
            experiment: self.project.experiment.name.clone(),
            stage: node.id.clone(),
            run: self.record.id().into(),
            command: self.options.command.clone(),
            host: clock::host(),
            finished: clock::timestamp(clock::now()),
            seconds: start.elapsed().as_secs_f64(),
            resumed,
            device: node.trained_on().map(|device| device.to_string()),
            incomplete: cx.incomplete.load(Ordering::Relaxed),
            assets: assets.iter().map(asset_made).collect(),
        };
        let bar = (bytes >= WORTH_A_BAR).then(|| cx.bar("keep", Some(bytes), "bytes"));
        let hashed = |bytes| bar.iter().for_each(|bar| bar.inc(bytes));
        let entry = store.commit(Entry { key, material, outputs, made }, &out, &hashed)?;
        // The result is in the store, whatever becomes of what it was made in.
        for error in [&out, &scratch].into_iter().filter_map(|dir| remove(dir).err()) {
            self.warn(index, &format!("the stage has finished, and its working folder remains: {error:#}"));
        }
        Ok(entry)
    }
}

impl Run<'_> {
    /// What the tables of the stage need, where it can say: known before they are made.
    ///
    /// # Errors
    /// When that is more than the run may take.
    fn need_of(&self, index: usize, files: &dyn Fn(&str) -> Vec<PortFile>) -> anyhow::Result<Option<MemoryNeed>> {
        let node = self.project.node(index);
        let mut sizes = Sizes::default();
        for port in (node.kind.inputs)() {
            for file in files(port.name) {
                sizes = sizes.and((port.sizes)(&file.path)?);
            }
        }
        let need = node.config.memory(&sizes);
        if let Some(need) = &need {
            need.check(self.options.memory)?;
            if need.total() >= WORTH_SAYING {
                self.progress(index).note("memory", &need.words(self.options.memory));
            }
        }
        Ok(need)
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

/// Adds to the error of a table that could not be had what makes it smaller.
fn with_help(need: Option<&MemoryNeed>, error: anyhow::Error) -> anyhow::Error {
    match need {
        Some(need) if !need.help().is_empty() && error.chain().any(|cause| cause.is::<TableRefused>()) => {
            error.context(format!("its tables need {}\nhelp: {}", memory_need::bytes(need.total()), need.help()))
        }
        _ => error,
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

fn remove(dir: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => {
            reached("removed", dir);
            removed.with_context(|| format!("remove `{}`", dir.display()))
        }
    }
}

fn asset_made((name, found): &(String, Resolved)) -> AssetMade {
    AssetMade { name: name.clone(), origin: found.origin.clone(), path: found.path.display().to_string() }
}
