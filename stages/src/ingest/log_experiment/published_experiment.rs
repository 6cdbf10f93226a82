//! The experiment for a published dataset that has a reader of its own.

use std::collections::BTreeMap;

use anyhow::Result;
use pipeline::Context;
use pipeline::log_experiment::{LogExperiment, LogFiles};
use serde_json::Value;

use super::downstream::{Downstream, Sizes, times, title_of};
use super::feedback::{Called, Feedback};
use super::findings::Findings;
use super::published::Published;
use super::role_names::is_amount;
use super::side_features;
use super::yaml_text::{flow, path_from, scalar};

/// Reads the dataset, and writes the experiment.
///
/// # Errors
/// Where it cannot be read, or lies where the results of the experiment will.
pub(super) fn published_experiment(
    mut found: Published,
    request: &LogFiles,
    cx: &mut Context,
) -> Result<LogExperiment> {
    found.check_place(&request.folder)?;
    let (log, items, users) = found.read(cx)?;
    let sizes = Sizes { users: users.id.len(), items: items.len(), rows: log.len() };
    let rating = found.with.iter().find(|(setting, _)| *setting == "rating").and_then(|(_, field)| field.as_str());
    let is_amount = found.kind == "ingest.kuairec" || rating.is_some_and(is_amount);
    let feedback = Feedback::of(&log, true, if is_amount { Called::Amount } else { Called::Rating });
    let mut findings = Findings::default();
    findings.say("form", format!("`{}`: {}", found.kind, found.why));
    findings.detail("reader", found.kind.into());
    findings.detail("settings", found.with.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect());
    findings.detail("feedback", feedback.name().into());
    let counts = findings.counts(sizes, &log);
    let (has_times, has_ties) = times(&log);
    let asset = scalar(&format!("{}/", path_from(&request.folder, &found.folder).display()).replace("//", "/"));
    let warning = counts.warning.as_ref().map(|warning| format!("  # ← {warning}.\n")).unwrap_or_default();
    let mut text = format!(
        "assets: # the folder of the dataset, used where it lies\n  log: {{ from: [{{ path: {asset} }}] }}\n\nstages:\n  # {}.\n{warning}  \
         log:\n    use: {} # {}\n    with:\n      asset: log\n",
        counts.words, found.kind, found.why,
    );
    for (setting, value) in &found.with {
        let why = match (*setting, value) {
            ("rating", Value::Null) => " # the log has no such field: each row counts as 1",
            ("rating", _) => " # by its name",
            ("timestamp", Value::Null) => " # the log has no such field",
            ("parts", _) => " # all parts of the log; ids are numbered over all of them",
            ("on_bad_row", _) => " # some rows would be refused; the run says which",
            _ => "",
        };
        text += &format!("      {setting}: {}{why}\n", flow(value));
    }
    let kept = found.item_fields(cx)?;
    if !kept.is_empty() {
        let names: Vec<String> = kept.iter().map(|field| scalar(&field.name)).collect();
        let why = "other fields of the items: worlds, encoders and prompts may read them";
        text += &format!("      # features: [{}] # {why}\n", names.join(", "));
    }
    let has = |setting: &str| found.with.iter().any(|(name, _)| *name == setting);
    let of = |columns: &BTreeMap<String, Vec<String>>| {
        side_features::of_columns(
            columns.iter().map(|(name, values)| (name, values.iter().map(String::as_str).collect())),
        )
    };
    let setting = (!kept.is_empty()).then_some("features");
    let items = if kept.is_empty() { of(&items.features) } else { kept };
    let features = side_features::world_lines(items, of(&users.features), [has("year"), has("genres")], setting);
    let title = scalar(&title_of(&found.folder));
    let test_part = found.test_part();
    let rest = Downstream { sizes, repeats: counts.repeats, feedback, has_times, has_ties, title, features, test_part };
    Ok(findings.into_experiment(format!("{text}\n{}", rest.text())))
}
