//! Episodes in this program's own plain form, one JSON object a line, for recordings of any other source:
//!
//! ```text
//! {"user": "u1", "history": ["A"], "steps": [{"thought": "…", "said": "x", "title": "B", "reward": 4}], "left": true}
//! ```
//!
//! `history`, `question`, `thought`, `said` (as `title` where absent) and `observed` may be left out. Every step but the last
//! of an episode with `left` has a `reward`.

use anyhow::Result;
use serde::Deserialize;

use super::bad_rows::{BadRows, Fault};
use super::told::{Account, Outcome, Told, Turn};

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
    title: String,
    #[serde(default)]
    observed: String,
    reward: Option<f64>,
}

/// The episodes of one file; lines that do not fit are counted and left out.
pub(super) fn read(text: &str) -> Result<(Vec<Told>, Account, BadRows)> {
    let (mut told, mut account, mut bad) = (Vec::new(), Account::default(), BadRows::default());
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let read = serde_json::from_str::<Line>(line).map_err(|error| error.to_string());
        match read.and_then(|line| episode(line, number)) {
            Ok((episode, counted)) => {
                told.push(episode);
                account.add(counted);
            }
            Err(error) => bad.add(Fault::row(error, "an episode"), || number),
        }
    }
    Ok((told, account, bad))
}

fn episode(line: Line, number: u64) -> Result<(Told, Account), String> {
    let mut account = Account { episodes: 1, actions: line.steps.len() as u64, ..Account::default() };
    let mut turns = Vec::with_capacity(line.steps.len());
    let last = line.steps.len();
    for (at, step) in (1..).zip(line.steps) {
        let outcome = match step.reward {
            _ if line.left && at == last => Outcome::Leaves,
            Some(reward) => Outcome::Stays(reward),
            None => return Err(format!("step {at} without a `reward`")),
        };
        match outcome {
            Outcome::Stays(_) => account.stays += 1,
            Outcome::Leaves => account.leaves += 1,
        }
        let said = step.said.unwrap_or_else(|| step.title.clone());
        account.regrounded += u64::from(said != step.title);
        let (thought, title, observed) = (step.thought, step.title, step.observed);
        turns.push(Turn { thought, said, title, observed, outcome, line: number });
    }
    Ok((Told { user: line.user, question: line.question, history: line.history, turns }, account))
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
        let (told, account, bad) = read(text).unwrap();
        assert_eq!(told.len(), 1);
        let outcomes: Vec<_> = told[0].turns.iter().map(|turn| (turn.said.as_str(), turn.outcome)).collect();
        assert_eq!(outcomes, [("A", Outcome::Stays(4.0)), ("b", Outcome::Leaves)]);
        let wanted = Account { episodes: 1, actions: 2, stays: 1, leaves: 1, regrounded: 1, ..Account::default() };
        assert_eq!(account, wanted);
        let shown = format!("{bad:?}");
        assert!(shown.contains("step 1 without a `reward`") && shown.contains("unknown field `lefd`"), "{shown}");
    }
}
