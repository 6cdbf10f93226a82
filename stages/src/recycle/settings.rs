//! The settings of `recycle`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::critique::Critique;
use crate::llm::LlmConfig;

/// `recycle`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recycle {
    /// What proposes revisions.
    #[serde(default)]
    pub revise: Revise,
    /// What a revision must show before it is accepted.
    #[serde(default)]
    pub gate: Gate,
    /// Number of standard deviations d between the gate worlds that the gate `world` takes off the mean gain, from 0.
    #[serde(default = "Recycle::one")]
    pub deviations: f64,
    /// Maximum number of accepted revisions per episode; no limit when absent.
    #[serde(default)]
    pub max_per_episode: Option<usize>,
    /// Seed of what is drawn.
    #[serde(default)]
    pub seed: u64,
    /// The language model of `revise: { llm: {} }` and of the gate `ifd`.
    #[serde(default)]
    pub llm: Option<LlmConfig>,
    /// The noun for an item in the prompts, such as `movie`.
    #[serde(default = "Recycle::item")]
    pub item_noun: String,
}

impl Recycle {
    fn one() -> f64 {
        1.0
    }
    fn item() -> String {
        "item".into()
    }
}

/// What proposes revisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Revise {
    /// The candidate with the highest return of the episode played again, and of the recorded score.
    Grounded(Grounded),
    /// A language model that criticises the step and chooses again.
    Llm(Critique),
    /// A candidate that is drawn: the control.
    Random(Random),
}

impl Default for Revise {
    fn default() -> Self {
        Self::Grounded(Grounded::default())
    }
}

impl Revise {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Grounded(_) => "grounded",
            Self::Llm(_) => "llm",
            Self::Random(_) => "random",
        }
    }
}

/// `revise: { grounded: … }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grounded {
    /// Weight of the recorded score beside the return, in units of the reward per unit of the score (a nat a token), from 0. It keeps the
    /// model's choice where the world sees little difference. Steps without scores have none.
    pub weight: f64,
    /// Minimum gain of J below which nothing is proposed, from 0.
    pub min_gain: f64,
}

/// `revise: { random: … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Random {
    /// Probability with which a step is revised, 0 to 1. With `revisions` connected the places of those that were accepted are
    /// revised instead.
    pub share: f64,
}

impl Default for Random {
    fn default() -> Self {
        Self { share: 0.2 }
    }
}

/// What a revision must show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// Nothing: every revision is accepted.
    None,
    /// By a language model's probabilities, the item becomes harder to guess from the prompt (IFD up) and explains it better (r-IFD
    /// down), and both stay below 1.
    Ifd,
    /// The gate worlds' lower bound of the gain is above 0.
    #[default]
    World,
}
