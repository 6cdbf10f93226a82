//! Language models that choose among options and write: one contract, and the providers behind it.
//!
//! A call has two steps. [`Conversation::choose`] and [`Conversation::complete`] cost time or money and return a raw answer, which
//! the caller stores under the model's [identity](Llm::identity) and the request. [`Llm::parse_choice`] parses a stored answer and
//! costs nothing, so an improved parser needs no new call. An answer is always parsed from its stored text, so a resumed run
//! parses the same.
//!
//! A request that the model did not answer is a [`FailedCall`]. It becomes a row of `calls` and does not end the stage, because
//! other requests may succeed. It is not stored, so the next run repeats it.

mod batch;
mod batch_failures;
mod batch_rounds;
mod batch_state;
#[cfg(test)]
pub(crate) mod conformance;
mod embedder;
mod embedding_cache;
pub mod gguf;
pub(crate) mod item_names;
mod item_rating;
mod llm_cache;
mod openai;
mod option_scorer;
mod replay;
#[cfg(test)]
pub(crate) mod scripted;
pub mod sentence_encoder;
pub(crate) mod template;
mod usage;
mod whole_number;

use std::fmt;
use std::ops::Add;

use anyhow::Result;
use pipeline::{AssetName, Context, Requirement};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use batch::{AwaitsBatch, ask_each};
pub use batch::{BatchExchange, BatchOutcome, BatchRequest, BatchRound, TakeOutcome};
pub use embedder::{EmbedderConfig, HiddenStatesConfig, SentenceEncoderConfig};
pub use embedding_cache::cached_embeddings;
pub use item_rating::{Contrast, Grade, Likelihood, RateBy};
pub(crate) use item_rating::{Rated, Rating};
pub(crate) use llm_cache::CachedLlm;
pub(crate) use openai::MAX_LETTERS;
pub use openai::{BatchConfig, MaxTokensField, OpenaiConfig, Parameter, Prices, SystemRole, usd_spent};
pub use option_scorer::{GgufConfig, Score};
pub use replay::{RecordedCall, ReplayConfig};
pub(crate) use usage::usage_by_user;
pub(crate) use whole_number::parse_integer;

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

/// A request to choose one of several options. Its JSON is stored and hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChoiceRequest {
    /// The prompt in pieces, oldest first; each ends with a newline. The first holds the instructions. Empty for a
    /// [reference](Llm::references).
    pub context: Vec<String>,
    /// The text that an option completes, without a space at the end (`Recommended movie:`).
    #[serde(rename = "cue")]
    pub completion_prefix: String,
    /// The options, at least one.
    pub options: Vec<String>,
}

impl ChoiceRequest {
    /// The request as it is stored: compact JSON, fields in this order.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("a request is texts only")
    }

    /// See [`key`].
    #[must_use]
    pub fn key(&self, identity: &str) -> String {
        key(identity, &self.canonical())
    }
}

/// A request to write a text. Its JSON is stored and hashed, and differs from that of any choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompletionRequest {
    /// The prompt in pieces, oldest first; each ends with a newline. The first holds the instructions.
    pub context: Vec<String>,
    /// The end of the prompt, which the text continues or answers, without a space at the end (`Thought:`).
    #[serde(rename = "cue")]
    pub completion_prefix: String,
    /// The longest text, in tokens.
    pub max_tokens: u32,
    /// The stop sequence; none where it is empty.
    pub stop: String,
    /// The sampling temperature; 0 for the most probable text.
    pub temperature: f64,
    /// The number of the sample: equal requests with different numbers are sampled independently.
    pub draw: u64,
    /// The range of a whole number, where the text must be one. The embedded model writes nothing else; a server may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integer: Option<(i32, i32)>,
}

impl CompletionRequest {
    /// The request as it is stored: compact JSON, fields in this order.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("a request is texts and numbers only")
    }
}

/// BLAKE3 of a model's identity and a canonical request, 64 hex digits.
#[must_use]
pub fn key(identity: &str, canonical: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    // The length separates the identity from the request.
    hasher.update(&(identity.len() as u64).to_le_bytes());
    hasher.update(identity.as_bytes());
    hasher.update(canonical.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// A raw answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer as it is stored: JSON in the provider's own form, without measurements.
    pub text: String,
    /// Tokens that this call evaluated or that the provider billed. Cached tokens do not count, so the number differs between a
    /// resumed and an uninterrupted run and belongs in no object.
    pub tokens: u64,
}

/// Tokens of requests and their answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// Tokens of whole prompts, as if nothing were cached.
    pub prompt: u64,
    /// Generated tokens.
    pub completion: u64,
}

impl Add for TokenUsage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(other.prompt),
            completion: self.completion.saturating_add(other.completion),
        }
    }
}

/// The error of a request that the model did not answer; other requests may succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCall {
    /// The server's status, where it responded.
    pub status: Option<u16>,
    /// What happened, in a sentence; where something helps, followed by a line `help: …`.
    pub reason: String,
    /// The beginning of the response, if there was one.
    pub raw: String,
}

impl fmt::Display for FailedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for FailedCall {}

/// Embeddings of texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// One vector per text, in the order of the texts; all of one length, finite, not normalised.
    pub vectors: Vec<Vec<f32>>,
    /// As [`Answer::tokens`].
    pub tokens: u64,
}

/// A model that embeds texts: similar texts have similar vectors.
pub trait Embedder: Sync {
    /// The identity of the embedding space: what the vectors depend on besides the text. Never a secret.
    fn space(&self) -> String;
    /// One vector for each text.
    ///
    /// # Errors
    /// When a text is empty, or the model cannot or does not answer.
    fn embed(&self, texts: &[String]) -> Result<Embeddings>;
}

/// The choice that an answer makes.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedChoice {
    /// The chosen option; `None` where the answer names none.
    pub index: Option<usize>,
    /// One score per option, higher is better; empty where the provider returns none.
    pub scores: Vec<f32>,
}

/// Makes conversations. Shared between threads.
pub type ConversationFactory<'a> = Box<dyn Fn() -> Box<dyn Conversation + 'a> + Sync + 'a>;

/// A language model that chooses and writes.
pub trait Llm: Sync {
    /// What its answers depend on besides the request: provider, model, sampling. Never a secret.
    fn identity(&self) -> String;
    /// How many conversations may run at once, where that is not the number of threads.
    fn max_concurrency(&self) -> Option<usize>;
    /// Makes conversations that all begin with `opening`, which is evaluated once where the provider can cache it.
    ///
    /// # Errors
    /// When the model cannot evaluate it.
    fn conversations<'a>(&'a self, opening: &str) -> Result<ConversationFactory<'a>>;
    /// The requests whose answers are also needed to parse an answer to `request`. Each has one option and depends on it and on the
    /// completion prefix only, so that conversations share them.
    fn references(&self, request: &ChoiceRequest) -> Vec<ChoiceRequest>;
    /// The choice in `answer`, given the answers to the [references](Llm::references) in their order.
    ///
    /// # Errors
    /// When an answer is not in this provider's form, for example in a damaged store. An answer that makes no choice is no error.
    fn parse_choice(&self, request: &ChoiceRequest, answer: &str, references: &[String]) -> Result<ParsedChoice>;
    /// ln p of each option after the prompt, where an `answer` to a choice determines it. `None` where it does not.
    ///
    /// # Errors
    /// When the answer is not in this provider's form.
    fn option_logprobs(&self, _request: &ChoiceRequest, _answer: &str) -> Result<Option<Vec<f64>>> {
        Ok(None)
    }
    /// Whether the score of an option depends on the prompt and that option alone, not on the other options or their order.
    fn scores_options_alone(&self) -> bool {
        false
    }
    /// The text in an answer to a [`CompletionRequest`], without surrounding white space or reasoning.
    ///
    /// # Errors
    /// When the answer is not in this provider's form.
    fn completion_text(&self, answer: &str) -> Result<String>;
    /// Why a stored `answer` does not answer the stored `request`: it is empty, or names no option. Older programs stored such
    /// answers; the request is sent again.
    ///
    /// # Errors
    /// When the answer is not in this provider's form.
    fn answer_failure(&self, _request: &str, _answer: &str) -> Result<Option<FailedCall>> {
        Ok(None)
    }
    /// Tokens of a stored request and its answer: a function of the two, so that it is the same where the answer came from the
    /// store. `None` where they do not determine it.
    ///
    /// # Errors
    /// When the answer is not in this provider's form.
    fn count_tokens(&self, _request: &str, _answer: &str) -> Result<Option<TokenUsage>> {
        Ok(None)
    }
    /// The calls and cost of the stage over all its runs, where a ledger exists.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn spending(&self) -> Result<Option<String>> {
        Ok(None)
    }
    /// Its batch API, where its settings say to ask by it.
    fn batches(&self) -> Option<&dyn BatchExchange> {
        None
    }
    /// Its embedding model, if it has one.
    fn embedder(&self) -> Option<&dyn Embedder> {
        None
    }
}

/// One conversation. It takes requests in any order; a request that continues the previous one is the cheapest.
pub trait Conversation {
    /// Lets the model choose an option.
    ///
    /// # Errors
    /// [`FailedCall`] when the model did not answer this request. Any other when there is no option, or the model is unavailable.
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer>;
    /// Lets the model write a text.
    ///
    /// # Errors
    /// [`FailedCall`] when the model did not answer this request. Any other when the model is unavailable.
    fn complete(&mut self, completion: &CompletionRequest) -> Result<Answer>;
}

/// An estimate of the requests that a model gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Choices.
    pub choices: u64,
    /// Texts.
    pub texts: u64,
    /// Prompt tokens in total.
    pub prompt_tokens: u64,
    /// The most tokens of the texts in total.
    pub text_tokens: u64,
}

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
    #[must_use]
    pub fn requires_calls(&self) -> Requirement {
        let (why, help) = match self.replays() {
            true => ("it answers from recorded calls", "connect the `calls` of an earlier stage"),
            false => (
                "only `llm: { replay: {} }` answers from recorded calls",
                "leave the input out, or set `llm: { replay: {} }`",
            ),
        };
        Requirement { setting: "llm", port: "calls", connected: self.replays(), why: why.into(), help }
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

    /// Opens the model; `recorded` are the calls of a replay.
    ///
    /// # Errors
    /// When its file or its ledger cannot be read, or the recorded calls cannot be replayed. A server is contacted at the first
    /// request only.
    pub fn open(&self, cx: &Context, recorded: Vec<RecordedCall>) -> Result<Box<dyn Llm>> {
        match self {
            Self::Gguf(config) => Ok(Box::new(config.open(cx.asset(&config.asset)?)?)),
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
