//! In-context examples: answered questions of this user or of others, told before the question.
//!
//! `effect` chooses them by what they do (after LRGD, arXiv 2504.04386, whose own score could not be read). With linear attention the
//! examples of a prompt act as one gradient step on the weights of the question (the test `linear_attention` proves the identity), so
//! an example is worth what it moves: `Effect(D) = mean over windows of s(y | x, D) − s(y | x)`, where s is the model's ln p a token of the
//! item taken next. Examples are added greedily by the mean of their effect over perturbations (the set, the set reversed, the set
//! without one of its members) less κ standard deviations, as long as the value grows.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use pipeline::Context;
use rand::RngExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::log_row::LogRow;
use super::ranking::CandidateOrders;
use super::windows::{Sampler, Window, last_of_log};
use super::{HistoryOrder, Strategy, Teller};
use crate::artifact::Call;
use crate::llm::{CachedLlm, ConversationFactory, Llm};
use crate::nn::rng;

const RANDOM: u64 = 0xe8a3;
const POOL: u64 = 0xe8a4;

/// Which examples are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Select {
    /// None.
    #[default]
    None,
    /// The last items of other users, drawn for each user: the control.
    Random,
    /// The user's own last items.
    Recent,
    /// The last items of the users with the most similar logs.
    Nearest,
    /// The same for everybody, from a pool of other users' last items, by their measured effect on other windows of the training log.
    Effect,
}

impl Select {
    /// The name in settings and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Random => "random",
            Self::Recent => "recent",
            Self::Nearest => "nearest",
            Self::Effect => "effect",
        }
    }
}

/// How in-context examples are selected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Examples {
    /// Which examples are told.
    pub select: Select,
    /// Number of examples, at least 1; of `effect`, the most.
    pub count: usize,
    /// Number of items that are told before the item of an example, at least 1.
    pub length: usize,
    /// κ of `effect`: standard deviations over the perturbations that are subtracted from the mean effect, at least 0.
    pub kappa: f64,
    /// Number of examples of which `effect` chooses.
    pub pool: usize,
    /// Number of windows on which `effect` is measured.
    pub windows: usize,
}

impl Default for Examples {
    fn default() -> Self {
        Self { select: Select::None, count: 3, length: 5, kappa: 1.0, pool: 12, windows: 8 }
    }
}

impl Examples {
    /// Whether no example is told.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.select == Select::None
    }

    /// Number of questions that select them, at most: none but of `effect`.
    #[must_use]
    pub fn questions(&self) -> usize {
        if self.select != Select::Effect {
            return 0;
        }
        // A set of one example is asked once; a larger one also reversed and without each of its members.
        let sets = |size: usize| self.pool.saturating_sub(size - 1) * if size == 1 { 1 } else { size + 2 };
        self.windows * (1 + (1..=self.count).map(sets).sum::<usize>())
    }

    /// Ranges that no type expresses: the path of the first invalid setting and a message.
    ///
    /// # Errors
    /// Where one is out of its range.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, wanted: &str| Err((path.to_owned(), wanted.to_owned()));
        if self.count == 0 {
            return wrong("count", "at least one example; `select: none` tells none");
        }
        if self.length == 0 {
            return wrong("length", "at least one item before the item of an example");
        }
        if !(self.kappa >= 0.0 && self.kappa.is_finite()) {
            return wrong("kappa", "a number of at least 0");
        }
        if self.select == Select::Effect && self.pool < self.count {
            return wrong("pool", &format!("at least `count`, which is {}: the examples to choose from", self.count));
        }
        if self.select == Select::Effect && self.windows == 0 {
            return wrong("windows", "at least one window on which effects are measured");
        }
        if self.select != Select::Effect {
            let default = Self::default();
            for (path, changed) in [
                ("kappa", self.kappa != default.kappa),
                ("pool", self.pool != default.pool),
                ("windows", self.windows != default.windows),
            ] {
                if changed {
                    return wrong(path, "nothing here: it is a setting of `select: effect`");
                }
            }
        }
        Ok(())
    }
}

/// An answered question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Example {
    pub user: u32,
    /// Oldest first.
    pub before: Vec<u32>,
    pub next: u32,
}

impl Example {
    /// The last row of `rows` and up to `length` items before it; `None` of fewer than two rows.
    fn last(user: u32, rows: &[LogRow], length: usize) -> Option<Self> {
        let (next, before) = rows.split_last().filter(|(_, before)| !before.is_empty())?;
        let before = before[before.len().saturating_sub(length)..].iter().map(|row| row.item).collect();
        Some(Self { user, before, next: next.item })
    }
}

/// An example of the pool with its measured effects.
pub(crate) struct Measured {
    pub pool: Vec<Example>,
    /// Effect of each example of the pool alone.
    pub alone: Vec<f64>,
    /// The chosen ones, in the order in which they were chosen and are told, each with the value of the set up to it.
    pub chosen: Vec<(usize, f64)>,
    /// Every call, in the order of use.
    pub calls: Vec<Arc<Call>>,
}

/// What it takes to ask about windows of the training log.
pub(crate) struct WindowQuestions<'a, 'b, 'c> {
    pub llm: &'a dyn Llm,
    pub cache: &'a CachedLlm<'b>,
    pub conversations: &'a ConversationFactory<'c>,
    /// Draws the candidates, where the score of one depends on the others.
    pub sampler: &'a Sampler,
    pub cx: &'a Context,
    /// Called after each question.
    pub advance: &'a (dyn Fn() -> Result<()> + Sync),
}

/// Selects examples for users.
pub(crate) struct ExampleSelector<'a> {
    pub settings: &'a Examples,
    pub teller: &'a Teller<'a>,
    /// The training log of each user, oldest first.
    pub train: &'a [Vec<LogRow>],
    pub seed: u64,
    /// Of `effect`.
    pub measured: Option<Measured>,
}

impl ExampleSelector<'_> {
    /// The lines of the examples for `user`, of whom `rows` are known, oldest first. `order` is that of the user's own items.
    pub fn lines(&self, user: u32, rows: &[LogRow], order: HistoryOrder) -> Result<Vec<String>> {
        let Examples { count, length, .. } = *self.settings;
        let of = |other: u32| Example::last(other, &self.train[other as usize], length);
        let examples: Vec<Example> = match self.settings.select {
            Select::None => vec![],
            Select::Recent => {
                let rows = &rows[rows.len().saturating_sub(count + length)..];
                let items = self.teller.ordered(user, rows, order);
                let rows: Vec<LogRow> = rows.iter().zip(items).map(|(row, item)| LogRow { item, ..*row }).collect();
                let ends = rows.len().saturating_sub(count).max(1) + 1..=rows.len();
                ends.filter_map(|end| Example::last(user, &rows[..end], length)).collect()
            }
            Select::Random => {
                let mut draw = rng(&[self.seed, RANDOM, user.into()]);
                let others: Vec<u32> = (0..self.train.len() as u32).filter(|&o| o != user && of(o).is_some()).collect();
                let mut left = others;
                let drawn = (0..count.min(left.len())).map(|_| left.swap_remove(draw.random_range(0..left.len())));
                drawn.filter_map(of).collect()
            }
            Select::Nearest => nearest(user, rows, self.train).into_iter().filter_map(of).take(count).collect(),
            Select::Effect => {
                let chosen =
                    self.measured.iter().flat_map(|m| m.chosen.iter().map(|&(place, _)| m.pool[place].clone()));
                chosen.collect()
            }
        };
        self.told(&examples, user)
    }

    /// The lines of `examples` in a question about `user`.
    pub fn told(&self, examples: &[Example], user: u32) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for example in examples {
            lines.push(if example.user == user {
                self.teller.prompt.history_line(&example.before)?
            } else {
                self.teller.prompt.other_history_line(&example.before)?
            });
            lines.push(self.teller.prompt.step_line(example.next)?);
        }
        Ok(lines)
    }

    /// Notes which examples were chosen and what they did.
    pub fn note(&self, cx: &Context) {
        let Some(measured) = &self.measured else { return };
        let named = |&(place, value): &(usize, f64)| {
            let example = &measured.pool[place];
            format!(
                "{} ({:+.3} alone, {value:+.3} with those before)",
                self.teller.prompt.name(example.next),
                measured.alone[place]
            )
        };
        let chosen: Vec<String> = measured.chosen.iter().map(named).collect();
        let said = if chosen.is_empty() {
            "none: no example raises ln p of the item taken next".to_owned()
        } else {
            chosen.join("; ")
        };
        cx.note("examples", said);
    }

    /// Measures the effects behind what `strategy` tells and chooses, where `select` is `effect`.
    pub fn measure(&mut self, strategy: Strategy, questions: &WindowQuestions) -> Result<()> {
        let WindowQuestions { llm, cache, conversations, sampler, cx, advance } = *questions;
        // Where the score of a candidate depends on it alone, the others need not be offered.
        let alone = llm.scores_options_alone();
        let Examples { select: Select::Effect, count, length, kappa, pool, windows } = *self.settings else {
            return Ok(());
        };
        let seed = self.seed ^ POOL;
        // Users of the pool are no users of the windows: an example would tell its own answer.
        let all = last_of_log(self.train, pool + windows, 1, seed);
        let mut order: Vec<usize> = (0..all.len()).collect();
        rand::seq::SliceRandom::shuffle(&mut order[..], &mut rng(&[seed]));
        let (questions, rest) = order.split_at(windows.min(all.len() / 2));
        let pool: Vec<Example> = rest
            .iter()
            .filter_map(|&at| Example::last(all[at].user, &self.train[all[at].user as usize], length))
            .collect();
        let questions: Vec<&Window> = questions.iter().map(|&at| &all[at]).collect();
        let offered: Vec<Vec<u32>> = questions
            .iter()
            .map(|window| if alone { Ok(vec![window.target]) } else { sampler.candidates(window) })
            .collect::<Result<_>>()?;
        let mut calls = Vec::new();
        let this = &*self;
        let ask = |set: &[usize], at: usize| -> Result<(Option<f64>, Vec<Arc<Call>>)> {
            let (window, candidates) = (questions[at], &offered[at]);
            let examples: Vec<Example> = set.iter().map(|&place| pool[place].clone()).collect();
            let told = this.told(&examples, window.user)?;
            let order = HistoryOrder::Chronological;
            let context = this.teller.prefix(strategy, window.user, &window.history, order, &told)?;
            let mut conversation = conversations();
            let orders = CandidateOrders::GIVEN;
            let asked = orders.ask(cache, &mut *conversation, this.teller.prompt, &context, candidates)?;
            advance()?;
            let place = candidates.iter().position(|&item| item == window.target);
            let score = asked.rankings.first().zip(place).map(|(scores, place)| f64::from(scores[place]));
            Ok((score, asked.calls))
        };
        let mut scores_of = |sets: &[Vec<usize>]| -> Result<Vec<Vec<Option<f64>>>> {
            let jobs: Vec<(usize, usize)> =
                (0..sets.len()).flat_map(|set| (0..questions.len()).map(move |at| (set, at))).collect();
            let answers = cache.ask_all(&jobs, cx, |&(set, at)| ask(&sets[set], at))?;
            let mut scores = vec![Vec::new(); sets.len()];
            for (&(set, _), (score, used)) in jobs.iter().zip(answers) {
                scores[set].push(score);
                calls.extend(used);
            }
            Ok(scores)
        };
        let without = scores_of(&[vec![]])?.remove(0);
        let mut effects = |sets: &[Vec<usize>]| -> Result<Vec<f64>> {
            Ok(scores_of(sets)?.iter().map(|with| effect(with, &without)).collect())
        };
        let singles: Vec<Vec<usize>> = (0..pool.len()).map(|place| vec![place]).collect();
        let alone = effects(&singles)?;
        let chosen = greedy(pool.len(), count, kappa, &mut effects)?;
        self.measured = Some(Measured { pool, alone, chosen, calls });
        Ok(())
    }
}

/// The mean of what the scores gained, over the windows that were answered both times; 0 without any.
fn effect(with: &[Option<f64>], without: &[Option<f64>]) -> f64 {
    let gains: Vec<f64> = with.iter().zip(without).filter_map(|(with, without)| Some((*with)? - (*without)?)).collect();
    if gains.is_empty() { 0.0 } else { gains.iter().sum::<f64>() / gains.len() as f64 }
}

/// Effects of whole sets of examples, in the order of the sets.
type EffectsOf<'a> = dyn FnMut(&[Vec<usize>]) -> Result<Vec<f64>> + 'a;

/// The examples that are chosen of so many, and the value of the set up to each. `effects` are those of whole sets.
fn greedy(pool: usize, count: usize, kappa: f64, effects: &mut EffectsOf) -> Result<Vec<(usize, f64)>> {
    let mut chosen: Vec<(usize, f64)> = Vec::new();
    while chosen.len() < count {
        let so_far: Vec<usize> = chosen.iter().map(|&(place, _)| place).collect();
        let left: Vec<usize> = (0..pool).filter(|place| !so_far.contains(place)).collect();
        let sets: Vec<Vec<Vec<usize>>> =
            left.iter().map(|&place| perturbations(&[&so_far[..], &[place]].concat())).collect();
        let found = effects(&sets.concat())?;
        let mut rest = found.as_slice();
        let mut best: Option<(usize, f64)> = None;
        for (&place, variants) in left.iter().zip(&sets) {
            let (own, others) = rest.split_at(variants.len());
            rest = others;
            let value = robust(own, kappa);
            if best.is_none_or(|(_, best)| value > best) {
                best = Some((place, value));
            }
        }
        let before = chosen.last().map_or(0.0, |&(_, value)| value);
        match best.filter(|&(_, value)| value > before) {
            Some(best) => chosen.push(best),
            None => break,
        }
    }
    Ok(chosen)
}

/// The set, the set reversed, and the set without each of its members: every non-empty set once.
fn perturbations(set: &[usize]) -> Vec<Vec<usize>> {
    let mut variants = vec![set.to_vec(), set.iter().rev().copied().collect()];
    for dropped in 0..set.len() {
        variants.push([&set[..dropped], &set[dropped + 1..]].concat());
    }
    let mut seen = BTreeSet::new();
    variants.retain(|variant| !variant.is_empty() && seen.insert(variant.clone()));
    variants
}

/// Mean − κ · standard deviation.
fn robust(effects: &[f64], kappa: f64) -> f64 {
    let mean = effects.iter().sum::<f64>() / effects.len() as f64;
    let variance = effects.iter().map(|effect| (effect - mean).powi(2)).sum::<f64>() / effects.len() as f64;
    mean - kappa * variance.sqrt()
}

/// The other users by the cosine of their items with those of `rows`, most similar first, ties by number; without those who share none.
fn nearest(user: u32, rows: &[LogRow], train: &[Vec<LogRow>]) -> Vec<u32> {
    let own: BTreeSet<u32> = rows.iter().map(|row| row.item).collect();
    let similarity = |other: &[LogRow]| {
        let items: BTreeSet<u32> = other.iter().map(|row| row.item).collect();
        let size = (own.len() * items.len()) as f64;
        if size > 0.0 { own.intersection(&items).count() as f64 / size.sqrt() } else { 0.0 }
    };
    let mut others: Vec<(f64, u32)> = (0..train.len() as u32)
        .filter(|&other| other != user)
        .map(|other| (similarity(&train[other as usize]), other))
        .collect();
    others.retain(|&(similarity, _)| similarity > 0.0);
    others.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    others.into_iter().map(|(_, other)| other).collect()
}

#[cfg(test)]
mod tests;
