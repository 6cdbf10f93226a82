//! How far a run came whose record was not ended: its record was last written some time before, but its events were written as they
//! came.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::event_log::EVENTS;
use super::{RunFolder, RunRecord};
use crate::event::{RunStatus, Status};
use crate::store::read_if_there;

/// One line of the events, as far as it matters here.
#[derive(Deserialize)]
struct Line {
    event: String,
    /// Since the run began; of an ended stage, since that began.
    seconds: f64,
    stage: Option<String>,
    status: Option<Value>,
}

impl RunFolder {
    /// The record with what the events tell beyond it, and the stages that had begun and not ended; nothing where no event
    /// is there. A record that was ended knows all.
    pub fn partial_run(&self, run: &RunRecord) -> anyhow::Result<Option<(RunRecord, BTreeSet<String>)>> {
        let mut run = run.clone();
        if run.status != RunStatus::Running {
            return Ok(Some((run, BTreeSet::new())));
        }
        let text = read_if_there(&self.dir.join(EVENTS))?.unwrap_or_default();
        // A line that a kill tore tells nothing.
        let lines = text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        let (mut begun, mut any) = (BTreeMap::new(), false);
        for Line { event, seconds, stage, status } in lines {
            any = true;
            let mut since = 0.0;
            match (&*event, stage) {
                ("stage_started", Some(stage)) => {
                    begun.insert(stage, seconds);
                }
                ("stage_ended", Some(stage)) => {
                    since = begun.remove(&stage).unwrap_or_default();
                    let status = status.and_then(|status| serde_json::from_value::<Status>(status).ok());
                    let row = run.nodes.iter_mut().find(|node| node.stage == stage);
                    if let (Some(row), Some(status)) = (row, status) {
                        (row.status, row.seconds) = (status, seconds);
                    }
                }
                _ => {}
            }
            run.seconds = run.seconds.max(since + seconds);
        }
        Ok(any.then(|| (run, begun.into_keys().collect())))
    }
}
