//! `report.worth`: the page of a study of what a model's scores are worth: the answer in words, return against log size, the tables.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use minijinja::{Value, context};
use pipeline::{Context, Stage, ports};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Page, Worth, WorthEstimate};
use crate::report::render::chart::learning_curves::{Line, draw};
use crate::report::render::chart::{NARROW, WIDE};
use crate::report::render::page;
use crate::report::table::format;

/// Renders worths as one self-contained HTML page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReportWorth {
    /// The page's heading; `What a language model is worth` when absent.
    pub title: Option<String>,
}

ports! {
    /// The data of the page.
    pub struct Inputs {
        /// The worths.
        worth: Worth,
    }
}

ports! {
    /// The page.
    pub struct Outputs {
        /// HTML with its style and pictures inside.
        page: Page,
    }
}

impl Stage for ReportWorth {
    const KIND: &'static str = "report.worth";
    /// 1: first. 2: the curve comes before what is said of each log size; worlds and learners are folded.
    const VERSION: u32 = 2;
    const ABOUT: &'static str = "render what a model's scores are worth, with return against log size, as an HTML page";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn run(&self, inputs: Inputs, _: &Context) -> Result<Outputs> {
        let worth = &inputs.worth;
        let models = models(worth);
        let of_a_size = |line: &str| models.iter().position(|model| line.starts_with(&format!("{model} beside ")));
        ensure!(!models.is_empty(), "input `worth` holds no scores\nhelp: connect the output of a `worth` stage");
        // Of the sizes, the smallest is part of the answer.
        let mut told = BTreeSet::new();
        let (sizes, answer): (Vec<String>, Vec<String>) =
            worth.answer.iter().cloned().partition(|line| of_a_size(line).is_some_and(|model| !told.insert(model)));
        let with = context! {
            title => self.title.as_deref().unwrap_or("What a language model is worth"),
            answer,
            sizes,
            charts => models.iter().flat_map(|model| charts(worth, model)).collect::<Value>(),
            worths => worths(worth, &models),
            alone => alone(worth),
            controls => models.iter().flat_map(|model| controls(worth, model)).collect::<Vec<_>>(),
            place => Value::from_safe_string(Page::PLACE.to_owned()),
        };
        Ok(Outputs { page: Page(page::fill("worth.html.j2", with)?) })
    }
}

/// Scores that are no control, in order.
fn models(worth: &Worth) -> Vec<&str> {
    let names: BTreeSet<&str> =
        worth.rows.iter().map(|row| row.scores.as_str()).filter(|name| !name.is_empty()).collect();
    let control = |name: &str| {
        names.iter().any(|other| name.len() > other.len() && name.starts_with(&format!("{other} shuffled")))
    };
    names.iter().copied().filter(|name| !control(name)).collect()
}

/// The charts of a model, with their headings: every world, and in each every learner that was played with and without it.
fn charts(worth: &Worth, model: &str) -> Vec<Value> {
    let gains = worth.rows.iter().filter(|row| row.quantity == "gain" && row.scores == model);
    let places: BTreeSet<(&str, &str)> = gains.map(|row| (row.world.as_str(), row.learner.as_str())).collect();
    let chart = |(world, learner): (&str, &str)| {
        let shuffled = format!("{model} shuffled");
        let start = curve(worth, "random", "", world);
        let line = |class, label: String, before: Vec<[f64; 4]>, scores: &str| {
            let points = before.into_iter().chain(curve(worth, learner, scores, world)).collect();
            Line { class, label, points }
        };
        let lines = [
            line("", learner.to_owned(), start, ""),
            line("other", "scores shuffled".into(), curve(worth, "", &shuffled, world), &shuffled),
            line("learned", format!("with {model}"), curve(worth, "", model, world), model),
        ];
        let title = format!("{learner} with and without {model}, {}", place(world));
        let both = context! {
            wide => Value::from_safe_string(draw(&title, &lines, WIDE)?),
            narrow => Value::from_safe_string(draw(&title, &lines, NARROW)?),
        };
        Some(context! { title, chart => both, main => world == "all" && learner == BEST })
    };
    let mut charts: Vec<((bool, bool), Value)> =
        places.into_iter().filter_map(|at| Some(((at.0 != "all", at.1 != BEST), chart(at)?))).collect();
    charts.sort_by_key(|(order, _)| *order);
    charts.into_iter().map(|(_, chart)| chart).collect()
}

/// The learner that validation chooses comes first.
const BEST: &str = "best by validation";

/// (N, return, low, high) of an arm.
fn curve(worth: &Worth, learner: &str, scores: &str, world: &str) -> Vec<[f64; 4]> {
    let of_arm = |row: &&WorthEstimate| {
        (row.learner.as_str(), row.scores.as_str(), row.world.as_str()) == (learner, scores, world)
            && row.quantity == "return"
    };
    let mut points: Vec<[f64; 4]> =
        worth.rows.iter().filter(of_arm).map(|row| [f64::from(row.n), row.value, row.low, row.high]).collect();
    points.sort_by(|a, b| a[0].total_cmp(&b[0]));
    points
}

/// Every gain and marginal worth of the models.
fn worths(worth: &Worth, models: &[&str]) -> Vec<Value> {
    let mut rows: Vec<&WorthEstimate> =
        worth.rows.iter().filter(|row| row.quantity == "gain" && models.contains(&row.scores.as_str())).collect();
    rows.sort_by_key(|row| {
        (row.world != "all", row.world.clone(), row.learner != BEST, row.learner.clone(), row.scores.clone(), row.n)
    });
    let row = |row: &WorthEstimate| {
        let find = |quantity| worth.find(&row.scores, &row.learner, &row.world, quantity, row.n);
        context! {
            main => row.world == "all" && row.learner == BEST,
            world => place(&row.world),
            learner => row.learner.as_str(),
            scores => row.scores.as_str(),
            n => count(f64::from(row.n)),
            gain => format!("{} [{}, {}]", format::two_decimals(row.value), format::two_decimals(row.low), format::two_decimals(row.high)),
            detectable => find("detectable_gain").map(|found| format::two_decimals(found.value)),
            worth => find("marginal_worth").map(ratings),
        }
    };
    rows.into_iter().map(row).collect()
}

/// What needs no ratings, in the mean over the worlds and in each.
fn alone(worth: &Worth) -> Vec<Value> {
    let mut rows: Vec<&WorthEstimate> =
        worth.rows.iter().filter(|row| row.quantity == "return" && row.n == 0).collect();
    rows.sort_by(|a, b| {
        (a.world != "all", &a.world).cmp(&(b.world != "all", &b.world)).then(b.value.total_cmp(&a.value))
    });
    let row = |row: &WorthEstimate| {
        let name = if row.learner.is_empty() { format!("{} alone", row.scores) } else { row.learner.clone() };
        let stands = worth.find(&row.scores, "", &row.world, "standalone_worth", 0);
        context! {
            main => row.world == "all",
            world => place(&row.world),
            name,
            mean => format!("{} [{}, {}]", format::two_decimals(row.value), format::two_decimals(row.low), format::two_decimals(row.high)),
            worth => stands.filter(|_| row.learner.is_empty()).map(ratings),
        }
    };
    rows.into_iter().map(row).collect()
}

/// What the same scores are worth once they say nothing of the item.
fn controls(worth: &Worth, model: &str) -> Vec<Value> {
    let control = |row: &&WorthEstimate| {
        row.quantity == "marginal_worth"
            && row.world == "all"
            && row.learner == BEST
            && row.scores.starts_with(&format!("{model} shuffled"))
    };
    let row = |row: &WorthEstimate| context! { scores => row.scores.as_str(), n => count(f64::from(row.n)), worth => ratings(row) };
    worth.rows.iter().filter(control).map(row).collect()
}

fn place(world: &str) -> String {
    match world.split_once('/') {
        Some(("all", part)) => format!("mean over the worlds, {part} items"),
        Some((world, part)) => format!("world {world}, {part} items"),
        None if world == "all" => "mean over the worlds".to_owned(),
        None => format!("world {world}"),
    }
}

/// `1240 [800, ≥ 48000]` in ratings.
fn ratings(row: &WorthEstimate) -> String {
    let beyond = |is: bool| if is { "≥ " } else { "" };
    format!(
        "{}{} [{}, {}{}]",
        beyond(row.censored == "value"),
        count(row.value),
        count(row.low),
        beyond(!row.censored.is_empty()),
        count(row.high)
    )
}

fn count(value: f64) -> String {
    format!("{value:.0}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn row(scores: &str, learner: &str, quantity: &str, n: u32, value: f64) -> WorthEstimate {
        let (scores, learner, quantity) = (scores.to_owned(), learner.to_owned(), quantity.to_owned());
        let (low, high, censored) = (value - 1.0, value + 1.0, String::new());
        WorthEstimate { scores, learner, world: "all".into(), quantity, n, value, low, high, censored }
    }

    fn study() -> Worth {
        let mut rows = vec![
            row("", "random", "return", 0, 90.0),
            row("", "oracle", "return", 0, 130.0),
            row("<llm>", "", "return", 0, 105.0),
            row("<llm>", "", "standalone_worth", 0, 900.0),
            row("<llm> shuffled", BEST, "marginal_worth", 100, 0.0),
        ];
        for n in [100, 1000] {
            rows.push(row("", BEST, "return", n, 100.0));
            rows.push(row("<llm>", BEST, "return", n, 106.0));
            rows.push(row("<llm>", BEST, "gain", n, 6.0));
            rows.push(row("<llm>", BEST, "detectable_gain", n, 1.5));
            rows.push(row("<llm>", BEST, "marginal_worth", n, 700.0));
        }
        Worth {
            rows,
            answer: ["alone", "beside 100", "beside 1,000"].map(|what| format!("<llm> {what} adds 6.")).to_vec(),
        }
    }

    fn page(worth: Worth) -> Result<String> {
        Ok(ReportWorth::default().run(Inputs { worth }, &Context::detached(Path::new("unused")))?.page.0)
    }

    #[test]
    fn the_page_says_the_answer_draws_the_curve_and_lists_the_worths() {
        let page = page(study()).unwrap();
        for part in ["&lt;llm&gt; alone adds 6.", "700 [699, 701]", "900 [899, 901]", "class=\"line learned\"", "1.50"]
        {
            assert!(page.contains(part), "`{part}` is missing: {page}");
        }
        assert!(!page.contains("<llm>") && !page.contains("<script") && page.contains(Page::PLACE));
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("`{text}` is missing: {page}"));
        assert!(at("&lt;llm&gt; beside 100 adds 6.") < at("class=\"line learned\""), "the answer comes first");
        assert!(
            at("class=\"line learned\"") < at("&lt;llm&gt; beside 1,000 adds"),
            "then the curve, then each further size"
        );
        assert!(page.contains("mean over the worlds"));
    }

    #[test]
    fn a_study_without_scores_is_refused() {
        assert!(page(Worth::default()).unwrap_err().to_string().starts_with("input `worth` holds no scores"));
    }
}
