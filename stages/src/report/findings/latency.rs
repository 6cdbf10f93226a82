//! How long one recommendation takes, beside one decision of the language model, as the record of a run tells it.
//!
//! Of a policy the evaluation notes the median of single recommendations. Of the language model only the time of its stage is
//! known: divided by its decisions it is what one cost in that run. Answers that came from the store took no time, so with
//! some of them the ratio is a lower bound, and with all of them there is none.

use pipeline::report::{RunSummary, RunSummaryStage};
use serde_json::{Value, json};

use crate::report::table::format;

/// What the evaluation's notes begin with.
const NOTE: &str = "time of ";

/// The rows of one evaluation.
#[derive(Debug, PartialEq)]
pub(in crate::report) struct LatencyTable {
    /// The stage that took the times.
    pub stage: String,
    pub rows: Vec<LatencyRow>,
    /// What is known of the language model, in a sentence.
    pub teacher: String,
}

/// A row of the table.
#[derive(Debug, PartialEq)]
pub(in crate::report) struct LatencyRow {
    pub name: String,
    /// Median of one recommendation.
    pub milliseconds: f64,
    /// How many of them fit into one decision of the language model.
    pub times_faster: Option<f64>,
    /// Whether that is a lower bound.
    pub at_least: bool,
}

impl LatencyRow {
    /// Its cells: name, time, ratio.
    pub fn cells(&self) -> [String; 3] {
        let sign = if self.at_least { "≥ " } else { "" };
        let times = self.times_faster.map_or("–".to_owned(), |times| format!("{sign}{} ×", rough(times)));
        let time = match self.milliseconds {
            ms if ms < 1.0 => format!("{:.0} µs", ms * 1e3),
            ms => format!("{} ms", format::three_digits(ms)),
        };
        [self.name.clone(), time, times]
    }
}

impl LatencyTable {
    pub fn to_json(&self) -> Value {
        let row = |row: &LatencyRow| json!({ "policy": row.name, "milliseconds": row.milliseconds, "times_faster": row.times_faster, "at_least": row.at_least });
        json!({ "stage": self.stage, "rows": self.rows.iter().map(row).collect::<Vec<_>>(), "teacher": self.teacher })
    }
}

/// The times of each evaluation that took some.
pub(in crate::report) fn speeds(ran: &RunSummary) -> Vec<LatencyTable> {
    let evaluation = ran.stages.iter().filter(|stage| stage.kind == "evaluate");
    evaluation.filter_map(|stage| speed(ran, stage)).collect()
}

fn speed(ran: &RunSummary, evaluation: &RunSummaryStage) -> Option<LatencyTable> {
    let timed = evaluation.notes.iter().filter_map(|(name, value)| Some((name.strip_prefix(NOTE)?, median(value)?)));
    let timed: Vec<(&str, f64)> = timed.collect();
    if timed.is_empty() {
        return None;
    }
    let (known, at_least, teacher) = match decision(ran, evaluation) {
        Ok(decision) => (Some(decision.seconds), decision.served > 0.0, decision.said()),
        Err(why) => (None, false, why),
    };
    let faster = |milliseconds: f64| known.filter(|_| milliseconds > 0.0).map(|seconds| seconds * 1e3 / milliseconds);
    let row = |(name, milliseconds): (&str, f64)| LatencyRow {
        name: name.to_owned(),
        milliseconds,
        times_faster: faster(milliseconds),
        at_least,
    };
    Some(LatencyTable { stage: evaluation.name.clone(), rows: timed.into_iter().map(row).collect(), teacher })
}

/// A ratio of two times to two digits, of which no more can be known; rounded down, for some are lower bounds.
fn rough(times: f64) -> String {
    if times < 10.0 {
        return format::three_digits(times);
    }
    let unit = 10f64.powf(times.log10().floor() - 1.0);
    format!("{:.0}", (times / unit + 1e-9).floor() * unit)
}

/// Milliseconds of `median 0.123 ms, …`.
fn median(note: &str) -> Option<f64> {
    note.strip_prefix("median ")?.split_once(" ms")?.0.parse().ok().filter(|median: &f64| median.is_finite())
}

/// What one decision of the model took.
struct Decision<'a> {
    stage: &'a str,
    /// Of the whole stage.
    whole: f64,
    decisions: f64,
    /// Of one decision.
    seconds: f64,
    /// Questions that were asked anew, and those that the store had the answer to.
    asked: f64,
    served: f64,
}

impl Decision<'_> {
    fn said(&self) -> String {
        let Self { stage, whole, decisions, seconds, asked, served } = self;
        let (least, from_store) = match *served {
            0.0 => ("", String::new()),
            _ => ("at least ", format!(", {served} of {} answers from the cache, which took no time", asked + served)),
        };
        format!(
            "The language model took {least}{} per decision ({stage}: {decisions} decisions in {}{from_store}). Episodes ran concurrently, possibly beside other stages: this is throughput, not the latency of one decision.",
            format::seconds(*seconds),
            format::seconds(*whole),
        )
    }
}

/// What a decision of the model that played as the teacher took, by the stage that asked it most anew; else why no user knows.
fn decision<'a>(ran: &'a RunSummary, evaluation: &RunSummaryStage) -> Result<Decision<'a>, String> {
    let teacher = evaluation.inputs.iter().find(|input| input.port == "teacher");
    let teacher = teacher.ok_or("No language model was evaluated, so there is no ratio.")?;
    let makes = |stage: &&RunSummaryStage| stage.files.iter().any(|file| file.digest == teacher.digest);
    let teacher = ran.stages.iter().find(makes).filter(|stage| stage.kind == "demonstrate");
    let teacher = teacher.ok_or("No language model was called in this experiment, so there is no ratio.")?;
    let same = |stage: &&RunSummaryStage| {
        stage.kind == "demonstrate" && stage.name != teacher.name && stage.config["llm"] == teacher.config["llm"]
    };
    let own = of_stage(teacher, evaluation);
    let others = ran.stages.iter().filter(same).filter_map(|stage| of_stage(stage, evaluation).ok());
    let others = others.reduce(|best, other| if other.served < best.served { other } else { best });
    match (own, others) {
        (Ok(own), Some(other)) if other.served < own.served => Ok(other),
        (Err(_), Some(other)) => Ok(other),
        (own, _) => own,
    }
}

fn of_stage<'a>(stage: &'a RunSummaryStage, evaluation: &RunSummaryStage) -> Result<Decision<'a>, String> {
    let number = |note: &str, unit: &str| -> Option<f64> {
        stage.notes.get(note)?.split_once(unit)?.0.rsplit(' ').next()?.parse().ok()
    };
    let (Some(whole), Some(decisions), Some(asked), Some(served)) =
        (stage.made_in_seconds, number("decisions", " in "), number("calls", " asked"), number("calls", " served"))
    else {
        return Err(format!("The record holds no time and no number of decisions of {}.", stage.name));
    };
    if asked < 1.0 || decisions < 1.0 {
        return Err(format!("All answers of {} came from the cache, so there is no ratio.", stage.name));
    }
    let host = |stage: &RunSummaryStage| stage.made_by.as_ref().map(|(_, host)| host.clone());
    if host(stage) != host(evaluation) {
        return Err(format!("{} ran on another machine, so there is no ratio.", stage.name));
    }
    Ok(Decision { stage: &stage.name, whole, decisions, seconds: whole / decisions, asked, served })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{LatencyRow, speeds};
    use crate::report::fixture::{ran, stage};

    /// A teacher of 100 decisions in 50 s, a policy of 2 ms.
    fn example() -> pipeline::report::RunSummary {
        let asked = |name: &str, made: &str, calls: &str| {
            let mut stage = stage(name, "demonstrate", &[], &[made]);
            (stage.made_in_seconds, stage.config) = (Some(50.0), json!({ "llm": "small" }));
            stage.notes.insert("decisions".to_owned(), "100 in 4 episodes".to_owned());
            stage.notes.insert("calls".to_owned(), calls.to_owned());
            stage
        };
        let mut score = stage("score", "evaluate", &[("world", "w"), ("teacher", "t")], &["m"]);
        let note = "median 2.000 ms, 99 % within 3.000 ms (200 recommendations, one at a time)".to_owned();
        score.notes.insert("time of a2c".to_owned(), note);
        score.notes.insert("episodes".to_owned(), "12".to_owned());
        let mut ran = ran();
        ran.stages = vec![
            asked("demos", "d", "90 asked, 0 served from the store"),
            asked("teacher", "t", "90 asked, 0 served from the store"),
            score,
        ];
        ran
    }

    #[test]
    fn a_policy_stands_beside_a_decision_of_the_model() {
        let found = speeds(&example()).remove(0);
        let wanted =
            LatencyRow { name: "a2c".to_owned(), milliseconds: 2.0, times_faster: Some(250.0), at_least: false };
        assert_eq!(found.rows, [wanted]);
        assert_eq!(found.rows[0].cells(), ["a2c", "2.00 ms", "250 ×"]);
        let said = "The language model took 0.50 s per decision (teacher: 100 decisions in 50.0 s).";
        assert!(found.teacher.starts_with(said), "{}", found.teacher);
        let quick = LatencyRow { milliseconds: 0.013, ..speeds(&example()).remove(0).rows.remove(0) };
        assert_eq!(quick.cells()[1], "13 µs");
        assert_eq!([2.5, 10.0, 99.9, 250.0, 10_495.0].map(super::rough), ["2.50", "10", "99", "250", "10000"]);
    }

    #[test]
    fn answers_from_the_store_make_a_lower_bound_or_none() {
        let mut ran = example();
        let calls = |ran: &mut pipeline::report::RunSummary, at: usize, note: &str| {
            ran.stages[at].notes.insert("calls".to_owned(), note.to_owned());
        };
        // The same model was asked anew elsewhere.
        calls(&mut ran, 1, "85 asked, 5 served from the store");
        assert!(speeds(&ran)[0].teacher.contains("(demos: 100 decisions in"), "{}", speeds(&ran)[0].teacher);
        calls(&mut ran, 0, "80 asked, 10 served from the store");
        let found = speeds(&ran).remove(0);
        assert!(found.teacher.contains("at least 0.50 s") && found.teacher.contains("5 of 90 answers from the cache"));
        assert_eq!(found.rows[0].cells()[2], "≥ 250 ×");
        for at in [0, 1] {
            calls(&mut ran, at, "0 asked, 90 served from the store");
        }
        let found = speeds(&ran).remove(0);
        assert!(found.teacher.starts_with("All answers of teacher came from the cache"), "{}", found.teacher);
        assert_eq!(found.rows[0].cells()[2], "–");
        // Another model says nothing of this one.
        calls(&mut ran, 0, "90 asked, 0 served from the store");
        ran.stages[0].config = json!({ "llm": "large" });
        assert_eq!(speeds(&ran)[0].rows[0].times_faster, None);
    }

    #[test]
    fn what_the_record_does_not_say_is_not_made_up() {
        let mut ran = example();
        ran.stages[1].made_by = Some(("x".to_owned(), "elsewhere".to_owned()));
        ran.stages[0].config = json!({});
        assert!(speeds(&ran)[0].teacher.contains("another machine"));
        ran.stages[1].notes.clear();
        assert!(speeds(&ran)[0].teacher.starts_with("The record holds no time"));
        ran.stages[2].inputs.clear();
        assert!(speeds(&ran)[0].teacher.starts_with("No language model was evaluated"));
        ran.stages[2].notes.clear();
        assert!(speeds(&ran).is_empty());
    }
}
