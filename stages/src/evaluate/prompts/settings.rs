//! The settings of `evaluate.prompts`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::features::Declared;
use crate::llm::LlmConfig;
use crate::prompting::{Aggregate, Examples, LogHistory, Negatives, Prompts, Strategy};

/// `evaluate.prompts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluatePrompts {
    /// The language model.
    pub llm: LlmConfig,
    /// Number of sessions, each of another user. A larger number includes the sessions of a smaller one.
    #[serde(default = "EvaluatePrompts::hundred")]
    pub sessions: usize,
    /// Seed of the sessions, the candidates, the shuffled orders and the bootstrap.
    #[serde(default)]
    pub seed: u64,
    /// Number of candidates of a session, from 2: the item taken next and items that the user never took.
    #[serde(default = "EvaluatePrompts::twenty")]
    pub n_candidates: usize,
    /// How the items that the user never took are drawn.
    #[serde(default)]
    pub negatives: Negatives,
    /// Minimum number of items that a user took before the session, at least 1.
    #[serde(default = "EvaluatePrompts::five")]
    pub min_history: usize,
    /// The strategies that tell the history. The first one is the prompt to which examples and hints are added. `item_only` is
    /// always asked.
    #[serde(default = "EvaluatePrompts::all")]
    pub strategies: Vec<Strategy>,
    /// Rankings made of those of all strategies, each a prompt of its own in the table.
    #[serde(default = "EvaluatePrompts::borda")]
    pub aggregates: Vec<Aggregate>,
    /// Number of orders in which each prompt offers the candidates; a candidate's score is the mean. Only of servers: an embedded
    /// model scores each candidate by itself.
    #[serde(default = "EvaluatePrompts::one")]
    pub candidate_orders: usize,
    /// How much of the history the strategies tell. Both orders are asked.
    #[serde(default)]
    pub log_history: LogHistory,
    /// Selections of in-context examples, each a prompt of its own.
    #[serde(default)]
    pub examples: Vec<Examples>,
    /// Also asks with each example of the pool of `effect` alone, and notes the rank correlation of its effect here with that on the
    /// windows where it was chosen.
    #[serde(default)]
    pub each_example: bool,
    /// Number of best rated items that `top_rated` tells.
    #[serde(default = "EvaluatePrompts::five")]
    pub n_liked: usize,
    /// The noun for an item in the prompts, such as `movie`.
    #[serde(default = "EvaluatePrompts::item")]
    pub item_noun: String,
    /// Instructions at the beginning of the prompt, instead of the default ones.
    #[serde(default)]
    pub instructions: Option<String>,
    /// Prompt templates that replace the default ones.
    #[serde(default)]
    pub prompts: Prompts,
    /// Columns of the catalogue that the prompts tell, as in `demonstrate`. None by default.
    #[serde(default, skip_serializing_if = "Declared::is_empty")]
    pub item_features: Declared,
    /// Minimum fraction of questions with an answer; below it the stage fails.
    #[serde(default = "EvaluatePrompts::half")]
    pub min_valid_rate: f64,
    /// Resamples of sessions behind each interval, from 100.
    #[serde(default = "EvaluatePrompts::two_thousand")]
    pub n_resamples: usize,
}

/// Defaults by name.
impl EvaluatePrompts {
    fn one() -> usize {
        1
    }
    fn five() -> usize {
        5
    }
    fn twenty() -> usize {
        20
    }
    fn hundred() -> usize {
        100
    }
    fn two_thousand() -> usize {
        2000
    }
    fn half() -> f64 {
        0.5
    }
    fn item() -> String {
        "item".into()
    }
    fn all() -> Vec<Strategy> {
        vec![Strategy::Recent, Strategy::TopRated, Strategy::Proximal, Strategy::Global, Strategy::Clusters]
    }
    fn borda() -> Vec<Aggregate> {
        vec![Aggregate::Borda]
    }
}
