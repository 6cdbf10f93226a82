//! `apprentice runs`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::args::Runs;
use super::output::{print, print_json};
use super::session::Session;
use super::{format, runs_table};
use crate::event::Status;
use crate::exit::Failure;
use crate::maintenance::{Prune, to_forget};
use crate::reason::short;
use crate::record::{self, NodeRecord, RunFolder, RunRecord};
use crate::store::Store;
use crate::{Exit, clock};

/// Stands where nothing is known.
const UNKNOWN: &str = "–";

pub(super) fn runs(session: &Session, args: &Runs) -> Result<Exit, Failure> {
    let runs = record::runs(&session.store())?;
    if args.prune {
        return prune(session, args, &runs);
    }
    if args.table {
        return runs_table::table(session, args, &runs);
    }
    let wanted = match &args.runs[..] {
        [] => return list(session, &runs),
        [wanted] => wanted,
        several => {
            return Err(Failure::usage(anyhow!(
                "{} runs are named, and one is shown\nhelp: `--table` shows their rows side by side, `apprentice diff A B` how two differ",
                several.len()
            )));
        }
    };
    let run = record::find(&runs, wanted).map_err(Failure::usage)?;
    if args.pin || args.unpin {
        RunFolder::of(&session.store(), &run.id).pin(args.pin)?;
        return list(session, std::slice::from_ref(run));
    }
    let state = State::of(&session.store(), run)?;
    if session.global.json {
        return print_json(json!({ "run": state.to_json() }));
    }
    let run = &state.run;
    let folder = session.store().part("runs").join(&run.id);
    let nodes: Vec<_> = run.nodes.iter().map(|node| node_row(node, &state)).collect();
    let facts = [
        ("run", run.id.clone()),
        ("experiment", run.experiment.clone()),
        ("status", format!("{}{}", run.word(state.alive), if state.pinned { ", pinned" } else { "" })),
        ("command", run.command.clone()),
        ("on", format!("{}, {} threads, {} at once, {}", run.host, run.threads, run.jobs, run.program)),
        ("started", run.started.clone()),
        ("took", state.took()),
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

/// A run as it is now, which its record alone does not say.
pub(super) struct State {
    /// With what its events tell beyond its record.
    pub run: RunRecord,
    /// Whether anything is known of how far it came.
    known: bool,
    /// The stages that are at work, or were when it was killed.
    begun: BTreeSet<String>,
    pub alive: bool,
    pinned: bool,
}

impl State {
    pub fn of(store: &Store, run: &RunRecord) -> anyhow::Result<Self> {
        let folder = RunFolder::of(store, &run.id);
        let (alive, pinned) = (folder.is_alive()?, folder.is_pinned());
        let partial_run = folder.partial_run(run)?;
        let known = partial_run.is_some();
        let (mut run, begun) = partial_run.unwrap_or_else(|| (run.clone(), BTreeSet::new()));
        if alive && let Some(started) = clock::parse(&run.started) {
            run.seconds = clock::now().saturating_sub(started).as_secs_f64();
        }
        Ok(Self { run, known, begun, alive, pinned })
    }

    pub fn took(&self) -> String {
        if self.known || self.alive { format::seconds(self.run.seconds) } else { UNKNOWN.into() }
    }

    /// How a stage ended, and what it took.
    pub fn ended(&self, node: &NodeRecord) -> (&'static str, String) {
        match (self.begun.contains(&node.stage), self.alive) {
            (true, true) => ("running", UNKNOWN.into()),
            (true, false) => ("killed", UNKNOWN.into()),
            (false, _) => (node.status.word(), format::seconds(node.seconds)),
        }
    }

    fn to_json(&self) -> Value {
        let mut value = serde_json::to_value(&self.run).expect("a run's record is plain JSON");
        (value["alive"], value["pinned"]) = (self.alive.into(), self.pinned.into());
        value
    }
}

fn list(session: &Session, runs: &[RunRecord]) -> Result<Exit, Failure> {
    let states = runs.iter().map(|run| State::of(&session.store(), run)).collect::<Result<Vec<_>, _>>()?;
    let damaged: Vec<String> = record::damaged(&session.store())?.iter().map(RunFolder::id).collect();
    if session.global.json {
        let runs: Vec<_> = states.iter().map(State::to_json).collect();
        return print_json(json!({ "runs": runs, "damaged": damaged }));
    }
    let rows = states.iter().map(row).chain(damaged.iter().map(|id| damaged_row(id)));
    print(&format::columns(&rows.collect::<Vec<_>>()))
}

/// Shows the runs that are to be forgotten, and forgets them under `--apply`.
fn prune(session: &Session, args: &Runs, runs: &[RunRecord]) -> Result<Exit, Failure> {
    let store = session.store();
    let prune = Prune { keep: args.keep.unwrap_or(1) as usize, older_than: args.older_than.unwrap_or(Duration::ZERO) };
    // `gc` must not read what is being removed.
    let damaged = record::damaged(&store)?;
    let gc_lock = if args.apply && !(runs.is_empty() && damaged.is_empty()) { Some(store.alone()?) } else { None };
    let old: Vec<_> = to_forget(&store, runs, &prune, clock::now())?.into_iter().cloned().collect();
    let states = old.iter().map(|run| State::of(&store, run)).collect::<Result<Vec<_>, _>>()?;
    // What cannot be read tells neither its age nor its experiment.
    let folders = old.iter().map(|run| RunFolder::of(&store, &run.id)).chain(damaged.iter().cloned());
    for folder in folders.filter(|_| gc_lock.is_some()) {
        folder.forget()?;
    }
    drop(gc_lock);
    if session.global.json {
        let ids: Vec<_> = old.iter().map(|run| run.id.clone()).chain(damaged.iter().map(RunFolder::id)).collect();
        return print_json(json!({ "to_forget": ids, "applied": args.apply }));
    }
    let rows = states.iter().map(row).chain(damaged.iter().map(|folder| damaged_row(&folder.id())));
    let (count, stay) = (format::count(old.len() + damaged.len(), "run"), runs.len() - old.len());
    let end = match args.apply {
        true => format!("{count} forgotten, {stay} stay; `apprentice gc` finds what only they needed"),
        false => format!("{count} would be forgotten, {stay} stay; `--apply` forgets them"),
    };
    print(&format!("{}{end}\n", format::columns(&rows.collect::<Vec<_>>())))
}

fn damaged_row(id: &str) -> Vec<String> {
    vec![id.to_owned(), String::new(), "its record is damaged".into()]
}

fn row(state: &State) -> Vec<String> {
    let run = &state.run;
    let count = |status| run.nodes.iter().filter(|node| node.status == status).count();
    let counts = || format!("{} hit, {} ran, {} failed", count(Status::Hit), count(Status::Ran), count(Status::Failed));
    vec![
        run.id.clone(),
        run.experiment.clone(),
        run.word(state.alive).into(),
        run.started.replace('T', " ").trim_end_matches('Z').into(),
        state.took(),
        if state.known { counts() } else { UNKNOWN.into() },
        if state.pinned { "pinned".into() } else { String::new() },
    ]
}

fn node_row(node: &NodeRecord, state: &State) -> Vec<String> {
    let (status, took) = state.ended(node);
    let key = node.key.as_deref().map(short).unwrap_or_default();
    vec![node.stage.clone(), status.into(), took, key, node.reason.clone().unwrap_or_default()]
}
