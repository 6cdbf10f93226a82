//! The contract that every language model fulfils.

use super::answer::Answer;
use super::answer::FailedCall;
use super::answer::TokenUsage;
use super::batch::BatchExchange;
use super::request::ChoiceRequest;
use super::request::CompletionRequest;
use anyhow::Result;

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
