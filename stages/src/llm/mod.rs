//! Language models that choose among options and write: one contract, and the providers behind it.
//!
//! A call has two steps. [`Conversation::choose`] and [`Conversation::complete`] cost time or money and return a raw answer, which
//! the caller stores under the model's [identity](Llm::identity) and the request. [`Llm::parse_choice`] parses a stored answer and
//! costs nothing, so an improved parser needs no new call. An answer is always parsed from its stored text, so a resumed run
//! parses the same.
//!
//! A request that the model did not answer is a [`FailedCall`]. It becomes a row of `calls` and does not end the stage, because
//! other requests may succeed. It is not stored, so the next run repeats it.

mod answer;
mod batch;
mod batch_failures;
mod batch_rounds;
mod batch_state;
#[cfg(test)]
pub(crate) mod conformance;
mod contract;
mod embedder;
mod embedding_cache;
pub mod gguf;
pub(crate) mod item_names;
mod item_rating;
mod llm_cache;
mod openai;
mod option_scorer;
mod replay;
mod request;
#[cfg(test)]
pub(crate) mod scripted;
pub mod sentence_encoder;
pub(crate) mod template;
mod usage;
mod whole_number;
mod workload;

use anyhow::Result;
use pipeline::{AssetName, Context, Requirement};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::Adapter;
pub use answer::{Answer, FailedCall, TokenUsage};
pub(crate) use batch::{AwaitsBatch, ask_each};
pub use batch::{BatchExchange, BatchOutcome, BatchRequest, BatchRound, TakeOutcome};
pub use contract::{Conversation, ConversationFactory, Embedder, Embeddings, Llm, ParsedChoice};
pub use embedder::{EmbedderConfig, HiddenStatesConfig, SentenceEncoderConfig};
pub use embedding_cache::cached_embeddings;
pub use item_rating::{Contrast, Grade, Likelihood, RateBy};
pub(crate) use item_rating::{Rated, Rating};
pub(crate) use llm_cache::CachedLlm;
pub(crate) use openai::MAX_LETTERS;
pub use openai::{BatchConfig, MaxTokensField, OpenaiConfig, Parameter, Prices, SystemRole, usd_spent};
pub use option_scorer::{GgufConfig, Score};
pub use replay::{RecordedCall, ReplayConfig};
pub use request::{ChoiceRequest, CompletionRequest, key};
pub(crate) use usage::usage_by_user;
pub(crate) use whole_number::parse_integer;
pub use workload::Workload;

/// Settings below `llm` of which no answer depends: how it is asked, not what.
pub(crate) const NOT_IN_KEY: &[&str] = &[
    "llm.openai.api_key",
    "llm.openai.max_concurrent_requests",
    "llm.openai.requests_per_minute",
    "llm.openai.tokens_per_minute",
    "llm.openai.timeout_seconds",
    "llm.openai.max_retries",
    "llm.openai.prices",
    "llm.openai.budget_usd",
    "llm.openai.max_calls",
    "llm.openai.batch",
];

/// The language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LlmConfig {
    /// A model in a GGUF file that runs inside this process. It chooses by the probability of each option's text.
    Gguf(GgufConfig),
    /// A model behind an OpenAI-compatible server. It answers with the number or the letter of an option.
    Openai(Box<OpenaiConfig>),
    /// Recorded calls from the input `calls`. A request that was not recorded is an error.
    Replay(ReplayConfig),
}

impl LlmConfig {
    /// The asset that it needs.
    #[must_use]
    pub fn asset(&self) -> Option<AssetName> {
        match self {
            Self::Gguf(config) => Some(config.asset.clone()),
            Self::Openai(_) | Self::Replay(_) => None,
        }
    }

    /// Checks what types cannot express.
    ///
    /// # Errors
    /// The path of the first invalid setting and a message.
    pub fn check(&self) -> Result<(), (String, String)> {
        match self {
            Self::Gguf(_) | Self::Replay(_) => Ok(()),
            Self::Openai(config) => config.check().map_err(|(path, message)| (format!("openai.{path}"), message)),
        }
    }

    /// The estimated calls, tokens and cost of a workload; `None` where it costs only time.
    #[must_use]
    pub fn estimate(&self, work: &Workload) -> Option<String> {
        match self {
            Self::Gguf(_) | Self::Replay(_) => None,
            Self::Openai(config) => Some(config.estimate(work)),
        }
    }

    /// Whether it has an embedding model.
    #[must_use]
    pub fn embeds(&self) -> bool {
        match self {
            Self::Gguf(_) | Self::Replay(_) => false,
            Self::Openai(config) => config.embedding_model.is_some(),
        }
    }

    /// Whether it is asked in batches.
    #[must_use]
    pub fn in_batches(&self) -> bool {
        match self {
            Self::Gguf(_) | Self::Replay(_) => false,
            Self::Openai(config) => config.batch.is_some(),
        }
    }

    /// Why it gives no log-probabilities of options, with a help line; `None` where it may.
    #[must_use]
    pub fn lacks_logprobs(&self) -> Option<&'static str> {
        match self {
            Self::Openai(config) if !config.logprobs => {
                Some("a server gives the probabilities of options only with `llm: { openai: { logprobs: true } }`")
            }
            Self::Openai(_) | Self::Gguf(_) | Self::Replay(_) => None,
        }
    }

    /// When the port `calls` of a stage must be connected.
    fn requires_calls(&self) -> Requirement {
        let (why, help) = match self.replays() {
            true => ("it answers from recorded calls", "connect the `calls` of an earlier stage"),
            false => (
                "only `llm: { replay: {} }` answers from recorded calls",
                "leave the input out, or set `llm: { replay: {} }`",
            ),
        };
        Requirement { setting: "llm", port: "calls", connected: self.replays(), why: why.into(), help }
    }

    /// What the ports `calls` and `adapter` of a stage need.
    #[must_use]
    pub fn requirements(&self) -> Vec<Requirement> {
        let tuned = (!matches!(self, Self::Gguf(_))).then(|| Requirement {
            setting: "llm",
            port: "adapter",
            connected: false,
            why: "an adapter tunes a model inside this process".into(),
            help: "leave the input out, or set `llm: { gguf: … }`",
        });
        [self.requires_calls()].into_iter().chain(tuned).collect()
    }

    /// Whether it asks a server: then it holds a key or a budget, which stay in the process of the run.
    #[must_use]
    pub fn asks_server(&self) -> bool {
        matches!(self, Self::Openai(_))
    }

    /// Whether it replays recorded calls.
    #[must_use]
    pub fn replays(&self) -> bool {
        matches!(self, Self::Replay(_))
    }

    /// Opens the model; `recorded` are the calls of a replay, `adapter` what an embedded model learned beside its weights.
    ///
    /// # Errors
    /// When its file or its ledger cannot be read, or the recorded calls cannot be replayed. A server is contacted at the first
    /// request only.
    pub fn open(&self, cx: &Context, recorded: Vec<RecordedCall>, adapter: Option<&Adapter>) -> Result<Box<dyn Llm>> {
        match self {
            Self::Gguf(config) => Ok(Box::new(config.open(cx.asset(&config.asset)?, adapter)?)),
            Self::Openai(config) => Ok(Box::new(config.open(cx.spent(), cx.cancel())?)),
            Self::Replay(config) => Ok(Box::new(config.open(recorded)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_model_context_cue_and_options_and_on_nothing_else() {
        let request = |context: &str, completion_prefix: &str, options: &[&str]| ChoiceRequest {
            context: vec![context.to_owned()],
            completion_prefix: completion_prefix.to_owned(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        };
        let base = request("a\n", "next:", &["x", "y"]);
        assert_eq!(base.canonical(), r#"{"context":["a\n"],"cue":"next:","options":["x","y"]}"#);
        assert_eq!(base.key("m"), base.clone().key("m"));
        let others = [request("b\n", "next:", &["x", "y"]), request("a\n", "best:", &["x", "y"])];
        let orders = [request("a\n", "next:", &["y", "x"]), request("a\n", "next:", &["xy"])];
        for other in others.iter().chain(&orders) {
            assert_ne!(other.key("m"), base.key("m"));
        }
        assert_ne!(base.key("n"), base.key("m"));
    }
}
