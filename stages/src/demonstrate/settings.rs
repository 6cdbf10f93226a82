//! The settings of `demonstrate`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::agent::{Actor, Agent, RoleSettings};
use crate::features::Declared;
use crate::llm::{EmbedderConfig, LlmConfig};
use crate::prompting::{Aggregate, Examples, LogHistory, Prompts, Strategy};

/// `demonstrate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Demonstrate {
    /// The language model.
    pub llm: LlmConfig,
    /// Number of users, one episode each. A larger number includes the users of a smaller one.
    #[serde(default = "Demonstrate::sixteen")]
    pub users: usize,
    /// Seed of the sample of users.
    #[serde(default)]
    pub seed: u64,
    /// Number of candidates per turn, 1 to 10: the best of the user's list of candidates that the episode has not shown.
    #[serde(default = "Demonstrate::ten")]
    pub n_candidates: usize,
    /// Number of the user's best rated items of the training log that the prompt names.
    #[serde(default = "Demonstrate::five")]
    pub n_liked: usize,
    /// How the prompt tells the user's log. By default the best rated items alone (`top_rated`). Each of several strategies is a prompt of its own, and
    /// their rankings of the candidates become one (`aggregate`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub strategies: Vec<Strategy>,
    /// How the rankings of several `strategies` and `candidate_orders` become one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub aggregate: Aggregate,
    /// Number of orders in which each prompt offers the candidates: the retriever's, then random ones. Only of servers: an embedded
    /// model scores each candidate by itself.
    #[serde(default = "Demonstrate::one", skip_serializing_if = "is_one")]
    pub candidate_orders: usize,
    /// How much of the log the `strategies` tell, and in which order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub log_history: LogHistory,
    /// In-context examples before what is told of the user.
    #[serde(default, skip_serializing_if = "Examples::is_none")]
    pub examples: Examples,
    /// Minimum number of the episode's last items in the prompt. The maximum is one less than twice this number: the window moves
    /// in whole blocks, so that the beginning of the prompt, which is evaluated already, changes seldom.
    #[serde(default = "Demonstrate::seven")]
    pub history_length: usize,
    /// The noun for an item in the prompts, such as `movie`.
    #[serde(default = "Demonstrate::item")]
    pub item_noun: String,
    /// Instructions at the beginning of the prompt, instead of the default ones.
    #[serde(default)]
    pub instructions: Option<String>,
    /// Prompt templates that replace the default ones.
    #[serde(default)]
    pub prompts: Prompts,
    /// Columns of the catalogue that the prompts tell, behind a title in a list and of the candidates: `{ brand: categorical, price: numeric }`
    /// gives `Heat (brand: Acme, price: 12.5)`. A value is cut at 60 characters, one of kind `text` at 200. None by default.
    #[serde(default, skip_serializing_if = "Declared::is_empty")]
    pub item_features: Declared,
    /// The roles that the model plays.
    #[serde(default)]
    pub agent: Agent,
    /// How the model states its recommendation.
    #[serde(default)]
    pub actor: Actor,
    /// Settings of the roles: generation and memory.
    #[serde(default)]
    pub roles: RoleSettings,
    /// The model that embeds texts, for `actor: { write: … }` and `roles.similarity: texts`; by default the server's
    /// (`llm.openai.embedding_model`), if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedder: Option<EmbedderConfig>,
    /// Minimum fraction of turns at which the model named an item that may be shown; below it the stage fails. At the other turns
    /// the retriever's first candidate is shown instead, and counted. With `actor: { rate: {} }`, the minimum fraction of items with a
    /// score.
    #[serde(default = "Demonstrate::half")]
    pub min_valid_rate: f64,
}

/// Defaults by name, chosen for a small embedded model.
impl Demonstrate {
    fn sixteen() -> usize {
        16
    }
    fn ten() -> usize {
        10
    }
    fn five() -> usize {
        5
    }
    fn one() -> usize {
        1
    }
    /// IL-Rec's window of similar items.
    fn seven() -> usize {
        7
    }
    fn item() -> String {
        "item".into()
    }
    fn half() -> f64 {
        0.5
    }
}

/// Whether a setting is left out of the serialised experiment, so that it changes no key of before.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_one(value: &usize) -> bool {
    *value == 1
}
