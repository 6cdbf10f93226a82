//! Asks a model to rank candidates after a prompt, in one or several orders, and makes one ranking of several.

use std::sync::Arc;

use anyhow::Result;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Prompt, borda};
use crate::artifact::Call;
use crate::llm::{CachedLlm, Conversation, ask_each};
use crate::nn::rng;

const ORDER: u64 = 0xca4d;

/// How the rankings of several prompts become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Most points win: in each ranking of M candidates, M less the rank (Tempura, arXiv 2405.02778). Of equals, the one with the
    /// highest mean score.
    #[default]
    Borda,
    /// The highest mean score wins.
    MeanScore,
}

impl Aggregate {
    /// The name in settings and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Borda => "borda",
            Self::MeanScore => "mean_score",
        }
    }

    /// The scores of the candidates by this rule.
    pub(crate) fn scores(self, rankings: &[Vec<f32>]) -> Vec<f32> {
        match self {
            Self::Borda => borda::points(rankings),
            Self::MeanScore => borda::mean(rankings),
        }
    }

    /// The place of the winner; of equals the first.
    pub(crate) fn winner(self, rankings: &[Vec<f32>]) -> Option<usize> {
        match self {
            Self::Borda => borda::winner(rankings),
            Self::MeanScore => borda::winner(&[borda::mean(rankings)]),
        }
    }
}

/// The answers to one prompt.
pub(crate) struct Asked {
    /// The choice in the first order; `None` where it named no candidate.
    pub index: Option<usize>,
    /// The score of each candidate in its given place, one ranking an order; none of an order that was not answered, or whose
    /// provider gives no scores.
    pub rankings: Vec<Vec<f32>>,
    /// The calls of the choices, in the order of use.
    pub choices: Vec<Arc<Call>>,
    /// All calls, those of references included, in the order of use.
    pub calls: Vec<Arc<Call>>,
}

/// The candidates in `orders` orders: the given one, then random ones.
#[derive(Clone, Copy)]
pub(crate) struct CandidateOrders {
    pub orders: usize,
    pub seed: u64,
}

impl CandidateOrders {
    /// The given order alone.
    pub const GIVEN: Self = Self { orders: 1, seed: 0 };

    /// Asks which of `candidates` comes after `context`.
    pub fn ask(
        self,
        cache: &CachedLlm,
        conversation: &mut dyn Conversation,
        prompt: &Prompt,
        context: &[String],
        candidates: &[u32],
    ) -> Result<Asked> {
        let mut ask = |order: usize| {
            let mut places: Vec<usize> = (0..candidates.len()).collect();
            if order > 0 {
                places.shuffle(&mut rng(&[self.seed, ORDER, order as u64, candidates[0].into()]));
            }
            let offered: Vec<u32> = places.iter().map(|&place| candidates[place]).collect();
            let (reading, calls) = cache.choose(conversation, &prompt.request(context.to_vec(), &offered)?)?;
            Ok((places, reading, calls))
        };
        let mut asked = Asked { index: None, rankings: vec![], choices: vec![], calls: vec![] };
        for (order, (places, reading, calls)) in ask_each((0..self.orders).map(&mut ask))?.into_iter().enumerate() {
            if order == 0 {
                asked.index = reading.index;
            }
            if !reading.scores.is_empty() {
                let mut scores = vec![0.0; candidates.len()];
                for (&place, &score) in places.iter().zip(&reading.scores) {
                    scores[place] = score;
                }
                asked.rankings.push(scores);
            }
            asked.choices.push(calls[0].clone());
            asked.calls.extend(calls);
        }
        Ok(asked)
    }
}
