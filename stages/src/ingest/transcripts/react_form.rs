//! Transcripts as BiLLP's code (arXiv 2403.00843) records them, in the text format of ReAct and FireAct:
//!
//! ```text
//! The user's viewing history is ['A', 'B'], please recommend item for this user
//! Thought 1: …
//! Action 1: recommend[x]
//! Observation 1: [x] can not be recommened, instead, recommend[y]
//! Observation 1: Episode continue, reward=4
//! …
//! Observation 7: Episode finished, User Stop, reward=-1000.000
//! ```
//!
//! A file is one JSON object, `{task: {userid, prompt, traj, traj_by_line: […]}}`. The list of lines is read, because a text may hold
//! line ends itself. The first observation of a turn occurs only where `x` is not a title of the catalogue. The spelling is the
//! source's.

use anyhow::{Context as _, Result};
use rayon::prelude::*;
use serde_json::Value;

use crate::ingest::readers::bad_rows::{BadRows, Fault};
use crate::ingest::readers::{integers, python_literal};
use crate::ingest::transcripts::transcript::{Outcome, Transcript, TranscriptCounts, Turn};

/// The transcripts of one file. Invalid lines are counted by their position in the episode and dropped.
pub(in crate::ingest) fn read(text: &str) -> Result<(Vec<Transcript>, TranscriptCounts, BadRows)> {
    let file: serde_json::Map<String, Value> = serde_json::from_str(text).context("wanted {task: {…}} as JSON")?;
    let file: Vec<(String, Value)> = file.into_iter().collect();
    let read: Vec<_> = file.par_iter().map(|(task, recorded)| episode(task, recorded)).collect();
    let (mut transcripts, mut counts, mut bad) =
        (Vec::with_capacity(file.len()), TranscriptCounts::default(), BadRows::default());
    for read in read {
        match read {
            Ok(parser) => {
                parser.faults.into_iter().for_each(|(line, fault)| bad.add(fault, || line));
                counts.add(TranscriptCounts { episodes: 1, ..parser.counts });
                transcripts.push(parser.transcripts);
            }
            Err(fault) => bad.add(fault, || 1),
        }
    }
    Ok((transcripts, counts, bad))
}

/// One transcript with the faults of its lines, or the fault of the whole.
fn episode(task: &str, episode: &Value) -> Result<TranscriptParser, Fault> {
    let none = |field: &str, wanted: &str| Fault::value(&format!("task {task}: {field}"), "", wanted);
    let user = match &episode["userid"] {
        Value::String(user) => user.clone(),
        Value::Number(user) => {
            user.as_f64().and_then(integers::from_float).map_or_else(|| user.to_string(), |user| user.to_string())
        }
        _ => return Err(none("userid", "a number or a text")),
    };
    let lines = episode["traj_by_line"].as_array();
    let lines: Option<Vec<&str>> = lines.and_then(|lines| lines.iter().map(Value::as_str).collect());
    let lines = lines.ok_or_else(|| none("traj_by_line", "a list of texts"))?;
    let mut parser =
        TranscriptParser { transcripts: Transcript { user, ..Transcript::default() }, ..TranscriptParser::default() };
    for (number, line) in (1..).zip(lines) {
        if let Err(wanted) = parser.line(number, line) {
            parser.faults.push((number, Fault::value(&format!("task {task}"), line, wanted)));
        }
    }
    Ok(parser)
}

/// A transcript while it is parsed.
#[derive(Default)]
struct TranscriptParser {
    transcripts: Transcript,
    counts: TranscriptCounts,
    /// By line in the episode.
    faults: Vec<(u64, Fault)>,
    thought: String,
    /// The text of the action.
    action: String,
    /// The written title and the recorded one, until the outcome is known.
    named: Option<(String, String)>,
    observed: Vec<String>,
}

impl TranscriptParser {
    /// Parses one line.
    ///
    /// # Errors
    /// What was wanted instead.
    fn line(&mut self, number: u64, line: &str) -> Result<(), &'static str> {
        if number == 1 {
            // Titles may hold brackets, so the list is the longest one.
            let list =
                line.find('[').zip(line.rfind(']')).and_then(|(from, to)| python_literal::texts(line.get(from..=to)?));
            let history = list.ok_or("a viewing history as a list")?;
            (self.transcripts.history, self.transcripts.question) = (history, line.to_owned());
            return Ok(());
        }
        let kinds = ["Thought ", "Action ", "Observation "];
        let parted = kinds.iter().find_map(|&kind| Some((kind, numbered(line.strip_prefix(kind)?)?)));
        match parted {
            Some(("Thought ", thought)) => self.thought = thought.to_owned(),
            Some(("Action ", action)) => self.action(action),
            Some((_, observation)) => return self.observation(number, line, observation),
            None => return Err("`Thought k:`, `Action k:` or `Observation k:`"),
        }
        Ok(())
    }

    fn action(&mut self, action: &str) {
        self.counts.actions += 1;
        self.observed.clear();
        action.clone_into(&mut self.action);
        self.named = inside(action, "recommend[").map(|said| (said.to_owned(), said.to_owned()));
        if self.named.is_none() {
            self.counts.no_recommendation += 1;
            self.counts.claimed += u64::from(action.starts_with("Episode "));
        }
    }

    fn observation(&mut self, line: u64, whole: &str, observation: &str) -> Result<(), &'static str> {
        self.observed.push(whole.to_owned());
        if observation.starts_with("Invalid Action") && self.named.is_none() {
            let said = std::mem::take(&mut self.action);
            self.turn(line, said, None, Outcome::Failed("it recommends nothing".into()));
            return Ok(());
        }
        let (said, title) = self.named.clone().ok_or("an observation after a recommendation")?;
        if let Some((_, instead)) = observation.rsplit_once(" can not be recommened, instead, ") {
            let title = inside(instead, "recommend[").ok_or("`recommend[…]` instead")?;
            self.named = Some((said, title.to_owned()));
            self.counts.regrounded += 1;
            return Ok(());
        }
        let outcome = if observation.starts_with("Episode finished, User Stop") {
            self.counts.leaves += 1;
            Outcome::Leaves
        } else {
            let reward = observation.strip_prefix("Episode continue, reward=").ok_or("an outcome")?;
            let reward: f64 = reward.trim().parse().map_err(|_| "a number as reward")?;
            if !reward.is_finite() {
                return Err("a finite reward");
            }
            self.counts.stays += 1;
            Outcome::Stays(reward)
        };
        self.named = None;
        self.turn(line, said, Some(title), outcome);
        Ok(())
    }

    fn turn(&mut self, line: u64, said: String, title: Option<String>, outcome: Outcome) {
        let thought = std::mem::take(&mut self.thought);
        let observed = std::mem::take(&mut self.observed).join("\n");
        self.transcripts.turns.push(Turn { thought, said, title, raw: None, observed, outcome, line });
    }
}

/// The text after `7:`.
fn numbered(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let rest = (rest.len() < text.len()).then_some(rest)?.strip_prefix(':')?;
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

/// The text between `open` at the beginning and `]` at the end; titles may hold brackets.
fn inside<'a>(text: &'a str, open: &str) -> Option<&'a str> {
    text.trim_end().strip_prefix(open)?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(lines: &[&str]) -> String {
        serde_json::json!({ "7": { "userid": 88719, "prompt": "p", "traj": "t", "traj_by_line": lines } }).to_string()
    }

    #[test]
    fn each_line_finds_its_place() {
        let text = file(&[
            "The user's viewing history is ['A', \"B's\"], please recommend item for this user",
            "Thought 1: games\nof all kinds",
            "Action 1: recommend[Plain [Sight]]",
            "Observation 1: Episode continue, reward=4",
            "Thought 2: more",
            "Action 2: recommend[The Sims 4]",
            "Observation 2: [The Sims 4] can not be recommened, instead, recommend[The Sims™ 3]",
            "Observation 2: Episode continue, reward=3.5",
            "Thought 3: stop",
            "Action 3: Stop",
            "Observation 3: Invalid Action. Valid Actions are recommend[item].",
            "Thought 4: ",
            "Action 4: Episode finished, User Stop, reward=-1000.00000",
            "Observation 4: Invalid Action. Valid Actions are recommend[item].",
            "Thought 5: last",
            "Action 5: recommend[C]",
            "Observation 5: Episode finished, User Stop, reward=-1000.000",
        ]);
        let (transcripts, counts, bad) = read(&text).unwrap();
        assert_eq!(bad, BadRows::default());
        assert_eq!(
            (transcripts[0].user.as_str(), &transcripts[0].history[..]),
            ("88719", &["A".to_owned(), "B's".to_owned()][..])
        );
        let turn =
            |t: &Turn| (t.thought.clone(), t.said.clone(), t.title.clone().unwrap_or_default(), t.outcome.clone());
        let turns: Vec<_> = transcripts[0].turns.iter().map(turn).collect();
        let wanted =
            |thought: &str, said: &str, title: &str, outcome| (thought.into(), said.into(), title.into(), outcome);
        let nothing = || Outcome::Failed("it recommends nothing".into());
        assert_eq!(
            turns,
            [
                wanted("games\nof all kinds", "Plain [Sight]", "Plain [Sight]", Outcome::Stays(4.0)),
                wanted("more", "The Sims 4", "The Sims™ 3", Outcome::Stays(3.5)),
                wanted("stop", "Stop", "", nothing()),
                wanted("", "Episode finished, User Stop, reward=-1000.00000", "", nothing()),
                wanted("last", "C", "C", Outcome::Leaves),
            ]
        );
        let wanted = TranscriptCounts {
            episodes: 1,
            actions: 5,
            stays: 2,
            leaves: 1,
            regrounded: 1,
            no_recommendation: 2,
            claimed: 1,
        };
        assert_eq!(counts, wanted);
        assert!(transcripts[0].turns[1].observed.starts_with("Observation 2: [The Sims 4]"));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_left_out() {
        let text = file(&[
            "no history",
            "Something else",
            "Observation 1: Episode continue, reward=4",
            "Action 2: recommend[X]",
            "Observation 2: Episode continue, reward=much",
        ]);
        let (transcripts, counts, bad) = read(&text).unwrap();
        assert!(transcripts[0].turns.is_empty());
        assert_eq!((counts.actions, counts.stays), (1, 0));
        let shown = format!("{bad:?}");
        for wanted in ["a viewing history", "`Thought k:`", "after a recommendation", "a number as reward"] {
            assert!(shown.contains(wanted), "{wanted}: {shown}");
        }
        assert!(read("[]").unwrap_err().to_string().contains("wanted {task"));
    }
}
