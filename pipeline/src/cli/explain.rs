//! `apprentice explain`: the key of a stage in clear, and the first cause of a miss, upstream where it lies there.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::plan::words;
use super::session::Session;
use super::{args, format, print, print_json};
use crate::Exit;
use crate::exit::Failure;
use crate::run::{self, Plan, Project, Verdict, select};
use crate::store::Made;

pub(super) fn explain(session: &Session, args: &args::Explain) -> Result<Exit, Failure> {
    let experiment = session.load(&args.source)?;
    let project = session.project(&experiment);
    let wanted = select(&experiment, std::slice::from_ref(&args.stage)).map_err(Failure::wrong)?;
    let plan = run::plan(&project, &project.with_needs(&wanted), &Default::default())?;
    let mut stages = Vec::new();
    for &index in &wanted {
        stages.push(one(&project, &plan, index)?);
    }
    if session.global.json {
        return print_json(json!({ "experiment": experiment.name, "stages": stages }));
    }
    print(&stages.iter().map(to_text).collect::<Vec<_>>().join("\n"))
}

fn one(project: &Project, plan: &Plan, index: usize) -> anyhow::Result<Value> {
    let node = project.node(index);
    let (verdict, why) = words(&plan.verdicts[&index]);
    let made = match plan.hits.get(&index) {
        Some(entry) => Some(entry.made.clone()),
        None => project.last_entry(index)?.map(|entry| entry.made),
    };
    let material = plan.materials.get(&index);
    Ok(json!({
        "stage": node.id,
        "kind": node.kind.kind,
        "verdict": verdict,
        "reason": why,
        "first_cause": first_cause(project, plan, index),
        "key": material.map(|material| material.key()),
        "in_key": material,
        "not_in_key": node.kind.not_in_key,
        "last_result": made,
    }))
}

/// The node upstream where the trouble begins, with its reason; `None` where it begins at the node itself.
fn first_cause(project: &Project, plan: &Plan, index: usize) -> Option<String> {
    let Verdict::After { reason: None, .. } = &plan.verdicts[&index] else { return None };
    let mut at = index;
    while let Verdict::After { reason: None, .. } = &plan.verdicts[&at] {
        at = project.needs(at).into_iter().find(|need| !plan.hits.contains_key(need))?;
    }
    let (verdict, why) = words(&plan.verdicts[&at]);
    Some(format!("{} {verdict}: {why}", project.node(at).id))
}

fn to_text(stage: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut out = format!("{} ({}): {}", text(&stage["stage"]), text(&stage["kind"]), text(&stage["verdict"]));
    for (before, field) in [(": ", "reason"), ("\n  first cause: ", "first_cause"), ("\n  key  ", "key")] {
        let found = text(&stage[field]);
        if !found.is_empty() {
            out += &format!("{before}{found}");
        }
    }
    out.push('\n');
    let in_key = &stage["in_key"];
    if in_key.is_null() {
        out += "  its key is known when what it reads is up to date\n";
    } else {
        let mut rows = vec![row("engine", &in_key["engine"]), row("version", &in_key["version"])];
        flat(&mut rows, "config", &in_key["config"]);
        flat(&mut rows, "inputs", &in_key["inputs"]);
        flat(&mut rows, "outputs", &in_key["outputs"]);
        flat(&mut rows, "assets", &in_key["assets"]);
        out += "  in the key:\n";
        out += &format::columns(&rows);
    }
    for path in stage["not_in_key"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "  not in the key: {}", text(path));
    }
    if let Ok(made) = serde_json::from_value::<Made>(stage["last_result"].clone()) {
        let _ =
            writeln!(out, "  last result: {} in run {}, {}", made.finished, made.run, format::seconds(made.seconds));
    }
    out
}

fn row(path: &str, value: &Value) -> Vec<String> {
    vec![format!("    {path}"), value.as_str().map_or_else(|| value.to_string(), str::to_owned)]
}

/// One row for each plain value below.
fn flat(rows: &mut Vec<Vec<String>>, path: &str, value: &Value) {
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| flat(rows, &format!("{path}.{name}"), value)),
        Value::Array(values) if values.iter().any(Value::is_object) => {
            values.iter().enumerate().for_each(|(index, value)| flat(rows, &format!("{path}[{index}]"), value));
        }
        plain => rows.push(row(path, plain)),
    }
}
