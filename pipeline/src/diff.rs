//! What is different between two recorded runs: stages, their settings, inputs and outputs, and metrics.
//!
//! Settings are those in the keys, with every default filled in. Where a stage left no result, or `gc` took it, there is
//! nothing to compare but its name.

use anyhow::anyhow;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Catalog;
use crate::key::KeyMaterial;
use crate::key_changes::differences;
use crate::record::{NodeRecord, RunRecord};
use crate::store::{Entry, Output, Store, digest_of};

/// From one run to another.
#[derive(Debug, Serialize)]
pub(crate) struct Difference {
    /// The first output in reading order that is another one.
    pub first: Option<First>,
    /// Stages that differ, in the reading order of the new run; those that are gone come last.
    pub stages: Vec<StageDifference>,
    /// How many stages do not differ.
    pub equal: usize,
    /// Metrics that differ.
    pub metrics: Vec<MetricChange>,
    /// How many metrics do not differ.
    pub equal_metrics: usize,
    /// Outputs whose metrics could not be read, and why.
    pub unread: Vec<String>,
}

/// Where two runs part.
#[derive(Debug, Serialize)]
pub(crate) struct First {
    pub stage: String,
    pub port: String,
    /// The first thing of the stage that is another one; nothing where its whole key is the same.
    pub cause: Option<Field>,
}

#[derive(Debug, Serialize)]
pub(crate) struct StageDifference {
    pub stage: String,
    pub change: Change,
    /// Empty where a result is missing on one side.
    pub fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    Added,
    Removed,
    Changed,
    /// The old run, or the new run, has no result of the stage.
    NotInOld,
    NotInNew,
}

/// A field that differs: `config.gamma`, `input.world`, `output.policy`, `version`; null where it is not.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Field {
    pub field: String,
    pub old: Value,
    pub new: Value,
}

/// A metric that differs.
#[derive(Debug, Serialize)]
pub(crate) struct MetricChange {
    /// `stage.port`.
    pub output: String,
    pub name: String,
    pub old: Option<f64>,
    pub new: Option<f64>,
}

/// A run that is compared, with its store.
struct ComparedRun<'a> {
    store: &'a Store,
    run: &'a RunRecord,
}

/// Compares `old` with `new`.
pub(crate) fn diff(store: &Store, catalog: &Catalog, old: &RunRecord, new: &RunRecord) -> anyhow::Result<Difference> {
    let [old, new] = [old, new].map(|run| ComparedRun { store, run });
    let mut found =
        Difference { first: None, stages: vec![], equal: 0, metrics: vec![], equal_metrics: 0, unread: vec![] };
    for node in &new.run.nodes {
        let Some(before) = old.node(&node.stage) else {
            found.add(&node.stage, Change::Added, vec![]);
            continue;
        };
        let (was, is) = match (old.entry(before)?, new.entry(node)?) {
            (Some(was), Some(is)) => (was, is),
            (None, None) if before.key == node.key => {
                found.equal += 1;
                continue;
            }
            (None, _) => {
                found.add(&node.stage, Change::NotInOld, vec![]);
                continue;
            }
            (_, None) => {
                found.add(&node.stage, Change::NotInNew, vec![]);
                continue;
            }
        };
        let fields = fields(&readable(&was.material, before), &readable(&is.material, node));
        if let Some(port) = fields.iter().find_map(|field| field.field.strip_prefix("output."))
            && found.first.is_none()
        {
            let cause = fields.first().filter(|field| !field.field.starts_with("output.")).cloned();
            found.first = Some(First { stage: node.stage.clone(), port: port.into(), cause });
        }
        if fields.is_empty() {
            found.equal += 1;
        } else {
            found.add(&node.stage, Change::Changed, fields);
        }
        let metrics = [(&old, &was, before), (&new, &is, node)]
            .map(|(side, entry, node)| side.metrics(catalog, entry, node, &mut found.unread));
        let [was, is] = metrics;
        found.compare_metrics(&node.stage, was, is);
    }
    for node in old.run.nodes.iter().filter(|node| new.node(&node.stage).is_none()) {
        found.add(&node.stage, Change::Removed, vec![]);
    }
    Ok(found)
}

impl Difference {
    fn add(&mut self, stage: &str, change: Change, fields: Vec<Field>) {
        self.stages.push(StageDifference { stage: stage.into(), change, fields });
    }

    fn compare_metrics(&mut self, stage: &str, old: ByPort, mut new: ByPort) {
        let mut add = |(port, name): (String, String), old: Option<f64>, new: Option<f64>| {
            // Bits, because two results that are no number are equal here.
            if old.map(f64::to_bits) == new.map(f64::to_bits) {
                self.equal_metrics += 1;
            } else {
                self.metrics.push(MetricChange { output: format!("{stage}.{port}"), name, old, new });
            }
        };
        for (name, old) in old {
            let at = new.iter().position(|(known, _)| *known == name);
            add(name, Some(old), at.map(|at| new.remove(at).1));
        }
        for (name, new) in new {
            add(name, None, Some(new));
        }
    }
}

/// (port, name) → value, in the order of the artifact.
type ByPort = Vec<((String, String), f64)>;

impl ComparedRun<'_> {
    fn node(&self, stage: &str) -> Option<&NodeRecord> {
        self.run.nodes.iter().find(|node| node.stage == stage)
    }

    /// What the run found or made for a stage.
    fn entry(&self, node: &NodeRecord) -> anyhow::Result<Option<Entry>> {
        match &node.key {
            Some(key) if !node.outputs.is_empty() => self.store.entry(key),
            _ => Ok(None),
        }
    }

    /// The metrics in the outputs that the run recorded. One whose object is damaged, or of an earlier format, must not hide
    /// the others.
    fn metrics(&self, catalog: &Catalog, entry: &Entry, node: &NodeRecord, unread: &mut Vec<String>) -> ByPort {
        let mut metrics = Vec::new();
        for Output { port, kind, .. } in &entry.outputs {
            let Some(of_kind) = catalog.metrics.iter().find(|reader| reader.kind == kind) else { continue };
            let Some(digest) = node.outputs.get(port) else { continue };
            let path = self.store.object(digest);
            let read = match digest_of(&path) {
                Ok(found) if found == *digest => (of_kind.read)(&path),
                _ => Err(anyhow!("the object {digest} is damaged or lost")),
            };
            match read {
                Ok(read) => metrics.extend(read.into_iter().map(|(name, value)| ((port.clone(), name), value))),
                Err(error) => unread.push(format!("{}.{port} of {}: {error:#}", node.stage, self.run.id)),
            }
        }
        metrics
    }
}

/// A key in clear and the outputs that came of it, with a person's names: causes first, in the order in which a person would
/// ask for them.
fn readable(material: &KeyMaterial, node: &NodeRecord) -> Value {
    let mut inputs = Map::new();
    for (port, rows) in &material.inputs {
        let rows: Vec<_> = rows.as_array().into_iter().flatten().collect();
        for row in &rows {
            inputs.insert(label(port, row), row["digest"].clone());
        }
        if rows.len() > 1 {
            let labels: Vec<_> = rows.iter().map(|row| label(port, row)).collect();
            inputs.insert(format!("{port}{ORDER}"), labels.join(", ").into());
        }
    }
    let assets: Vec<_> = material.assets.iter().map(|digest| json!(digest)).collect();
    json!({
        "use": material.kind,
        "config": material.config,
        "asset": assets,
        "input": inputs,
        "version": material.version,
        "engine": material.engine,
        "output": node.outputs,
    })
}

const ORDER: &str = " (order)";

fn label(port: &str, row: &Value) -> String {
    match (row["name"].as_str(), row["cell"].as_str()) {
        (Some(name), Some("") | None) => format!("{port}.{name}"),
        (Some(name), Some(cell)) => format!("{port}.{name}@{cell}"),
        _ => port.to_owned(),
    }
}

fn fields(old: &Value, new: &Value) -> Vec<Field> {
    let mut fields = Vec::new();
    // Part by part, so that causes come before effects.
    for part in ["use", "config", "asset", "input", "version", "engine", "output"] {
        let found = differences(&old[part], &new[part], part);
        fields.extend(found.into_iter().map(|(field, old, new)| Field { field, old, new }));
    }
    // That something came in between says more than that the order is another one.
    let more = fields.iter().any(|field| field.field.starts_with("input.") && !field.field.ends_with(ORDER));
    fields.retain(|field| !more || !field.field.ends_with(ORDER));
    fields
}
