//! What the stages that will run lack: assets that nothing gives, and secrets whose variables are unset. Told before any work
//! is done, because the first of them may be met hours later.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::{Plan, Project, Verdict};
use crate::error_report::ErrorReport;
use crate::secret;

/// One thing that is lacking.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MissingPrerequisite {
    /// The stages that need it.
    pub stages: Vec<String>,
    /// Whether they certainly will; else some may turn out to be hits, which need nothing.
    pub certain: bool,
    /// What it is, with its place.
    pub error: String,
    /// What to do about it, one help a line.
    pub help: Option<String>,
}

impl MissingPrerequisite {
    /// For people, behind `error: ` or `warning: `.
    pub fn text(&self) -> String {
        let (stages, need) = match &self.stages[..] {
            [one] => (format!("stage `{one}`"), "needs"),
            [first, ..] => (format!("stage `{first}` and {} more", self.stages.len() - 1), "need"),
            [] => ("a stage".into(), "needs"),
        };
        let may = if self.certain { need.to_owned() } else { "may need".into() };
        let help = self.help.iter().flat_map(|help| help.lines()).map(|help| format!("\nhelp: {help}"));
        format!("{stages} {may} something that is missing: {}{}", self.error, help.collect::<String>())
    }
}

/// Whether any of the stages could lack something; found out without reading anything, so that a run which lacks nothing need
/// not be planned.
pub(crate) fn may_miss_prerequisites(project: &Project, chosen: &BTreeSet<usize>) -> bool {
    let assets: BTreeSet<String> = chosen.iter().flat_map(|&index| assets(project, index)).collect();
    assets.iter().any(|name| project.assets.lacking(name).is_some())
        || chosen.iter().flat_map(|&index| unset(project, index)).next().is_some()
}

/// What the stages that do not turn out to be hits lack, each thing once.
pub(crate) fn missing_prerequisites(project: &Project, plan: &Plan) -> Vec<MissingPrerequisite> {
    let mut found: Vec<MissingPrerequisite> = Vec::new();
    for (&index, verdict) in &plan.verdicts {
        let certain = match verdict {
            Verdict::Hit { .. } => continue,
            Verdict::Run { .. } | Verdict::After { reason: Some(_), .. } => true,
            // What it waits for may come out as it was, and its asset may be what it was.
            Verdict::After { reason: None, .. } | Verdict::Fetch { .. } => false,
        };
        let lacking = assets(project, index).into_iter().filter_map(|name| project.assets.lacking(&name));
        // Without its assets no stage has a key, and so none is a hit.
        let lacking = lacking.map(|error| (true, ErrorReport::of(&error)));
        let unset = unset(project, index).into_iter();
        let unset = unset.map(|(place, variable)| (certain, ErrorReport::of(&secret::unset(&variable).context(place))));
        for (certain, report) in lacking.chain(unset) {
            let id = project.node(index).id.clone();
            let help = report.help();
            match found.iter_mut().find(|missing| missing.error == report.message && missing.help == help) {
                Some(missing) => {
                    missing.stages.push(id);
                    missing.certain |= certain;
                }
                None => found.push(MissingPrerequisite { stages: vec![id], certain, error: report.message, help }),
            }
        }
    }
    found
}

fn assets(project: &Project, index: usize) -> Vec<String> {
    project.node(index).config.assets().into_iter().map(|name| name.0).collect()
}

/// The unset variables of a node's secrets, each with its place, or with its field where that was left at its default.
fn unset(project: &Project, index: usize) -> Vec<(String, String)> {
    let node = project.node(index);
    let mut variables = BTreeMap::new();
    collect(&node.config.config(), "", &mut variables);
    let unset = variables.into_iter().filter(|(variable, _)| secret::watch(variable).is_none());
    let placed = unset.map(|(variable, field)| {
        let named = node.secrets.iter().find(|secret| secret.variable == variable);
        let place = named.map_or_else(
            || format!("the default of `{field}`\nhelp: set `{field}: null` where none is needed"),
            |secret| format!("{} (`{}`)", secret.place, secret.field),
        );
        (place, variable)
    });
    placed.collect()
}

/// The variables that a config names, each with the field; no field but a secret may name one.
fn collect(config: &Value, field: &str, variables: &mut BTreeMap<String, String>) {
    let below = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    match config {
        Value::String(text) => {
            if let Some(variable) = secret::variable(text) {
                variables.entry(variable.to_owned()).or_insert_with(|| field.to_owned());
            }
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(at, value)| collect(value, &below(&at.to_string()), variables));
        }
        Value::Object(map) => map.iter().for_each(|(name, value)| collect(value, &below(name), variables)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_says_who_needs_it_and_how_surely() {
        let missing = |stages: &[&str], certain| MissingPrerequisite {
            stages: stages.iter().map(|&stage| stage.to_owned()).collect(),
            certain,
            error: "no key".into(),
            help: Some("get one\nor none".into()),
        };
        let ends = "something that is missing: no key\nhelp: get one\nhelp: or none";
        assert_eq!(missing(&["a"], true).text(), format!("stage `a` needs {ends}"));
        assert_eq!(missing(&["a", "b"], true).text(), format!("stage `a` and 1 more need {ends}"));
        assert_eq!(missing(&["a", "b"], false).text(), format!("stage `a` and 1 more may need {ends}"));
    }

    #[test]
    fn secrets_are_found_at_any_depth_with_their_field() {
        let config =
            serde_json::json!({ "a": [{ "key": "${env:ONE}" }], "b": "${env:TWO}", "c": "x", "d": "${env:TWO}" });
        let mut found = BTreeMap::new();
        collect(&config, "", &mut found);
        let found: Vec<_> = found.iter().map(|(variable, field)| format!("{field} {variable}")).collect();
        assert_eq!(found, ["a.0.key ONE", "b TWO"]);
    }
}
