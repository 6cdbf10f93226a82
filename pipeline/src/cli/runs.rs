//! `apprentice runs`.

use anyhow::anyhow;
use serde_json::json;

use super::args::Runs;
use super::session::Session;
use super::{format, print, print_json};
use crate::Exit;
use crate::event::{RunStatus, Status};
use crate::exit::Failure;
use crate::reason::short;
use crate::record::{self, NodeRecord, RunRecord};

pub(super) fn runs(session: &Session, args: &Runs) -> Result<Exit, Failure> {
    let runs = record::runs(&session.store())?;
    let Some(wanted) = &args.run else {
        if session.global.json {
            return print_json(json!({ "runs": runs }));
        }
        return print(&format::columns(&runs.iter().map(row).collect::<Vec<_>>()));
    };
    let matching: Vec<_> = runs.iter().filter(|run| run.id.starts_with(wanted)).collect();
    let run = match matching[..] {
        [run] => run,
        [] => return Err(Failure::wrong(anyhow!("there is no run `{wanted}`\nhelp: `apprentice runs` lists them"))),
        _ => {
            return Err(Failure::wrong(anyhow!(
                "{} runs begin with `{wanted}`\nhelp: give more of the id",
                matching.len()
            )));
        }
    };
    if session.global.json {
        return print_json(json!({ "run": run }));
    }
    let folder = session.store().part("runs").join(&run.id);
    let nodes: Vec<_> = run.nodes.iter().map(node_row).collect();
    let facts = [
        ("run", run.id.clone()),
        ("experiment", run.experiment.clone()),
        ("status", word(run.status).into()),
        ("command", run.command.clone()),
        ("on", format!("{}, {} threads, {} at once, {}", run.host, run.threads, run.jobs, run.program)),
        ("started", run.started.clone()),
        ("took", format::seconds(run.seconds)),
        ("folder", folder.display().to_string()),
    ];
    let facts = facts.map(|(name, value)| vec![name.into(), value]);
    let mut text = format::columns(&facts) + "\n" + &format::columns(&nodes);
    for node in &run.nodes {
        for (name, value) in &node.notes {
            text += &format!("{}: {name} {value}\n", node.stage);
        }
        if let Some(error) = &node.error {
            text += &format!("{}: {error}\n", node.stage);
        }
    }
    print(&text)
}

fn row(run: &RunRecord) -> Vec<String> {
    let count = |status| run.nodes.iter().filter(|node| node.status == status).count();
    vec![
        run.id.clone(),
        run.experiment.clone(),
        word(run.status).into(),
        format!("{} hit, {} ran, {} failed", count(Status::Hit), count(Status::Ran), count(Status::Failed)),
        format::seconds(run.seconds),
    ]
}

fn node_row(node: &NodeRecord) -> Vec<String> {
    let status = match node.status {
        Status::Hit => "hit",
        Status::Ran => "ran",
        Status::Failed => "failed",
        Status::Interrupted => "interrupted",
        Status::Skipped => "did not begin",
    };
    let key = node.key.as_deref().map(short).unwrap_or_default();
    vec![node.stage.clone(), status.into(), format::seconds(node.seconds), key, node.reason.clone().unwrap_or_default()]
}

fn word(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Running => "running or killed",
        RunStatus::Ok => "ok",
        RunStatus::Failed => "failed",
        RunStatus::Partial => "partial",
        RunStatus::Interrupted => "interrupted",
    }
}
