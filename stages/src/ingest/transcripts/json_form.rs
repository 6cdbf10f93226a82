//! Transcripts in JSON lines, one episode per line, for recordings of any source:
//!
//! ```text
//! {"user": "u1", "history": ["A"], "steps": [{"thought": "…", "said": "x", "title": "B", "reward": 4}], "left": true}
//! ```
//!
//! A step names its item by `title`, which the source matched to its catalogue, or by `said` alone, the text of the model, which is
//! matched here; where both are given, `title` counts. `raw` is the raw answer. A step without a recommendation states the reason:
//! `{"failed": "time-out", "raw": "…"}`. `question`, `history`, `thought`, `raw` and `observed` are optional. Every other step has a
//! `reward`, except the last one of an episode with `left`.

use anyhow::Result;
use rayon::prelude::*;
use serde::Deserialize;

use crate::ingest::readers::bad_rows::{BadRows, Fault};
use crate::ingest::transcripts::transcript::{Outcome, Transcript, TranscriptCounts, Turn};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    user: String,
    #[serde(default)]
    question: String,
    #[serde(default)]
    history: Vec<String>,
    steps: Vec<Step>,
    #[serde(default)]
    left: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    #[serde(default)]
    thought: String,
    said: Option<String>,
    title: Option<String>,
    raw: Option<String>,
    #[serde(default)]
    observed: String,
    reward: Option<f64>,
    failed: Option<String>,
}

/// The transcripts of one file; invalid lines are counted and dropped.
pub(in crate::ingest) fn read(text: &str) -> Result<(Vec<Transcript>, TranscriptCounts, BadRows)> {
    let lines: Vec<(u64, &str)> = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).collect();
    let read = |&(number, line): &(u64, &str)| {
        let line = serde_json::from_str::<Line>(line).map_err(|error| in_one_line(&error.to_string()))?;
        episode(line, number)
    };
    let read: Vec<Result<_, String>> = lines.par_iter().map(read).collect();
    let (mut transcripts, mut counts, mut bad) = (Vec::new(), TranscriptCounts::default(), BadRows::default());
    for ((number, _), read) in lines.into_iter().zip(read) {
        match read {
            Ok((episode, counted)) => {
                transcripts.push(episode);
                counts.add(counted);
            }
            Err(error) => bad.add(Fault::row(error, "an episode"), || number),
        }
    }
    Ok((transcripts, counts, bad))
}

/// The parser sees one line at a time, and always calls it line 1.
fn in_one_line(error: &str) -> String {
    error.replace(" at line 1 column ", " at column ")
}

fn episode(line: Line, number: u64) -> Result<(Transcript, TranscriptCounts), String> {
    let mut counts = TranscriptCounts { episodes: 1, actions: line.steps.len() as u64, ..TranscriptCounts::default() };
    let mut turns = Vec::with_capacity(line.steps.len());
    let last = line.steps.len();
    for (at, step) in (1..).zip(line.steps) {
        let outcome = outcome(&step, line.left && at == last).map_err(|fault| format!("step {at} {fault}"))?;
        match outcome {
            Outcome::Stays(_) => counts.stays += 1,
            Outcome::Leaves => counts.leaves += 1,
            Outcome::Failed(_) => counts.no_recommendation += 1,
        }
        let Step { thought, said, title, raw, observed, .. } = step;
        counts.regrounded += u64::from(title.is_some() && said.is_some() && said != title);
        let said = said.or_else(|| title.clone()).unwrap_or_default();
        turns.push(Turn { thought, said, title, raw, observed, outcome, line: number });
    }
    Ok((Transcript { user: line.user, question: line.question, history: line.history, turns }, counts))
}

/// The outcome of a step, or its fault.
fn outcome(step: &Step, left: bool) -> Result<Outcome, &'static str> {
    match (&step.failed, step.reward) {
        (Some(_), _) if left => Err("is `failed`, so that the user cannot leave at it"),
        (Some(_), Some(_)) => Err("is `failed` and has a `reward`"),
        (Some(_), None) if step.title.is_some() => Err("is `failed` and has a `title`"),
        (Some(reason), None) => Ok(Outcome::Failed(reason.clone())),
        _ if step.title.is_none() && step.said.is_none() => Err("without `title` or `said`"),
        _ if left => Ok(Outcome::Leaves),
        (None, Some(reward)) => Ok(Outcome::Stays(reward)),
        (None, None) => Err("without a `reward`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_episodes_and_bad_ones_are_counted() {
        let text = concat!(
            r#"{"user": "u", "steps": [{"title": "A", "reward": 4}, {"title": "B", "said": "b"}], "left": true}"#,
            "\n\n",
            r#"{"user": "v", "steps": [{"title": "A"}]}"#,
            "\n",
            r#"{"user": "v", "steps": [], "lefd": true}"#,
        );
        let (transcripts, counts, bad) = read(text).unwrap();
        assert_eq!(transcripts.len(), 1);
        let outcomes: Vec<_> = transcripts[0].turns.iter().map(|turn| (turn.said.as_str(), &turn.outcome)).collect();
        assert_eq!(outcomes, [("A", &Outcome::Stays(4.0)), ("b", &Outcome::Leaves)]);
        let wanted = TranscriptCounts {
            episodes: 1,
            actions: 2,
            stays: 1,
            leaves: 1,
            regrounded: 1,
            ..TranscriptCounts::default()
        };
        assert_eq!(counts, wanted);
        let shown = format!("{bad:?}");
        assert!(shown.contains("step 1 without a `reward`") && shown.contains("unknown field `lefd`"), "{shown}");
        assert!(shown.contains("first: [(3, ") && shown.contains("at column 33"), "{shown}");
    }

    #[test]
    fn what_was_thought_written_and_not_written_is_kept() {
        let text = r#"{"user": "u", "steps": [{"thought": "t", "said": "x", "raw": "t\nx", "reward": 1},
            {"failed": "time-out", "raw": "<html>"}]}"#;
        let (transcripts, counts, bad) = read(&text.replace('\n', "")).unwrap();
        assert_eq!(bad, BadRows::default());
        let [first, second] = &transcripts[0].turns[..] else { panic!("{transcripts:?}") };
        assert_eq!((first.thought.as_str(), first.name(), &first.title), ("t", "x", &None));
        assert_eq!(first.raw.as_deref(), Some("t\nx"));
        assert_eq!((second.raw.as_deref(), &second.outcome), (Some("<html>"), &Outcome::Failed("time-out".into())));
        assert_eq!((counts.actions, counts.stays, counts.no_recommendation, counts.regrounded), (2, 1, 1, 0));
    }

    #[test]
    fn steps_that_contradict_themselves_say_so() {
        let fault = |step: &str, left: bool| {
            let (transcripts, _, bad) =
                read(&format!(r#"{{"user": "u", "steps": [{step}], "left": {left}}}"#)).unwrap();
            assert!(transcripts.is_empty(), "{step}");
            format!("{bad:?}")
        };
        for (step, left, wanted) in [
            (r#"{"failed": "f"}"#, true, "step 1 is `failed`, so that the user cannot leave at it"),
            (r#"{"failed": "f", "reward": 1}"#, false, "step 1 is `failed` and has a `reward`"),
            (r#"{"failed": "f", "title": "A"}"#, false, "step 1 is `failed` and has a `title`"),
            (r#"{"reward": 1}"#, false, "step 1 without `title` or `said`"),
            (r#"{"raw": "x"}"#, true, "step 1 without `title` or `said`"),
        ] {
            let fault = fault(step, left);
            assert!(fault.contains(wanted), "{step}: {fault}");
        }
    }
}
