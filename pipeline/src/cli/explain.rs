//! `apprentice explain`: the key of a stage in clear, and the first cause of a miss, upstream where it lies there.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::output::{print, print_json};
use super::plan::{first_cause, sentence, words};
use super::session::Session;
use super::{args, format};
use crate::exit::Failure;
use crate::run::{self, Plan, Project, select};
use crate::store::Made;
use crate::{Exit, key_changes, reason};

pub(super) fn explain(session: &Session, args: &args::Explain) -> Result<Exit, Failure> {
    let experiment = session.load(&args.source)?;
    let project = session.project(&experiment);
    let wanted = select(&experiment, std::slice::from_ref(&args.stage)).map_err(Failure::usage)?;
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
    let (verdict, why) = words(project, plan, index);
    let last = match plan.hits.get(&index) {
        Some(entry) => Some(entry.clone()),
        None => project.last_entry(index)?,
    };
    let material = plan.materials.get(&index);
    let now = material.or_else(|| plan.expected.get(&index));
    let changed =
        last.as_ref().zip(now).map(|(last, now)| key_changes::changes(&last.material, now)).unwrap_or_default();
    let changed = changed.into_iter().map(|(path, old, new)| json!({ "field": path, "old": old, "new": new }));
    Ok(json!({
        "stage": node.id,
        "kind": node.kind.kind,
        "verdict": verdict,
        "reason": why,
        "first_cause": first_cause(project, plan, index),
        "changed": changed.collect::<Vec<_>>(),
        "key": material.map(|material| material.key()),
        "in_key": material,
        "not_in_key": node.kind.not_in_key,
        "secrets": node.secrets.iter().map(|secret| format!("{}: {}", secret.field, secret.variable)).collect::<Vec<_>>(),
        "last_result": last.map(|entry| entry.made),
    }))
}

fn to_text(stage: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let verdict = sentence(&text(&stage["verdict"]), &text(&stage["reason"]));
    let mut out = format!("{} ({}): {verdict}\n", text(&stage["stage"]), text(&stage["kind"]));
    if let Some(key) = stage["key"].as_str() {
        let _ = writeln!(out, "  key  {key}");
    }
    let changed = stage["changed"].as_array().map_or(&[][..], Vec::as_slice);
    if !changed.is_empty() {
        let change = |row: &Value| {
            let arrow = format!("{} → {}", reason::value(&row["old"]), reason::value(&row["new"]));
            vec![format!("    {}", text(&row["field"])), arrow]
        };
        out += "  changed since the last result:\n";
        out += &format::columns(&changed.iter().map(change).collect::<Vec<_>>());
    }
    let in_key = &stage["in_key"];
    if in_key.is_null() {
        out += "  its key is known once its inputs are up to date\n";
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
    for secret in stage["secrets"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "  secret, not in the key: {}", text(secret));
    }
    if let Ok(made) = serde_json::from_value::<Made>(stage["last_result"].clone()) {
        let _ =
            writeln!(out, "  last result: {} in run {}, {}", made.finished, made.run, format::seconds(made.seconds));
    }
    out
}

fn row(path: &str, value: &Value) -> Vec<String> {
    vec![
        format!("    {path}"),
        value.as_str().filter(|text| !text.is_empty()).map_or_else(|| value.to_string(), str::to_owned),
    ]
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
