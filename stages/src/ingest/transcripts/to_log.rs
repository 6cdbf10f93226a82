//! Converts transcripts to a log, demonstrations and calls, with numbered users and items.

use std::fmt;
use std::path::Path;

use pipeline::Context;
use serde_json::{Value, json};

use crate::artifact::{Call, Step, Termination, Trajectory};
use crate::ingest::readers::bad_rows::{BadRows, Fault};
use crate::ingest::readers::casts;
use crate::ingest::transcripts::choices::OnQuit;
use crate::ingest::transcripts::imported_ids::ImportedIds;
use crate::ingest::transcripts::ports::Outputs;
use crate::ingest::transcripts::title_matching::TitleMatcher;
use crate::ingest::transcripts::transcript::{Outcome, Transcript, Turn};

/// What was not imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::ingest) struct Dropped {
    /// Recommendations with an unmatched title, dropped by `on_unmatched`.
    pub unmatched: u64,
    /// Recommendations of items outside of the connected catalogue.
    pub outside: u64,
    /// Episodes of users outside of the connected ones.
    pub strangers: u64,
}

impl Dropped {
    /// Notes on the run what is outside of the log.
    pub fn note(self, cx: &Context) {
        for (name, count) in
            [("recommendations outside of `items`", self.outside), ("episodes of other users", self.strangers)]
        {
            if count > 0 {
                cx.note(name, format!("{count}, dropped"));
            }
        }
    }
}

/// Why nothing was imported, and what to do, at the end of a message.
impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { unmatched: 0, outside: 0, strangers: 0 } => {
                write!(f, "\nhelp: check which files and steps `files` and `on_quit` select")
            }
            Self { unmatched, outside: 0, strangers: 0 } => write!(
                f,
                ": {unmatched} steps have a title that matches no item, and `on_unmatched: drop` drops them\nhelp: lower \
                 `ground.trigram`, or compare the written titles with the catalogue"
            ),
            Self { outside, strangers, .. } => write!(
                f,
                ": {strangers} episodes are of users outside of `users`, and {outside} steps of items outside of `items`\nhelp: connect \
                 the users and items of a larger part of the log"
            ),
        }
    }
}

/// Imports transcripts one after the other.
pub(in crate::ingest) struct TranscriptImporter<'a> {
    pub ids: &'a ImportedIds,
    pub matcher: &'a TitleMatcher<'a>,
    pub on_quit: OnQuit,
    pub out: Outputs,
    pub dropped: Dropped,
    /// Recommendations without a recorded item of the catalogue.
    pub grounded_here: u64,
}

impl TranscriptImporter<'_> {
    /// Adds one transcript; invalid turns are counted in `bad`.
    pub fn episode(&mut self, transcript: &Transcript, path: &Path, bad: &mut BadRows) {
        let Some(&user) = self.ids.user_numbers.get(&transcript.user) else {
            self.dropped.strangers += 1;
            return;
        };
        let model = format!("transcript {}", path.file_name().unwrap_or_default().to_string_lossy());
        let episode = format!("{model} {} of user {user}", self.out.demonstrations.trajectories.len());
        let mut steps = Vec::new();
        let mut before: Option<&Turn> = None;
        let mut left = false;
        for (number, turn) in transcript.turns.iter().enumerate() {
            left |= turn.outcome == Outcome::Leaves;
            let step = match &turn.outcome {
                Outcome::Failed(_) => None,
                outcome => match self.step(user, turn, outcome, bad) {
                    Some(step) => Some(step),
                    None => continue,
                },
            };
            let key = blake3::hash(format!("{episode} step {number}").as_bytes()).to_hex().to_string();
            let context = std::iter::once(&transcript.question).chain(before.map(|turn| &turn.observed));
            let context: Vec<&String> = context.filter(|text| !text.is_empty()).collect();
            let request = json!({ "context": context }).to_string();
            let answer = answer(turn).to_string();
            self.out.calls.0.push(Call { key: key.clone(), model: model.clone(), request, answer, failure: None });
            if let Some((item, reward)) = step {
                let (candidates, scores) = (Vec::new(), Vec::new());
                steps.push(Step { item, reward, candidates, scores, call: key });
            }
            before = Some(turn);
        }
        if !steps.is_empty() {
            let end = if left { Termination::Stopped } else { Termination::Horizon };
            self.out.demonstrations.trajectories.push(Trajectory { user, steps, end });
        }
    }

    /// The item and the reward of a recommendation; it enters the log where the user stayed. `None` where it is dropped.
    fn step(&mut self, user: u32, turn: &Turn, outcome: &Outcome, bad: &mut BadRows) -> Option<(u32, f32)> {
        self.grounded_here +=
            u64::from(turn.title.as_ref().is_none_or(|title| self.matcher.exact_title(title).is_none()));
        let item = match self.matcher.item(turn) {
            Ok(Some(item)) => match self.ids.item_numbers[item as usize] {
                Some(number) => number,
                None => {
                    self.dropped.outside += 1;
                    return None;
                }
            },
            Ok(None) => {
                self.dropped.unmatched += 1;
                return None;
            }
            Err(refused) => {
                let fault = Fault::row(refused.to_string(), "a title of the catalogue");
                let help = "lower `ground.trigram`, or set `ground.on_unmatched` to `nearest` or `drop`";
                bad.add(fault.help(help), || turn.line);
                return None;
            }
        };
        let reward = match (outcome, self.on_quit) {
            (Outcome::Stays(reward), _) => match casts::rating(*reward, "reward") {
                Ok(reward) => reward,
                Err(fault) => {
                    bad.add(fault, || turn.line);
                    return None;
                }
            },
            (_, OnQuit::Reward(reward)) => return Some((item, reward as f32)),
            (_, OnQuit::Exclude) => return None,
        };
        self.out.interactions.user.push(user);
        self.out.interactions.item.push(item);
        self.out.interactions.rating.push(reward);
        self.out.interactions.timestamp.push(0);
        Some((item, reward))
    }
}

/// The answer of a turn: the raw one where it is recorded, else assembled from its parts.
fn answer(turn: &Turn) -> Value {
    let thought = if turn.thought.is_empty() { String::new() } else { format!("{}\n", turn.thought) };
    let written = |said: String| turn.raw.clone().unwrap_or_else(|| thought + &said);
    match &turn.outcome {
        Outcome::Failed(reason) => json!({ "failed": reason, "raw": written(turn.said.clone()) }),
        _ => written(format!("recommend[{}]", turn.said)).into(),
    }
}
