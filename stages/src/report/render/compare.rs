//! Several runs side by side: what differs in their settings, and what they came to.
//!
//! Nothing here is paired: each run evaluated its own episodes. So only intervals that lie apart are called a difference, each by
//! itself, and returns that two different worlds evaluated are not compared at all.

use std::collections::BTreeMap;

use anyhow::Result;
use minijinja::context;
use pipeline::report::RunSummary;
use serde_json::{Value, json};

use crate::report::findings::evaluation_table::Table;
use crate::report::findings::provenance_checks;
use crate::report::render::page::{fill, terms};
use crate::report::render::{markdown as md, run_info};
use crate::report::table::row::Estimate;
use crate::report::table::{format, metric_labels};

/// A setting that is not the same in all runs.
#[derive(Debug, PartialEq)]
pub(in crate::report) struct Setting {
    pub stage: String,
    pub field: String,
    /// In the order of the runs; `None` where the run has none.
    pub values: Vec<Option<String>>,
}

impl Setting {
    pub fn to_json(&self) -> Value {
        json!({ "stage": self.stage, "field": self.field, "values": self.values })
    }
}

/// Settings that differ, by stage (all cells of a sweep together) in the order of their first appearance, then by field.
pub(in crate::report) fn settings(runs: &[RunSummary]) -> Vec<Setting> {
    let mut stages: Vec<String> = Vec::new();
    let mut values: BTreeMap<(usize, String), Vec<Vec<String>>> = BTreeMap::new();
    for (at, ran) in runs.iter().enumerate() {
        for stage in ran.stages.iter().filter(|stage| !stage.config.is_null()) {
            let name = stage.name.split('@').next().unwrap_or_default();
            let place = stages.iter().position(|known| known == name).unwrap_or_else(|| {
                stages.push(name.to_owned());
                stages.len() - 1
            });
            let mut fields = vec![("use".to_owned(), stage.kind.clone())];
            fields.extend(stage.version.map(|version| ("version".to_owned(), version.to_string())));
            flatten("", &stage.config, &mut fields);
            // A config names assets by content; they have rows of their own.
            fields.retain(|(_, value)| value.strip_prefix("asset ").is_none_or(|digest| digest.len() != 64));
            for (i, asset) in stage.assets.iter().enumerate() {
                fields.push((format!("asset {}", i + 1), format!("{} ({})", asset.origin, short(&asset.digest))));
            }
            for (field, value) in fields {
                let all = values.entry((place, field)).or_insert_with(|| vec![Vec::new(); runs.len()]);
                if !all[at].contains(&value) {
                    all[at].push(value);
                }
            }
        }
    }
    let differ = values.into_iter().filter(|(_, values)| values.iter().any(|value| value != &values[0]));
    let joined = |value: &Vec<String>| (!value.is_empty()).then(|| value.join(", "));
    differ
        .map(|((stage, field), values)| Setting {
            stage: stages[stage].clone(),
            field,
            values: values.iter().map(joined).collect(),
        })
        .collect()
}

fn flatten(path: &str, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                flatten(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value, found);
            }
        }
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        _ => found.push((path.to_owned(), value.to_string())),
    }
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// One measure of every row in every run.
struct Side {
    label: String,
    main: bool,
    /// Row of the table → its estimate in each run.
    rows: Vec<(String, Vec<Option<Estimate>>)>,
    metric: String,
}

fn sides(runs: &[RunSummary], tables: &[Table]) -> Vec<Side> {
    // Several tables in one run keep their rows apart by the stage's name.
    let many = runs.iter().any(|ran| tables.iter().filter(|table| table.ran.id == ran.id).count() > 1);
    let mut names: Vec<String> = metric_labels::MAIN.map(str::to_owned).to_vec();
    let mut rows: Vec<(String, Vec<Option<&crate::report::table::row::Row>>)> = Vec::new();
    for (at, ran) in runs.iter().enumerate() {
        for table in tables.iter().filter(|table| table.ran.id == ran.id) {
            for row in &table.rows {
                let name = if many { format!("{} · {}", table.stage, row.name) } else { row.name.clone() };
                let place = rows.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                    rows.push((name, vec![None; runs.len()]));
                    rows.len() - 1
                });
                rows[place].1[at] = Some(row);
                names.extend(row.measures.keys().filter(|name| !names.contains(name)).cloned().collect::<Vec<_>>());
            }
        }
    }
    let side = |metric: String| {
        let of = |(name, by_run): &(String, Vec<Option<&crate::report::table::row::Row>>)| {
            let values: Vec<_> = by_run.iter().map(|row| row.and_then(|row| row.get(&metric))).collect();
            values.iter().any(Option::is_some).then(|| (name.clone(), values))
        };
        let rows: Vec<_> = rows.iter().filter_map(of).collect();
        Side {
            label: metric_labels::label(&metric),
            main: metric_labels::MAIN.contains(&metric.as_str()),
            rows,
            metric,
        }
    };
    names.into_iter().map(side).filter(|side| !side.rows.is_empty()).collect()
}

/// How a value stands to the first run's: its difference and whether the intervals lie apart.
fn against(first: Option<Estimate>, value: Option<Estimate>) -> Option<(f64, bool)> {
    let (first, value) = (first?, value?);
    Some((value.mean - first.mean, !first.overlaps(&value)))
}

/// Which rows return another amount than in the first run, in words.
fn words(runs: &[RunSummary], tables: &[Table], sides: &[Side]) -> Vec<String> {
    let mut said = Vec::new();
    let judges = |ran: &RunSummary| -> Vec<Option<&str>> {
        tables.iter().filter(|table| table.ran.id == ran.id).map(|table| table.evaluation_world).collect()
    };
    for (at, ran) in runs.iter().enumerate().skip(1) {
        let name = format!("Run {}", at + 1);
        if judges(ran) != judges(&runs[0]) {
            said.push(format!("{name} was evaluated in another world than run 1: the returns are not comparable."));
            continue;
        }
        let Some(side) = sides.iter().find(|side| side.metric == "return_inclusive") else { continue };
        let (mut apart, mut level) = (Vec::new(), 0);
        for (row, values) in &side.rows {
            match against(values[0], values[at]) {
                Some((difference, true)) if difference != 0.0 => {
                    let (word, size) = if difference > 0.0 { ("higher", difference) } else { ("lower", -difference) };
                    apart.push(format!("{row} ({} {word})", format::one_decimal(size)));
                }
                Some(_) => level += 1,
                None => {}
            }
        }
        said.push(match apart.is_empty() {
            true => format!("{name}: no return differs from run 1; the intervals of {level} overlap or are equal."),
            false => format!(
                "{name}: the return differs from run 1 for {} (intervals do not overlap), and not for {level} {}.",
                format::list(&apart),
                if level == 1 { "other" } else { "others" }
            ),
        });
    }
    said.push("Runs are not paired; each row is compared separately, without correction.".to_owned());
    said
}

/// What a careful reader would object to, each with the runs it is about.
fn caveats(runs: &[RunSummary], tables: &[Table]) -> Vec<(String, String)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for (at, ran) in runs.iter().enumerate() {
        let own = tables.iter().filter(|table| table.ran.id == ran.id).flat_map(Table::caveats);
        for text in provenance_checks::findings(ran, None).into_iter().chain(own) {
            match found.iter_mut().find(|(known, _)| *known == text) {
                Some((_, runs)) => runs.push((at + 1).to_string()),
                None => found.push((text, vec![(at + 1).to_string()])),
            }
        }
    }
    let named = |runs: &[String]| match runs {
        [_] => format!("Run {}", format::list(runs)),
        _ => format!("Runs {}", format::list(runs)),
    };
    found.into_iter().map(|(text, runs)| (named(&runs), text)).collect()
}

/// The comparison as a page.
pub(in crate::report) fn page(runs: &[RunSummary], tables: &[Table]) -> Result<String> {
    let sides = sides(runs, tables);
    let cell = |metric: &str, values: &[Option<Estimate>], at: usize| {
        let value = values[at].map(|e| metric_labels::formatted(metric, e));
        let change = against(values[0], values[at]).filter(|_| at > 0).map(|(difference, apart)| {
            let text = match difference {
                0.0 => "same".to_owned(),
                more if more > 0.0 => format!("+{}", format::three_digits(more)),
                less => format::three_digits(less),
            };
            let class = match (apart, difference > 0.0) {
                (true, true) => "above",
                (true, false) if difference < 0.0 => "below",
                _ => "open",
            };
            context! { text, class, apart }
        });
        context! { value, change }
    };
    let side = |side: &Side| {
        let row = |(name, values): &(String, Vec<Option<Estimate>>)| {
            let cells = (0..values.len()).map(|at| cell(&side.metric, values, at));
            context! { name => name.as_str(), cells => cells.collect::<minijinja::Value>() }
        };
        context! { label => side.label.as_str(), main => side.main, rows => side.rows.iter().map(row).collect::<minijinja::Value>() }
    };
    let setting = |s: &Setting| {
        let values = s.values.iter().map(|value| value.clone().unwrap_or_else(|| "–".to_owned()));
        context! { stage => s.stage.as_str(), field => s.field.as_str(), values => values.collect::<Vec<_>>() }
    };
    let title = format!("{} runs side by side", runs.len());
    fill(
        "compare.html.j2",
        context! {
            title,
            terms => terms(),
            runs => runs.iter().map(run_info::facts).collect::<minijinja::Value>(),
            words => words(runs, tables, &sides),
            caveats => caveats(runs, tables).into_iter().map(|(runs, text)| context! { runs, text }).collect::<minijinja::Value>(),
            settings => settings(runs).iter().map(setting).collect::<minijinja::Value>(),
            sides => sides.iter().map(side).collect::<minijinja::Value>(),
        },
    )
}

/// The comparison as Markdown.
pub(in crate::report) fn markdown(runs: &[RunSummary], tables: &[Table]) -> String {
    let sides = sides(runs, tables);
    let head = |first: &[&str]| -> Vec<String> {
        first.iter().map(|&name| name.to_owned()).chain((1..=runs.len()).map(|at| format!("run {at}"))).collect()
    };
    let mut text = format!("# {} runs side by side\n\n", runs.len());
    let mut lines =
        vec![["", "run", "experiment", "command", "started", "took", "machine"].map(str::to_owned).to_vec()];
    for (at, ran) in runs.iter().enumerate() {
        let [id, experiment, command, started, host] =
            [&ran.id, &ran.experiment, &ran.command, &run_info::started(ran), &ran.host].map(|text| md::escape(text));
        lines.push(vec![
            format!("run {}", at + 1),
            id,
            experiment,
            command,
            started,
            format::seconds(ran.seconds),
            host,
        ]);
    }
    text += &md::table(&lines);
    text += &md::paragraph(&words(runs, tables, &sides));
    let found = settings(runs);
    if found.is_empty() {
        text += "No setting differs.\n\n";
    } else {
        let mut lines = vec![head(&["stage", "setting"])];
        for Setting { stage, field, values } in &found {
            let mut line = vec![md::escape(stage), md::escape(field)];
            line.extend(values.iter().map(|value| value.as_deref().map_or("–".to_owned(), md::escape)));
            lines.push(line);
        }
        text += &format!("## Settings that differ\n\n{}", md::table(&lines));
    }
    for side in &sides {
        let mut lines = vec![head(&["row"])];
        for (name, values) in &side.rows {
            let mut line = vec![md::escape(name)];
            line.extend(
                values
                    .iter()
                    .map(|value| value.map_or("–".to_owned(), |e| metric_labels::formatted(&side.metric, e))),
            );
            lines.push(line);
        }
        text += &format!("## {}\n\n{}", md::escape(&side.label), md::table(&lines));
    }
    let all: Vec<String> = caveats(runs, tables).into_iter().map(|(runs, text)| format!("{runs}: {text}")).collect();
    text + &md::list("Caveats", &all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::artifact::Metrics;
    use crate::report::fixture::{self, ran, stage};

    fn two() -> Vec<RunSummary> {
        let mut runs = vec![ran(), ran()];
        runs[1].id = "20250201T120000Z-1".to_owned();
        for (ran, gamma) in runs.iter_mut().zip([0.9, 0.95]) {
            for seed in [0, 1] {
                let mut policy = stage(&format!("policy@seed={seed}"), "rl.a2c", &[], &[]);
                policy.config = json!({ "seed": seed, "gamma": gamma, "network": { "width": 8 } });
                ran.stages.push(policy);
            }
        }
        runs
    }

    fn table<'a>(ran: &'a RunSummary, judge: &'a str, mean: f64) -> Table<'a> {
        let rows = fixture::rows(&[("<b>a2c</b>", false, mean, 1.0), ("random|", true, 24.0, 0.5)]);
        Table {
            ran,
            stage: "score",
            metrics: Metrics::default(),
            rows,
            comparisons: None,
            rollouts: None,
            evaluation_world: Some(judge),
        }
    }

    #[test]
    fn settings_that_differ_are_found_over_all_cells() {
        let mut runs = two();
        let found = settings(&runs);
        let one = Setting {
            stage: "policy".into(),
            field: "gamma".into(),
            values: vec![Some("0.9".into()), Some("0.95".into())],
        };
        assert_eq!(found, [one]);
        runs[1].stages.pop();
        let seeds = settings(&runs).into_iter().find(|s| s.field == "seed").unwrap();
        assert_eq!(seeds.values, [Some("0, 1".to_owned()), Some("0".to_owned())]);
    }

    #[test]
    fn rows_stand_side_by_side_and_only_intervals_apart_speak() {
        let runs = two();
        let tables = [table(&runs[0], "w", 100.0), table(&runs[1], "w", 105.0)];
        let said = words(&runs, &tables, &sides(&runs, &tables));
        assert_eq!(
            said[0],
            "Run 2: the return differs from run 1 for <b>a2c</b> (5.0 higher) (intervals do not overlap), and not for 1 other."
        );
        let text = markdown(&runs, &tables);
        assert!(text.contains("| &lt;b&gt;a2c&lt;/b&gt; | 100.0 [99.0, 101.0] | 105.0 [104.0, 106.0] |"), "{text}");
        assert!(text.contains("random\\|") && text.contains("| policy | gamma | 0.9 | 0.95 |"), "{text}");
        let page = page(&runs, &tables).unwrap();
        assert!(page.contains("&lt;b&gt;a2c&lt;") && !page.contains("<b>a2c") && page.contains("+5.00"), "{page}");
        assert!(page.ends_with("</html>\n") || page.ends_with("</html>"));
    }

    #[test]
    fn other_judges_do_not_compare() {
        let runs = two();
        let tables = [table(&runs[0], "w", 100.0), table(&runs[1], "v", 105.0)];
        assert!(words(&runs, &tables, &sides(&runs, &tables))[0].contains("evaluated in another world"));
    }
}
