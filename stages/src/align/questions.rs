//! Windows of a log as questions with their answers: what a user took, and the title of the item taken next.

use anyhow::{Result, ensure};
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ports::Inputs;
use crate::nn::rng;
use crate::prompting::{
    HistoryOrder, LogHistory, LogRow, Negatives, Prompt, Prompts, Sampler, Strategy, Teller, Window, histories,
    last_of_log,
};

const WINDOWS: u64 = 0xa110;
const TARGETS: u64 = 0xa111;

/// Which questions are asked, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogQuestions {
    /// Most questions to learn from, from 1; ours: 1,000. They are drawn among all rows of the log that are not a user's last.
    pub count: usize,
    /// Most questions about a user's last row, which are only predicted, from 1; ours: 100.
    pub held_out: usize,
    /// Minimum number of items that a user took before the answer, from 1.
    pub min_history: usize,
    /// How the history is told, as in `evaluate.prompts`.
    pub strategy: Strategy,
    /// How much of the history is told.
    pub log_history: LogHistory,
    /// Number of best rated items that `top_rated` tells.
    pub n_liked: usize,
    /// The noun for an item in the prompts, such as `movie`.
    pub item_noun: String,
    /// Instructions at the beginning of the prompt, instead of the default ones.
    pub instructions: Option<String>,
    /// Prompt templates that replace the default ones.
    pub prompts: Prompts,
    /// A control: the answers of the questions to learn from are permuted among them. What still falls has nothing to do with users.
    pub shuffle_targets: bool,
    /// A control: nothing of the user is told, neither where it learns nor where it predicts.
    pub without_context: bool,
}

impl Default for LogQuestions {
    fn default() -> Self {
        Self {
            count: 1000,
            held_out: 100,
            min_history: 5,
            strategy: Strategy::Recent,
            log_history: LogHistory::default(),
            n_liked: 5,
            item_noun: "item".into(),
            instructions: None,
            prompts: Prompts::default(),
            shuffle_targets: false,
            without_context: false,
        }
    }
}

/// A prompt and the text that should follow.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Question {
    pub segments: Vec<String>,
    pub answer: String,
    /// An answer that is not wanted, where pairs are asked for.
    pub rejected: Option<String>,
}

/// The questions of a log.
pub(super) struct Questions {
    pub learnt: Vec<Question>,
    pub held_out: Vec<Question>,
}

impl LogQuestions {
    /// What types cannot express: the path of the first invalid setting and a message.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        for (path, value) in [("count", self.count), ("held_out", self.held_out), ("min_history", self.min_history)] {
            if value == 0 {
                return wrong(path, "at least 1");
            }
        }
        if self.strategy == Strategy::ItemOnly {
            return wrong("strategy", "one that tells a history; the control is `without_context: true`");
        }
        if self.item_noun.trim().is_empty() {
            return wrong("item_noun", "a word for what is recommended, such as `movie`");
        }
        self.log_history.check().map_err(|(path, message)| (format!("log_history.{path}"), message))?;
        self.prompts.check().map_err(|(path, message)| (format!("prompts.{path}"), message))
    }

    /// The questions of a log; with `negatives` each has a rejected answer, an item so drawn that the user never took.
    pub(super) fn of(&self, inputs: &Inputs, negatives: Option<Negatives>, seed: u64) -> Result<Questions> {
        let Inputs { items, train } = inputs;
        let users = train.user.iter().max().map_or(0, |last| *last as usize + 1);
        train.check_within("train", users, items.len())?;
        let log = histories(train, users);
        let learnt = windows(&log, self.count, self.min_history, seed);
        let held_out = last_of_log(&log, self.held_out, self.min_history, seed);
        ensure!(
            !learnt.is_empty() && !held_out.is_empty(),
            "{} rows of `train` have {} rows of their user before and one behind them, and {} users end with a new item after as \
             many\nhelp: lower `questions.min_history`, or connect a longer log",
            learnt.len(),
            self.min_history,
            held_out.len()
        );
        let prompt = Prompt::new(self.item_noun.trim(), self.instructions.as_deref(), &self.prompts, 1, items, train)?;
        let (settings, n_top_rated) = (&self.log_history, self.n_liked);
        let teller = Teller { prompt: &prompt, items, settings, n_top_rated, seed };
        let strategy = if self.without_context { Strategy::ItemOnly } else { self.strategy };
        teller.check(&[strategy])?;
        let sampler = negatives.map(|how| Sampler::new(&[&log], items.len(), how, 2, seed));
        let question = |window: &Window| -> Result<Question> {
            let context = teller.prefix(strategy, window.user, &window.history, HistoryOrder::Chronological, &[])?;
            let drawn = sampler.as_ref().map(|sampler| sampler.candidates(window)).transpose()?;
            let other = drawn.and_then(|both| both.into_iter().find(|&item| item != window.target));
            let request = prompt.request(context, &[window.target])?;
            // With the space in the answer the tokens are those of running text.
            let title = |item: u32| format!(" {}", prompt.name(item));
            let segments = request.context.into_iter().chain([request.completion_prefix]).collect();
            Ok(Question { segments, answer: title(window.target), rejected: other.map(title) })
        };
        let mut learnt: Vec<Question> = learnt.iter().map(question).collect::<Result<_>>()?;
        if self.shuffle_targets {
            let both = |question: &Question| (question.answer.clone(), question.rejected.clone());
            let mut answers: Vec<_> = learnt.iter().map(both).collect();
            answers.shuffle(&mut rng(&[seed, TARGETS]));
            let questions = learnt.iter_mut().zip(answers);
            questions.for_each(|(question, answers)| (question.answer, question.rejected) = answers);
        }
        Ok(Questions { learnt, held_out: held_out.iter().map(question).collect::<Result<_>>()? })
    }
}

/// At most `count` windows whose answers are no user's last row, in a random order.
fn windows(log: &[Vec<LogRow>], count: usize, min_history: usize, seed: u64) -> Vec<Window> {
    let places = log.iter().enumerate().flat_map(|(user, rows)| {
        let ends = min_history..rows.len().saturating_sub(1);
        ends.filter(|&end| rows[..end].iter().all(|row| row.item != rows[end].item)).map(move |end| (user, end))
    });
    let mut places: Vec<(usize, usize)> = places.collect();
    places.shuffle(&mut rng(&[seed, WINDOWS]));
    let window = |&(user, end): &(usize, usize)| Window {
        user: user as u32,
        history: log[user][..end].to_vec(),
        target: log[user][end].item,
    };
    places.iter().take(count).map(window).collect()
}
