//! How two runs differ.

use serde_json::{Value, json};

use super::super::format;
use super::super::output::{print, print_json};
use super::super::session::Session;
use crate::Exit;
use crate::diff::{self, Change, Difference, Field, First, MetricChange};
use crate::exit::Failure;
use crate::reason::{self, short};
use crate::record::RunRecord;
use crate::store::Store;

pub(super) fn compare(session: &Session, store: &Store, old: &RunRecord, new: &RunRecord) -> Result<Exit, Failure> {
    let found = diff::diff(store, session.catalog, old, new)?;
    if session.global.json {
        return print_json(json!({ "old": old.id, "new": new.id, "difference": found }));
    }
    print(&to_text(&found, old, new))
}

fn to_text(found: &Difference, old: &RunRecord, new: &RunRecord) -> String {
    let side = |name: &str, run: &RunRecord| vec![name.to_owned(), run.id.clone(), run.command.clone()];
    let mut text = format::columns(&[side("old", old), side("new", new)]);
    if old.experiment != new.experiment {
        text += &format!("experiment {} → {}\n", old.experiment, new.experiment);
    }
    let mut rows = Vec::new();
    for stage in &found.stages {
        let missing = |run: &RunRecord| format!("left no result in {}, or `gc` took it", run.id);
        let word = match stage.change {
            Change::Changed => String::new(),
            Change::Added => "is new".into(),
            Change::Removed => "is gone".into(),
            Change::NotInOld => missing(old),
            Change::NotInNew => missing(new),
        };
        if !word.is_empty() {
            rows.push(vec![stage.stage.clone(), word]);
        }
        for (index, Field { field, old, new }) in stage.fields.iter().enumerate() {
            let name = if index == 0 { stage.stage.clone() } else { String::new() };
            rows.push(vec![name, field.clone(), format!("{} → {}", words(old), words(new))]);
        }
    }
    if !rows.is_empty() {
        text += &format!("\n{}", format::columns(&rows));
    }
    if let Some(First { stage, port, cause }) = &found.first {
        let because = match cause {
            Some(Field { field, old, new }) => format!("because of {field} {} → {}", words(old), words(new)),
            None => "for the same key: the stage is not deterministic".into(),
        };
        text += &format!("\nthe first output that differs is {stage}.{port}, {because}\n");
    }
    let metrics: Vec<_> = found.metrics.iter().map(metric).collect();
    if !metrics.is_empty() {
        text += &format!("\n{}", format::columns(&metrics));
    }
    for output in &found.unread {
        text += &format!("\nthe metrics of {output}");
    }
    text += &format!("\n{}, {} equal", differ(found.stages.len(), "stage"), found.equal);
    if found.metrics.len() + found.equal_metrics > 0 {
        text += &format!("; {}, {} equal", differ(found.metrics.len(), "metric"), found.equal_metrics);
    }
    text + "\n"
}

fn differ(n: usize, noun: &str) -> String {
    format!("{} {}", format::count(n, noun), if n == 1 { "differs" } else { "differ" })
}

fn metric(metric: &MetricChange) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or_else(|| "none".into(), |value| value.to_string());
    let change = match (metric.old, metric.new) {
        (Some(old), Some(new)) => format!("({:+})", rounded(new - old)),
        _ => String::new(),
    };
    let values = format!("{} → {}", number(metric.old), number(metric.new));
    vec![metric.output.clone(), metric.name.clone(), values, change]
}

/// To six digits, so that 0.3 − 0.2 is 0.1.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// A value with its digests shortened.
fn words(value: &Value) -> String {
    let text = reason::value(value);
    match text.strip_prefix("asset ") {
        Some(digest) => format!("asset {}", short(digest)),
        None if text.len() == 64 && blake3::Hash::from_hex(&text).is_ok() => short(&text),
        None => text,
    }
}
