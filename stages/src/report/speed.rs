//! How long one recommendation takes, beside one decision of the language model, as the record of a run tells it.
//!
//! Of a policy the evaluation notes the median of single recommendations. Of the language model only the time of its stage is
//! known: divided by its decisions it says what one costs where episodes run side by side, so the ratio is rather too small.
//! Answers that came from the store took no time, so a stage with any of them tells nothing.

use pipeline::report::{Ran, RanStage};
use serde_json::{Value, json};

use super::say;

/// What the evaluation's notes begin with.
const NOTE: &str = "time of ";

/// The rows of one evaluation.
#[derive(Debug, PartialEq)]
pub(super) struct Speed {
    /// The stage that took the times.
    pub stage: String,
    pub rows: Vec<Timed>,
    /// What is known of the language model, in a sentence.
    pub teacher: String,
}

/// A row of the table.
#[derive(Debug, PartialEq)]
pub(super) struct Timed {
    pub name: String,
    /// Median of one recommendation.
    pub milliseconds: f64,
    /// How many of them fit into one decision of the language model.
    pub times_faster: Option<f64>,
}

impl Timed {
    /// Its cells: name, time, ratio.
    pub fn cells(&self) -> [String; 3] {
        let times = self.times_faster.map_or("–".to_owned(), |times| format!("{} ×", say::about(times)));
        [self.name.clone(), format!("{} ms", say::about(self.milliseconds)), times]
    }
}

impl Speed {
    pub fn to_json(&self) -> Value {
        let row = |row: &Timed| json!({ "policy": row.name, "milliseconds": row.milliseconds, "times_faster": row.times_faster });
        json!({ "stage": self.stage, "rows": self.rows.iter().map(row).collect::<Vec<_>>(), "teacher": self.teacher })
    }
}

/// The times of each evaluation that took some.
pub(super) fn speeds(ran: &Ran) -> Vec<Speed> {
    let judging = ran.stages.iter().filter(|stage| stage.kind == "evaluate");
    judging.filter_map(|stage| speed(ran, stage)).collect()
}

fn speed(ran: &Ran, judging: &RanStage) -> Option<Speed> {
    let timed = judging.notes.iter().filter_map(|(name, value)| Some((name.strip_prefix(NOTE)?, median(value)?)));
    let timed: Vec<(&str, f64)> = timed.collect();
    if timed.is_empty() {
        return None;
    }
    let (decision, teacher) = match decision(ran, judging) {
        Ok((seconds, said)) => (Some(seconds), said),
        Err(why) => (None, why),
    };
    let faster =
        |milliseconds: f64| decision.filter(|_| milliseconds > 0.0).map(|seconds| seconds * 1e3 / milliseconds);
    let row = |(name, milliseconds): (&str, f64)| Timed {
        name: name.to_owned(),
        milliseconds,
        times_faster: faster(milliseconds),
    };
    Some(Speed { stage: judging.name.clone(), rows: timed.into_iter().map(row).collect(), teacher })
}

/// Milliseconds of `median 0.123 ms, …`.
fn median(note: &str) -> Option<f64> {
    note.strip_prefix("median ")?.split_once(" ms")?.0.parse().ok().filter(|median: &f64| median.is_finite())
}

/// Seconds for one decision of the model that played as the teacher, and how they are known; else why they are not.
fn decision(ran: &Ran, judging: &RanStage) -> Result<(f64, String), String> {
    let teacher = judging.inputs.iter().find(|input| input.port == "teacher");
    let teacher = teacher.ok_or("No language model was judged, so no ratio can be told.")?;
    let makes = |stage: &&RanStage| stage.files.iter().any(|file| file.digest == teacher.digest);
    let teacher = ran.stages.iter().find(makes).filter(|stage| stage.kind == "demonstrate");
    let teacher = teacher.ok_or("No language model was asked in this experiment, so no ratio can be told.")?;
    // The same model may have been asked anew in another stage.
    let same = |stage: &&RanStage| {
        stage.kind == "demonstrate" && stage.name != teacher.name && stage.config["llm"] == teacher.config["llm"]
    };
    let mut known =
        std::iter::once(teacher).chain(ran.stages.iter().filter(same)).map(|stage| of_stage(stage, judging));
    let first = known.next().unwrap_or_else(|| Err(String::new()));
    first.or_else(|why| known.find_map(Result::ok).ok_or(why))
}

fn of_stage(stage: &RanStage, judging: &RanStage) -> Result<(f64, String), String> {
    let number = |note: &str, after: &str| -> Option<f64> {
        let text = stage.notes.get(note)?.split_once(after)?.0;
        text.rsplit(' ').next()?.parse().ok()
    };
    let (Some(seconds), Some(decisions), Some(served)) =
        (stage.made_in_seconds, number("decisions", " in "), number("calls", " served").filter(|n| *n >= 0.0))
    else {
        return Err(format!("The record does not say how long {} took for how many decisions.", stage.name));
    };
    let host = |stage: &RanStage| stage.made_by.as_ref().map(|(_, host)| host.clone());
    if served > 0.0 {
        return Err(format!(
            "{served} answers of {} came from the store and took no time, so no ratio can be told.",
            stage.name
        ));
    }
    if host(stage) != host(judging) {
        return Err(format!("{} ran on another machine, so no ratio can be told.", stage.name));
    }
    if decisions < 1.0 {
        return Err(format!("{} made no decision, so no ratio can be told.", stage.name));
    }
    let each = seconds / decisions;
    let said = format!(
        "The language model took {} a decision ({}: {decisions} in {}, all asked anew); several episodes may run side by \
         side, so one decision alone takes longer.",
        say::seconds(each),
        stage.name,
        say::seconds(seconds)
    );
    Ok((each, said))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Timed, speeds};
    use crate::report::fixture::{ran, stage};

    /// A teacher of 100 decisions in 50 s, a policy of 2 ms.
    fn example() -> pipeline::report::Ran {
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
        assert_eq!(found.rows, [Timed { name: "a2c".to_owned(), milliseconds: 2.0, times_faster: Some(250.0) }]);
        assert_eq!(found.rows[0].cells(), ["a2c", "2.00 ms", "250 ×"]);
        assert!(
            found.teacher.starts_with("The language model took 0.50 s a decision (teacher: 100 in 50.0 s"),
            "{}",
            found.teacher
        );
    }

    #[test]
    fn where_answers_came_from_the_store_no_ratio_is_told() {
        let mut ran = example();
        let served = |ran: &mut pipeline::report::Ran, at: usize| {
            ran.stages[at].notes.insert("calls".to_owned(), "85 asked, 5 served from the store".to_owned());
        };
        // The same model was asked anew elsewhere.
        served(&mut ran, 1);
        assert!(speeds(&ran)[0].teacher.contains("(demos: 100 in"));
        served(&mut ran, 0);
        let found = speeds(&ran).remove(0);
        assert_eq!(
            found.teacher,
            "5 answers of teacher came from the store and took no time, so no ratio can be told."
        );
        assert_eq!(found.rows[0].cells()[2], "–");
        ran.stages[0].config = json!({ "llm": "large" });
        ran.stages[0].notes.insert("calls".to_owned(), "90 asked, 0 served from the store".to_owned());
        assert_eq!(speeds(&ran)[0].rows[0].times_faster, None);
    }

    #[test]
    fn what_the_record_does_not_say_is_not_made_up() {
        let mut ran = example();
        ran.stages[1].made_by = Some(("x".to_owned(), "elsewhere".to_owned()));
        ran.stages[0].config = json!({});
        assert!(speeds(&ran)[0].teacher.contains("another machine"));
        ran.stages[1].notes.clear();
        assert!(speeds(&ran)[0].teacher.starts_with("The record does not say"));
        ran.stages[2].inputs.clear();
        assert!(speeds(&ran)[0].teacher.starts_with("No language model was judged"));
        ran.stages[2].notes.clear();
        assert!(speeds(&ran).is_empty());
    }
}
