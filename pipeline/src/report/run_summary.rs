//! What was run, as a record and the store tell it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use serde_json::Value;

use crate::key::KeyMaterial;
use crate::record::{NodeRecord, RunFolder, RunRecord};
use crate::store::{Entry, Store, digest_of};

/// One run.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// Its id.
    pub id: String,
    /// The experiment's name.
    pub experiment: String,
    /// How it ended, in a word.
    pub status: String,
    /// The command line.
    pub command: String,
    /// The name of the machine.
    pub host: String,
    /// What kind of machine; empty in records of earlier programs.
    pub machine: String,
    /// The program and its version.
    pub program: String,
    /// UTC.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// Stages at work at once, at most.
    pub jobs: usize,
    /// Threads for numerical work.
    pub threads: usize,
    /// The experiment file as it was run, without secrets; changes by `--set` are in the command.
    pub config: String,
    /// In the order of the experiment.
    pub stages: Vec<RunSummaryStage>,
}

/// One stage of a run.
#[derive(Clone, Debug)]
pub struct RunSummaryStage {
    /// Its id, such as `policy@seed=3`.
    pub name: String,
    /// Its kind, such as `rl.a2c`.
    pub kind: String,
    /// How it ended, in a word.
    pub status: String,
    /// How long it took in this run.
    pub seconds: f64,
    /// How long it took where it was made, which may be an earlier run.
    pub made_in_seconds: Option<f64>,
    /// The run that made the result, and its machine.
    pub made_by: Option<(String, String)>,
    /// The version of the stage; `None` where it left no result.
    pub version: Option<u32>,
    /// Its settings with every default filled in; null where it left no result.
    pub config: Value,
    /// What it read.
    pub inputs: Vec<RunSummaryInput>,
    /// What it read from outside.
    pub assets: Vec<RunSummaryAsset>,
    /// What it noted where it was made, by name; nothing where that run is forgotten.
    pub notes: BTreeMap<String, String>,
    /// What it made.
    pub files: Vec<RunSummaryFile>,
}

/// An artifact that a stage read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSummaryInput {
    /// The port.
    pub port: String,
    /// What it goes by in tables, `name` or `name@cell`, where the port takes several.
    pub named: Option<String>,
    /// The BLAKE3 of the content.
    pub digest: String,
}

/// An asset that a stage read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSummaryAsset {
    /// Its name in the experiment.
    pub name: String,
    /// Where it comes from.
    pub origin: String,
    /// The BLAKE3 of the content.
    pub digest: String,
}

/// A file that a stage made.
#[derive(Clone, Debug)]
pub struct RunSummaryFile {
    /// The stage's id.
    pub stage: String,
    /// The port.
    pub port: String,
    /// The kind of artifact.
    pub kind: String,
    /// What its name ends with, such as `parquet`.
    pub extension: String,
    /// The BLAKE3 of the content.
    pub digest: String,
    /// Where the object is; [`RunSummaryFile::path`] looks whether it is whole.
    pub object: PathBuf,
}

impl RunSummaryFile {
    /// Where it lies, once its content was found to be what was made.
    ///
    /// # Errors
    /// When it is lost or damaged.
    pub fn path(&self) -> anyhow::Result<&PathBuf> {
        let found = digest_of(&self.object);
        match found {
            Ok(found) if found == self.digest => Ok(&self.object),
            _ => Err(anyhow!(
                "{}.{}: the object {} is damaged or lost\nhelp: run the experiment again: what is damaged is made anew",
                self.stage,
                self.port,
                self.digest
            )),
        }
    }
}

impl RunSummary {
    /// What the record of a run and the store tell.
    pub(crate) fn of(store: &Store, run: &RunRecord) -> anyhow::Result<Self> {
        let folder = RunFolder::of(store, &run.id);
        let alive = folder.is_alive()?;
        let mut producers = ProducerRecords { store, known: BTreeMap::new() };
        let stages = run.nodes.iter().map(|node| stage(store, node, &mut producers)).collect::<anyhow::Result<_>>();
        Ok(Self {
            id: run.id.clone(),
            experiment: run.experiment.clone(),
            status: run.word(alive).into(),
            command: run.command.clone(),
            host: run.host.clone(),
            machine: run.machine.clone(),
            program: run.program.clone(),
            started: run.started.clone(),
            seconds: run.seconds,
            jobs: run.jobs,
            threads: run.threads,
            config: folder.experiment()?,
            stages: stages.with_context(|| format!("run {}", run.id))?,
        })
    }

    /// Every file of a kind of artifact, in the order of the experiment.
    pub fn files<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a RunSummaryStage, &'a RunSummaryFile)> {
        let of = move |stage: &'a RunSummaryStage| stage.files.iter().map(move |file| (stage, file));
        self.stages.iter().flat_map(of).filter(move |(_, file)| file.kind == kind)
    }

    /// What a person opens in a browser.
    pub fn pages(&self) -> impl Iterator<Item = &RunSummaryFile> {
        self.stages.iter().flat_map(|stage| &stage.files).filter(|file| file.extension == "html")
    }
}

/// The records of the runs that made what a run was served.
struct ProducerRecords<'a> {
    store: &'a Store,
    /// By id; `None` where a run is forgotten or its record cannot be read.
    known: BTreeMap<String, Option<RunRecord>>,
}

impl ProducerRecords<'_> {
    /// What a stage noted where its result was made.
    fn notes(&mut self, made_by: &str, node: &NodeRecord) -> anyhow::Result<BTreeMap<String, String>> {
        if !self.known.contains_key(made_by) {
            let record = RunFolder::of(self.store, made_by).record()?.and_then(Result::ok);
            self.known.insert(made_by.into(), record);
        }
        let nodes = self.known.get(made_by).into_iter().flatten().flat_map(|record| &record.nodes);
        let producer = nodes.into_iter().find(|known| known.key == node.key && !known.notes.is_empty());
        Ok(producer.map(|producer| producer.notes.clone()).unwrap_or_default())
    }
}

fn stage(store: &Store, node: &NodeRecord, producers: &mut ProducerRecords) -> anyhow::Result<RunSummaryStage> {
    let entry = match &node.key {
        Some(key) if !node.outputs.is_empty() => store.entry(key)?,
        _ => None,
    };
    let entry = entry.as_ref();
    let notes = match entry {
        Some(entry) if node.notes.is_empty() => producers.notes(&entry.made.run, node)?,
        _ => node.notes.clone(),
    };
    Ok(RunSummaryStage {
        name: node.stage.clone(),
        kind: node.kind.clone(),
        status: node.status.word().into(),
        seconds: node.seconds,
        made_in_seconds: entry.map(|entry| entry.made.seconds),
        made_by: entry.map(|entry| (entry.made.run.clone(), entry.made.host.clone())),
        version: entry.map(|entry| entry.material.version),
        config: entry.map(|entry| entry.material.config.clone()).unwrap_or_default(),
        inputs: entry.map(|entry| inputs(&entry.material)).unwrap_or_default(),
        assets: entry.map(assets).unwrap_or_default(),
        notes,
        files: entry.map(|entry| files(store, node, entry)).unwrap_or_default(),
    })
}

fn inputs(material: &KeyMaterial) -> Vec<RunSummaryInput> {
    let rows = material
        .inputs
        .iter()
        .flat_map(|(port, rows)| rows.as_array().into_iter().flatten().map(move |row| (port, row)));
    rows.map(|(port, row)| RunSummaryInput {
        port: port.clone(),
        named: row["name"].as_str().map(|name| match row["cell"].as_str() {
            None | Some("") => name.to_owned(),
            Some(cell) => format!("{name}@{cell}"),
        }),
        digest: row["digest"].as_str().unwrap_or_default().into(),
    })
    .collect()
}

fn assets(entry: &Entry) -> Vec<RunSummaryAsset> {
    let made = entry.made.assets.iter().zip(&entry.material.assets);
    made.map(|(asset, digest)| RunSummaryAsset {
        name: asset.name.clone(),
        origin: asset.origin.clone(),
        digest: digest.clone(),
    })
    .collect()
}

/// The outputs as the run recorded them: a later run may have made the key again.
fn files(store: &Store, node: &NodeRecord, entry: &Entry) -> Vec<RunSummaryFile> {
    let file = |output: &crate::store::Output| {
        let digest = node.outputs.get(&output.port)?;
        Some(RunSummaryFile {
            stage: node.stage.clone(),
            port: output.port.clone(),
            kind: output.kind.clone(),
            extension: output.extension.clone(),
            digest: digest.clone(),
            object: store.object(digest),
        })
    };
    entry.outputs.iter().filter_map(file).collect()
}
