//! `apprentice plan`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::args;
use super::session::Session;
use super::{format, print, print_json};
use crate::Exit;
use crate::exit::Failure;
use crate::run::{self, Project, Verdict, select};

pub(super) fn plan(session: &Session, args: &args::Plan) -> Result<Exit, Failure> {
    let experiment = session.load(&args.source)?;
    let project = session.project(&experiment);
    let chosen = project.with_needs(&select(&experiment, &args.stages).map_err(Failure::wrong)?);
    let forced = if args.force.is_empty() {
        Default::default()
    } else {
        select(&experiment, &args.force).map_err(Failure::wrong)?
    };
    let plan = run::plan(&project, &chosen, &forced)?;
    if session.global.json {
        print_json(to_json(&project, &plan.verdicts))?;
    } else {
        print(&to_text(&project, &plan.verdicts))?;
    }
    Ok(if args.check && !plan.is_done() { Exit::WorkFound } else { Exit::Ok })
}

fn to_json(project: &Project, verdicts: &BTreeMap<usize, Verdict>) -> Value {
    let row = |(&index, verdict): (&usize, &Verdict)| {
        let mut row = json!({ "stage": project.node(index).id, "kind": project.node(index).kind.kind });
        let fields = serde_json::to_value(verdict).expect("a verdict is plain JSON");
        if let (Some(row), Value::Object(fields)) = (row.as_object_mut(), fields) {
            row.extend(fields);
        }
        row["words"] = words(verdict).1.into();
        row
    };
    json!({ "experiment": project.experiment.name, "stages": verdicts.iter().map(row).collect::<Vec<_>>() })
}

fn to_text(project: &Project, verdicts: &BTreeMap<usize, Verdict>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rows = Vec::new();
    for (&index, verdict) in verdicts {
        let (short, long) = words(verdict);
        *counts.entry(short).or_default() += 1;
        rows.push(vec![
            project.node(index).id.clone(),
            if long.is_empty() { short.into() } else { format!("{short}: {long}") },
        ]);
    }
    let counted: Vec<_> = ["hit", "will run", "may run"]
        .iter()
        .filter_map(|&word| {
            counts.get(word).map(|&n| if word == "hit" { format::count(n, word) } else { format!("{n} {word}") })
        })
        .collect();
    format!("{}{}: {}\n", format::columns(&rows), format::count(verdicts.len(), "stage"), counted.join(", "))
}

/// The verdict in a word, and the reason.
pub(super) fn words(verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Hit { .. } => ("hit", String::new()),
        Verdict::Run { reason, .. } => ("will run", reason.to_string()),
        Verdict::After { on, reason: Some(reason) } => ("will run", format!("{reason}, after {}", grouped(on))),
        Verdict::After { on, reason: None } => ("may run", format!("where {} gives another content", grouped(on))),
        Verdict::Fetch { asset } => ("may run", format!("asset {asset} is not here yet and will be fetched")),
    }
}

/// `world, policy ×5`: the cells of a sweep as one.
fn grouped(ids: &[String]) -> String {
    let mut stages: Vec<(&str, usize)> = Vec::new();
    for id in ids {
        let stage = id.split('@').next().unwrap_or(id);
        match stages.iter_mut().find(|(known, _)| *known == stage) {
            Some(known) => known.1 += 1,
            None => stages.push((stage, 1)),
        }
    }
    let word = |(stage, count): (&str, usize)| if count == 1 { stage.to_owned() } else { format!("{stage} ×{count}") };
    stages.into_iter().map(word).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_a_sweep_are_named_once() {
        let ids = ["world", "policy@seed=0", "policy@seed=1"].map(str::to_owned);
        assert_eq!(grouped(&ids), "world, policy ×2");
    }
}
