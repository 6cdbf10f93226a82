//! What has several files: a result with its outputs, and a run with its results.

use serde_json::{Value, json};

use super::super::format;
use super::super::runs::State;
use super::origin;
use crate::escape;
use crate::reason::short;
use crate::record::RunRecord;
use crate::store::{Entry, Store};

/// A result as JSON and as text.
pub(super) fn result(entry: &Entry, store: &Store) -> anyhow::Result<(Value, String)> {
    let inputs = origin::inputs(store, entry)?;
    let mut json = json!({ "stage": entry.made.stage, "outputs": entry.outputs });
    origin::about(&mut json, entry, &inputs);

    let mut rows = origin::rows(entry, None);
    rows.push(vec!["config".into(), escape::shown(&entry.material.config.to_string(), usize::MAX)]);
    rows.extend(origin::from(&inputs, entry));
    let output = |output: &crate::store::Output| {
        let name = format!("{}.{}", short(&entry.key), output.port);
        vec![name, output.kind.clone(), format::bytes(output.bytes), short(&output.digest)]
    };
    let outputs: Vec<_> = entry.outputs.iter().map(output).collect();
    Ok((json, format!("{}\n{}", format::columns(&rows), format::columns(&outputs))))
}

/// A run as JSON and as text: its stages, and the output files of each.
pub(super) fn run(run: &RunRecord, store: &Store) -> anyhow::Result<(Value, String)> {
    let state = State::of(store, run)?;
    let run = &state.run;
    let mut rows = Vec::new();
    for node in &run.nodes {
        let (status, took) = state.ended(node);
        let entry = node.key.as_deref().map(|key| store.entry(key)).transpose()?.flatten();
        let key = node.key.as_deref().map(short).unwrap_or_default();
        rows.push(vec![node.stage.clone(), status.into(), took, key]);
        for (port, digest) in &node.outputs {
            let output = entry.as_ref().and_then(|entry| entry.output(port)).filter(|output| output.digest == *digest);
            let (kind, bytes) = output
                .map_or(("lost".into(), String::new()), |output| (output.kind.clone(), format::bytes(output.bytes)));
            rows.push(vec![format!("  .{port}"), kind, bytes, short(digest)]);
        }
    }
    let facts = [
        ("run", run.id.clone()),
        ("experiment", escape::shown(&run.experiment, usize::MAX)),
        ("command", escape::shown(&run.command, usize::MAX)),
        ("on", format!("{}, {} threads, {} at once, {}", run.host, run.threads, run.jobs, run.program)),
        ("started", run.started.clone()),
        ("took", state.took()),
        ("folder", store.part("runs").join(&run.id).display().to_string()),
    ];
    let facts = facts.map(|(name, value)| vec![name.into(), value]);
    Ok((json!({ "run": run }), format!("{}\n{}", format::columns(&facts), format::columns(&rows))))
}
