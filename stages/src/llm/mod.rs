//! Language models that choose among options and write: one contract, and the providers behind it.
//!
//! Asking and reading are apart. [`Conversation::choose`] costs time or money and gives a raw answer, which the caller keeps under
//! the model's [identity](Llm::identity) and the [`ChoiceRequest`]; [`Llm::parse_choice`] turns a raw answer into a choice and costs
//! nothing, so a better reading needs no new call. An answer is always read from its kept text, never from what was in
//! memory when it came, so that a resumed run reads the same.
//!
//! A question that the model was asked and did not answer is a [`FailedCall`]: it says nothing about other questions, so it becomes
//! a row among the calls and does not end the stage. It is no answer either, so it is not kept for other runs.

#[cfg(test)]
pub(crate) mod conformance;
mod embedding_cache;
pub mod gguf;
mod openai;
mod option_scorer;
mod replay;

use std::fmt;
use std::ops::Add;

use anyhow::Result;
use pipeline::{AssetName, Context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use embedding_cache::cached_embeddings;
pub use openai::{MaxTokensField, OpenaiConfig, Parameter, Prices, SystemRole};
pub use option_scorer::{GgufConfig, Score};
pub use replay::{RecordedCall, ReplayConfig};

/// One choice to make. Its JSON is what is kept and hashed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChoiceRequest {
    /// What the model is told, oldest first; each piece ends with a newline. The first are the instructions. Empty for a
    /// [reference](Llm::references).
    pub context: Vec<String>,
    /// The words that an option completes, without a space at the end (`Recommended movie:`).
    #[serde(rename = "cue")]
    pub completion_prefix: String,
    /// What it may choose, at least one.
    pub options: Vec<String>,
}

impl ChoiceRequest {
    /// The request as it is kept: compact JSON, fields in this order.
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

/// One text to write. Its JSON is what is kept and hashed; no choice has the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompletionRequest {
    /// What the model is told, oldest first; each piece ends with a newline. The first are the instructions.
    pub context: Vec<String>,
    /// What it goes on from or answers, without a space at the end (`Thought:`).
    #[serde(rename = "cue")]
    pub completion_prefix: String,
    /// The longest text, in tokens.
    pub max_tokens: u32,
    /// The text ends before this; nothing when it is empty.
    pub stop: String,
    /// 0 for the most probable text.
    pub temperature: f64,
    /// Of equal requests another number is another draw: a new try.
    pub draw: u64,
    /// Whether it must be a whole number from the first to the second. A model in this process can write nothing else; what a
    /// server says may be something else all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub integer: Option<(i32, i32)>,
}

impl CompletionRequest {
    /// The request as it is kept: compact JSON, fields in this order.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("a request is texts and numbers only")
    }
}

/// BLAKE3 of a model's identity and a canonical request, 64 hex digits.
#[must_use]
pub fn key(identity: &str, canonical: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    // The length keeps the end of one apart from the beginning of the other.
    hasher.update(&(identity.len() as u64).to_le_bytes());
    hasher.update(identity.as_bytes());
    hasher.update(canonical.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The raw answer, as it is kept: JSON of the provider's own shape, without anything measured here.
    pub text: String,
    /// Tokens that this call newly ran through the model (or that the provider billed). What was cached does not count, so
    /// this differs between a resumed and an uninterrupted run and belongs in no object.
    pub tokens: u64,
}

/// Tokens of questions and their answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// Of whole prompts, as if nothing were cached.
    pub prompt: u64,
    /// Of what the model wrote.
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

/// The error of a question that the model was asked and did not answer; others may fare better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedCall {
    /// The server's status, where one came.
    pub status: Option<u16>,
    /// What happened, in a sentence; behind it, where something can be done, a line `help: …`.
    pub reason: String,
    /// The beginning of what came in place of an answer.
    pub raw: String,
}

impl fmt::Display for FailedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for FailedCall {}

/// Texts as vectors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embeddings {
    /// One a text, in the order of the texts; of one length, finite, not normalised.
    pub vectors: Vec<Vec<f32>>,
    /// As [`Answer::tokens`].
    pub tokens: u64,
}

/// A model that turns texts into vectors: near where they mean the like.
pub trait Embedder: Sync {
    /// The space in which its vectors lie: what they depend on besides the text. Never a secret.
    fn space(&self) -> String;
    /// One vector for each text.
    ///
    /// # Errors
    /// When a text is empty, or the model cannot or will not answer.
    fn embed(&self, texts: &[String]) -> Result<Embeddings>;
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedChoice {
    /// The chosen option; `None` where the answer names none.
    pub index: Option<usize>,
    /// One score an option, higher is better; empty where the provider gives none.
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
    /// When the model cannot take it.
    fn conversations<'a>(&'a self, opening: &str) -> Result<ConversationFactory<'a>>;
    /// What must be answered too before an answer to `request` can be read: requests of one option each that depend on the
    /// cue and the option only, so that conversations share them.
    fn references(&self, request: &ChoiceRequest) -> Vec<ChoiceRequest>;
    /// What `answer` says, given the answers to the [references](Llm::references) in their order.
    ///
    /// # Errors
    /// When an answer is not this provider's, which a damaged store would explain. An answer that simply makes no choice is
    /// no error.
    fn parse_choice(&self, request: &ChoiceRequest, answer: &str, references: &[String]) -> Result<ParsedChoice>;
    /// The text that an answer to a [`CompletionRequest`] holds, without what surrounds it.
    ///
    /// # Errors
    /// When the answer is not this provider's.
    fn completion_text(&self, answer: &str) -> Result<String>;
    /// What keeps `answer` from being one to `request`, both as they are kept: nothing was said, or no option was named. What lacks
    /// something was never kept by this program, and may have been by an older one; it is asked again.
    ///
    /// # Errors
    /// When the answer is not this provider's.
    fn answer_failure(&self, _request: &str, _answer: &str) -> Result<Option<FailedCall>> {
        Ok(None)
    }
    /// Tokens of a question, as it is kept, and its answer: a function of the two, so that it is the same where the answer came
    /// from the store. `None` where they do not tell.
    ///
    /// # Errors
    /// When the answer is not this provider's.
    fn count_tokens(&self, _request: &str, _answer: &str) -> Result<Option<TokenUsage>> {
        Ok(None)
    }
    /// What its calls came to in all runs of the stage, where somebody keeps account.
    ///
    /// # Errors
    /// When the account cannot be read.
    fn spending(&self) -> Result<Option<String>> {
        Ok(None)
    }
    /// The model beside it that turns texts into vectors, where there is one.
    fn embedder(&self) -> Option<&dyn Embedder> {
        None
    }
}

/// One conversation. It may be asked anything at any time; asking what continues the last request is cheapest.
pub trait Conversation {
    /// Asks the model.
    ///
    /// # Errors
    /// [`FailedCall`] when this question got no answer. Any other when there is no option, or the model cannot be asked.
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer>;
    /// Has the model write.
    ///
    /// # Errors
    /// [`FailedCall`] when this question got no answer. Any other when the model cannot be asked.
    fn complete(&mut self, completion: &CompletionRequest) -> Result<Answer>;
}

/// What a model would be asked, before it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Choices to make.
    pub choices: u64,
    /// Texts to write.
    pub texts: u64,
    /// Tokens to read, in all.
    pub prompt_tokens: u64,
    /// Tokens of the texts at most, in all.
    pub text_tokens: u64,
}

/// Which language model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LlmConfig {
    /// A model in a GGUF file, run inside this process: it chooses by the probability of each option's text.
    Gguf(GgufConfig),
    /// A model behind an OpenAI-compatible server: it answers with the number of an option.
    Openai(Box<OpenaiConfig>),
    /// Recorded calls, from the input `calls`: what was not recorded is an error.
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

    /// What no type can say: the config path at fault and a sentence.
    ///
    /// # Errors
    /// Where a value is out of its range.
    pub fn check(&self) -> Result<(), (String, String)> {
        match self {
            Self::Gguf(_) | Self::Replay(_) => Ok(()),
            Self::Openai(config) => config.check().map_err(|(path, message)| (format!("openai.{path}"), message)),
        }
    }

    /// What that work may come to, in words; `None` where it costs nothing but time.
    #[must_use]
    pub fn estimate(&self, work: &Workload) -> Option<String> {
        match self {
            Self::Gguf(_) | Self::Replay(_) => None,
            Self::Openai(config) => Some(config.estimate(work)),
        }
    }

    /// Whether a model that turns texts into vectors comes with it.
    #[must_use]
    pub fn embeds(&self) -> bool {
        match self {
            Self::Gguf(_) | Self::Replay(_) => false,
            Self::Openai(config) => config.embedding_model.is_some(),
        }
    }

    /// Whether it is nothing but recorded calls.
    #[must_use]
    pub fn replays(&self) -> bool {
        matches!(self, Self::Replay(_))
    }

    /// Makes it ready to be asked; `recorded` is what a replay knows.
    ///
    /// # Errors
    /// When its file or its ledger cannot be read, or the recorded calls cannot be replayed; a server is first spoken to when
    /// it is asked something.
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
