//! The language models of a table side by side: what they return, and what an episode of each takes.
//!
//! Calls and whole prompts are measures of the table, decided by requests and answers alone. Seconds, newly evaluated tokens and
//! money are of the run that made the episodes, so only a page that tells a run has them. Answers that came from the store took
//! nothing there: with some of them such a figure is a lower bound, and with all of them there is none.

use anyhow::Result;
use minijinja::{Value, context};
use pipeline::report::{RunSummary, RunSummaryStage};
use serde_json::json;

use crate::report::table::row::{Role, Row};
use crate::report::table::{format, metric_labels};

/// The metrics that stand side by side.
const MEASURES: [&str; 6] =
    ["return_inclusive", "lead_over_popular", "lead_over_retriever", "calls", "prompt_tokens", "completion_tokens"];
/// Those of what was run.
const COSTS: [&str; 3] = ["new tokens", "time", "cost"];

/// What an episode took, as a record tells it; `None` where it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::report) struct EpisodeCost {
    pub tokens: Option<f64>,
    pub seconds: Option<f64>,
    pub usd: Option<f64>,
    /// Whether these are lower bounds.
    pub at_least: bool,
}

/// The language models of one evaluation.
#[derive(Debug, PartialEq)]
pub(in crate::report) struct Models {
    /// The stage that evaluated them.
    pub stage: String,
    pub rows: Vec<(Row, EpisodeCost)>,
}

/// The rows of language models; none where there is only one whose calls are not known: then the table says it all.
pub(in crate::report) fn rows(rows: &[Row]) -> Vec<&Row> {
    let found: Vec<&Row> = rows.iter().filter(|row| row.role == Role::Teacher).collect();
    if found.len() > 1 || found.iter().any(|row| row.get("calls").is_some()) { found } else { Vec::new() }
}

/// The rows as a template takes them: heads and cells.
pub(in crate::report) fn table(found: &[&Row]) -> Value {
    let row = |row: &&Row| context! { name => row.name.as_str(), cells => measured(row) };
    context! { heads => MEASURES.map(metric_labels::label), rows => found.iter().map(row).collect::<Value>() }
}

fn measured(row: &Row) -> Vec<String> {
    let cell = |name: &str| row.get(name).map_or("–".to_owned(), |estimate| metric_labels::formatted(name, estimate));
    MEASURES.map(cell).to_vec()
}

impl Models {
    /// The models that `evaluation` evaluated in that run, whose table has `rows`; `None` where there is nothing to tell of them.
    pub fn of(ran: &RunSummary, evaluation: &str, rows: &[Row]) -> Option<Self> {
        let evaluation = ran.stages.iter().find(|stage| stage.name == evaluation)?;
        // The inputs stand in the order of the rows. Two models may have done the same: then their files have one digest, and
        // the first of these inputs is of the first of these stages.
        let digests: Vec<&str> = evaluation
            .inputs
            .iter()
            .filter(|input| input.port == "teacher")
            .map(|input| input.digest.as_str())
            .collect();
        let episode_cost = |k: usize| {
            let makes = |stage: &&RunSummaryStage| {
                stage.files.iter().any(|file| Some(&*file.digest) == digests.get(k).copied())
            };
            let before = digests.iter().take(k).filter(|digest| Some(*digest) == digests.get(k)).count();
            let mut makers = ran.stages.iter().filter(makes).peekable();
            let first = makers.peek().copied();
            makers.nth(before).or(first).map(episode_cost).unwrap_or_default()
        };
        let models = rows.iter().filter(|row| row.role == Role::Teacher).enumerate();
        let rows: Vec<(Row, EpisodeCost)> = models.map(|(k, row)| (row.clone(), episode_cost(k))).collect();
        let told =
            |(row, episode_cost): &(Row, EpisodeCost)| row.get("calls").is_some() || episode_cost.seconds.is_some();
        rows.iter().any(told).then(|| Self { stage: evaluation.name.clone(), rows })
    }

    /// The heads of its columns, the row's name first.
    pub fn heads() -> Vec<String> {
        let own = |head: &str| head.to_owned();
        std::iter::once(own("row")).chain(MEASURES.map(metric_labels::label)).chain(COSTS.map(own)).collect()
    }

    /// The cells of each row.
    pub fn cells(&self) -> Vec<Vec<String>> {
        let cells = |(row, episode_cost): &(Row, EpisodeCost)| {
            let mut cells = vec![row.name.clone()];
            cells.extend(measured(row));
            cells.extend(episode_cost.cells());
            cells
        };
        self.rows.iter().map(cells).collect()
    }

    /// What the figures are and are not.
    pub fn said(&self) -> String {
        let mut text =
            "Means per episode. Time is the time of the stage divided by its episodes, which ran concurrently; cost is the cost of the stage in all its runs."
                .to_owned();
        if self.rows.iter().any(|(_, episode_cost)| episode_cost.at_least) {
            text += " ≥ marks a lower bound: some answers came from the cache.";
        }
        text
    }

    pub fn to_json(&self) -> serde_json::Value {
        let row = |(row, episode_cost): &(Row, EpisodeCost)| {
            let mean = |name| row.get(name).map(|estimate| estimate.mean);
            json!({
                "row": row.name, "calls": mean("calls"), "prompt_tokens": mean("prompt_tokens"),
                "completion_tokens": mean("completion_tokens"), "tokens_new": episode_cost.tokens, "seconds": episode_cost.seconds,
                "usd": episode_cost.usd, "at_least": episode_cost.at_least,
            })
        };
        json!({ "stage": self.stage, "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }
}

impl EpisodeCost {
    fn cells(&self) -> [String; COSTS.len()] {
        let sign = if self.at_least { "≥ " } else { "" };
        let cell = |value: Option<f64>, write: &dyn Fn(f64) -> String| {
            value.map_or("–".to_owned(), |value| format!("{sign}{}", write(value)))
        };
        let usd = |usd: f64| format!("{} USD", format::three_digits(usd));
        [cell(self.tokens, &format::three_digits), cell(self.seconds, &format::seconds), cell(self.usd, &usd)]
    }
}

/// What an episode of a stage took, by its notes.
fn episode_cost(stage: &RunSummaryStage) -> EpisodeCost {
    // The number that stands before `unit` in a note.
    let number = |note: &str, unit: &str| -> Option<f64> {
        stage.notes.get(note)?.split_once(unit)?.0.rsplit(' ').next()?.parse().ok()
    };
    let episodes = number("decisions", " episodes").filter(|episodes| *episodes > 0.0);
    let (Some(episodes), Some(asked), Some(served)) = (episodes, number("calls", " asked"), number("calls", " served"))
    else {
        return EpisodeCost::default();
    };
    let each = |whole: Option<f64>| whole.filter(|_| asked > 0.0).map(|whole| whole / episodes);
    EpisodeCost {
        tokens: each(number("tokens", " new")),
        seconds: each(stage.made_in_seconds),
        usd: number("spent", " USD").map(|usd| usd / episodes),
        at_least: served > 0.0,
    }
}

/// The language models of each evaluation of a run.
pub(in crate::report) fn models(ran: &RunSummary) -> Result<Vec<Models>> {
    let tables = crate::report::findings::evaluation_table::tables_of(ran)?;
    Ok(tables.iter().filter_map(|table| Models::of(ran, table.stage, &table.rows)).collect())
}

#[cfg(test)]
mod tests {
    use pipeline::Artifact as _;

    use super::*;
    use crate::artifact::Metrics;
    use crate::report::fixture::{self, stage};

    /// Two models evaluated by `score`; the second did what the first did.
    fn example() -> (RunSummary, Vec<Row>) {
        let asked = |name: &str, calls: &str, seconds: f64| {
            let mut stage = stage(name, "demonstrate", &[], &["same"]);
            stage.made_in_seconds = Some(seconds);
            let notes = [
                ("decisions", "240 in 8 episodes"),
                ("calls", calls),
                ("tokens", "1600 new, 3 a second"),
                ("spent", "240 calls, 9000 + 40 tokens and 0.016000 USD in all runs"),
            ];
            stage.notes.extend(notes.map(|(name, value)| (name.to_owned(), value.to_owned())));
            stage
        };
        let mut ran = fixture::ran();
        ran.stages = vec![
            asked("expert@a", "240 asked, 0 served from the store", 40.0),
            asked("expert@b", "40 asked, 200 served from the store", 4.0),
            stage("score", "evaluate", &[("world", "w"), ("teacher", "same"), ("teacher", "same")], &["m"]),
        ];
        let mut rows = fixture::rows(&[
            ("random", true, 24.0, 1.0),
            ("teacher a", false, 118.0, 6.0),
            ("teacher b", false, 120.0, 6.0),
        ]);
        let calls = crate::report::table::row::Estimate { mean: 30.0, low: 28.0, high: 31.5 };
        rows[1].measures.insert("calls".to_owned(), calls);
        (ran, rows)
    }

    #[test]
    fn each_stands_with_its_own_stage() {
        let (ran, rows) = example();
        let models = Models::of(&ran, "score", &rows).unwrap();
        assert_eq!(
            models.cells(),
            [
                [
                    "teacher a",
                    "118.0 [112.0, 124.0]",
                    "–",
                    "–",
                    "30.0 [28.0, 31.5]",
                    "–",
                    "–",
                    "200",
                    "5.00 s",
                    "0.0020 USD"
                ],
                ["teacher b", "120.0 [114.0, 126.0]", "–", "–", "–", "–", "–", "≥ 200", "≥ 0.50 s", "≥ 0.0020 USD"],
            ]
        );
        assert_eq!(Models::heads().len(), models.cells()[0].len());
        assert!(models.said().contains("came from the cache"));
        let json = models.to_json();
        assert_eq!((&json["rows"][1]["seconds"], &json["rows"][0]["calls"]), (&0.5.into(), &30.0.into()));
    }

    #[test]
    fn the_page_of_a_run_says_it_and_escapes_it() {
        let (mut ran, _) = example();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics");
        let mut metrics = fixture::metrics();
        metrics.rows.retain(|metric| metric.policy.starts_with("teacher"));
        metrics.rows.iter_mut().for_each(|metric| metric.policy = "teacher <b>".to_owned());
        metrics.write(&path).unwrap();
        let file = &mut ran.stages[2].files[0];
        (file.kind, file.object) = (Metrics::KIND.to_owned(), path.clone());
        file.digest = blake3::hash(&std::fs::read(&path).unwrap()).to_hex().to_string();
        let text = crate::report::render::run_info::section(&ran, None).unwrap();
        let (_, table) = text.split_once("<h3>Cost of the language models</h3>").expect("they have a table");
        assert!(table.contains("teacher &lt;b&gt;</th>") && table.contains(">0.0020 USD</td>"), "{table}");
        assert!(!text.contains("teacher <b>"));
    }

    #[test]
    fn what_the_record_does_not_say_is_not_made_up() {
        let (mut ran, rows) = example();
        ran.stages[0].notes.insert("calls".to_owned(), "0 asked, 240 served from the store".to_owned());
        ran.stages[1].notes.clear();
        let models = Models::of(&ran, "score", &rows).unwrap();
        let cells = models.cells();
        assert_eq!(
            (&cells[0][7..], &cells[1][7..]),
            (&["–", "–", "≥ 0.0020 USD"].map(str::to_owned)[..], &["–"; 3].map(str::to_owned)[..])
        );
        ran.stages.clear();
        assert_eq!(Models::of(&ran, "score", &rows), None);
    }

    #[test]
    fn one_model_of_which_nothing_more_is_known_has_no_table_of_its_own() {
        let (_, all) = example();
        assert_eq!(super::rows(&all).len(), 2);
        assert_eq!(super::rows(&all[..2]).len(), 1, "its calls are known");
        assert!(super::rows(&all[2..]).is_empty());
    }
}
