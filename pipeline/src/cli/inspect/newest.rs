//! Whose output is meant by `stage.port` where no experiment is named: that of the newest run which has it. A run that failed
//! before it, or left it out, hides nothing.

use super::super::output::talk;
use crate::event::{RunStatus, Status};
use crate::record::{self, RunFolder, RunRecord};
use crate::store::Store;

/// The experiment of the newest run that has `what`, and the newest of all where none has; nothing where no run is recorded.
/// Where it is not that of the newest run, or that did not end well, it is said.
pub(crate) fn experiment_with(store: &Store, what: &str) -> anyhow::Result<Option<String>> {
    let runs = record::runs(store)?;
    let Some(newest) = runs.last() else { return Ok(None) };
    let mut found = None;
    for run in runs.iter().rev() {
        // The record of a run that was killed may be behind its events.
        let state = RunFolder::of(store, &run.id).partial_run(run)?;
        let state = state.as_ref().map_or(run, |(state, _)| state);
        if has(state, what) {
            found = Some(run);
            break;
        }
    }
    let Some(found) = found else { return Ok(Some(newest.experiment.clone())) };
    if found.id != newest.id && (found.experiment != newest.experiment || newest.status != RunStatus::Ok) {
        let how = newest.word(RunFolder::of(store, &newest.id).is_alive()?);
        talk(&format!(
            "{what} of {}: run {} is the newest that has it; run {} of {} ({how}) has none",
            found.experiment, found.id, newest.id, newest.experiment
        ));
    }
    Ok(Some(found.experiment.clone()))
}

/// Whether a run was served or made the output.
fn has(run: &RunRecord, what: &str) -> bool {
    let there = |node: &&record::NodeRecord| matches!(node.status, Status::Hit | Status::Ran);
    let nodes: Vec<_> = run.nodes.iter().filter(there).collect();
    let Some((stage, port)) = split(what, &|name| nodes.iter().any(|node| is(&node.stage, name))) else { return false };
    // What only the events tell has no list of outputs.
    let gives = |node: &&record::NodeRecord| {
        port.is_none_or(|port| node.outputs.is_empty() || node.outputs.contains_key(port)) && is(&node.stage, stage)
    };
    nodes.iter().any(gives)
}

/// The stage and port in `stage.port` or `stage@cell.port`, given which stages there are.
pub(super) fn split<'a>(what: &'a str, known: &dyn Fn(&str) -> bool) -> Option<(&'a str, Option<&'a str>)> {
    // The cell may hold a dot (`lr=0.1`), a port cannot; a stage with one output needs no port.
    match what.rsplit_once('.') {
        Some((stage, port)) if known(stage) => Some((stage, Some(port))),
        _ => known(what).then_some((what, None)),
    }
}

/// Whether the id of a stage goes by `name`, which may leave out the cell.
pub(super) fn is(id: &str, name: &str) -> bool {
    id == name || id.split('@').next() == Some(name)
}
