//! A model behind an OpenAI-compatible server: the prompt lists the options, and the reply names a label.
//!
//! `POST {base_url}/chat/completions` and `/embeddings`, which OpenAI, most other providers, and local servers (llama.cpp,
//! vLLM, Ollama) support. The key is read from the environment at the first request, is sent in one header, and is redacted
//! from responses.
//!
//! A request waits for a slot ([`rate_limit`]), is recorded in the stage's ledger ([`budget`]), sent ([`http`]) and, after a
//! transient failure, retried ([`retry`]). The stored response is parsed in [`response`]. With the setting `batch` the requests are
//! written to a file and answered together ([`batch`]).
//!
//! Not here: streaming, tools, discounts for cached tokens.

mod adapted_request;
mod batch;
#[cfg(test)]
mod batch_server;
mod budget;
mod choice_parser;
mod completion;
mod config;
mod dialect;
#[cfg(test)]
mod fault_tests;
mod http;
#[cfg(test)]
mod mock_server;
mod rate_limit;
mod rejection;
mod reply_words;
pub(super) mod response;
mod retry;
mod retry_after;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, ensure};
use pipeline::Cancel;
use serde_json::{Value, json};

pub use batch::BatchConfig;
pub use budget::Prices;
use budget::{Budget, TokenCount};
use completion::{completion, vectors};
pub use config::OpenaiConfig;
pub use dialect::{MaxTokensField, Parameter, SystemRole};
use http::{Charge, HttpClient, Outcome};
use rate_limit::RateLimiter;
pub(crate) use response::LETTERS as MAX_LETTERS;
use response::{LETTERS, Labels, RawResponse, Usage};
use retry::{CancellableSleep, RetryClass, with_retries};

use super::{
    Answer, BatchExchange, ChoiceRequest, CompletionRequest, Conversation, ConversationFactory, Embedder, Embeddings,
    FailedCall, Llm, ParsedChoice,
};

/// Raised when the prompt of an equal request changes. 2: the path of the address is in the identity, because one host may
/// serve several models under several paths.
const FORM: u32 = 2;
/// The most bytes of a chat completion that are read, besides those for each token.
const COMPLETION_BYTES: u64 = 256 << 10;
/// The most bytes of a token of it: the token, its log-probability and those of twenty others.
const BYTES_PER_TOKEN: u64 = 4 << 10;
/// The most bytes of the longest completion.
const MAX_COMPLETION_BYTES: u64 = 16 << 20;
/// The most bytes of embeddings that are read: [`TEXTS_PER_REQUEST`] vectors of 8192 numbers fit.
const MAX_EMBEDDING_BYTES: u64 = 16 << 20;
/// The number of texts that one request embeds.
const TEXTS_PER_REQUEST: usize = 64;

impl OpenaiConfig {
    pub(super) fn open(&self, ledger: &Path, cancel: Cancel) -> Result<OpenaiLlm> {
        Ok(OpenaiLlm {
            http: HttpClient::new(self)?,
            rate_limiter: RateLimiter::new(self.requests_per_minute, self.tokens_per_minute),
            budget: Budget::open(ledger, self.limits())?,
            ledger: ledger.to_path_buf(),
            sleep: CancellableSleep { cancel, sleep: std::thread::sleep },
            clock: Instant::now(),
            config: self.clone(),
        })
    }
}

/// The client of one server.
pub(super) struct OpenaiLlm {
    config: OpenaiConfig,
    http: HttpClient,
    rate_limiter: RateLimiter,
    budget: Budget,
    ledger: PathBuf,
    sleep: CancellableSleep,
    clock: Instant,
}

impl Llm for OpenaiLlm {
    fn identity(&self) -> String {
        let OpenaiConfig { model, max_tokens, temperature, logprobs, .. } = &self.config;
        let (server, model) = (Value::from(self.http.server.as_str()), Value::from(model.as_str()));
        let letters = if *logprobs { r#","logprobs":true"# } else { "" };
        let suffix = self.config.identity_suffix();
        format!(
            r#"{{"provider":"openai","form":{FORM},"server":{server},"model":{model},"max_tokens":{max_tokens},"temperature":{temperature}{letters}{suffix}}}"#
        )
    }

    fn max_concurrency(&self) -> Option<usize> {
        Some(self.config.max_concurrent_requests)
    }

    fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
        Ok(Box::new(move || Box::new(OpenaiConversation(self))))
    }

    fn references(&self, _: &ChoiceRequest) -> Vec<ChoiceRequest> {
        vec![]
    }

    fn parse_choice(&self, request: &ChoiceRequest, answer: &str, _: &[String]) -> Result<ParsedChoice> {
        response::parse_choice(request, answer)
    }

    fn option_logprobs(&self, request: &ChoiceRequest, answer: &str) -> Result<Option<Vec<f64>>> {
        response::option_logprobs(request, answer)
    }

    fn completion_text(&self, answer: &str) -> Result<String> {
        response::completion_text(answer)
    }

    fn answer_failure(&self, request: &str, answer: &str) -> Result<Option<FailedCall>> {
        response::answer_failure(request, answer)
    }

    fn count_tokens(&self, _: &str, answer: &str) -> Result<Option<super::TokenUsage>> {
        response::count_tokens(answer)
    }

    fn spending(&self) -> Result<Option<String>> {
        let spent = self.budget.spent()?;
        let unknown = spent.uncertain().map_or_else(String::new, |words| format!(", {words}"));
        let cost = self.config.prices.map(|_| format!(" and {:.6} USD", spent.usd())).unwrap_or_default();
        let TokenCount { prompt, completion } = spent.tokens;
        Ok(Some(format!("{} calls, {prompt} + {completion} tokens{cost} in all runs{unknown}", spent.calls)))
    }

    fn batches(&self) -> Option<&dyn BatchExchange> {
        self.config.batch.as_ref().map(|_| self as &dyn BatchExchange)
    }

    fn embedder(&self) -> Option<&dyn Embedder> {
        self.config.embedding_model.as_ref().map(|_| self as &dyn Embedder)
    }
}

impl Embedder for OpenaiLlm {
    fn space(&self) -> String {
        let (server, model) = (Value::from(self.http.server.as_str()), json!(self.config.embedding_model));
        format!(r#"{{"provider":"openai","form":{FORM},"server":{server},"embedding_model":{model}}}"#)
    }

    fn embed(&self, texts: &[String]) -> Result<Embeddings> {
        let mut all = Embeddings::default();
        for texts in texts.chunks(TEXTS_PER_REQUEST) {
            ensure!(texts.iter().all(|text| !text.is_empty()), "an empty text has no embedding");
            let body = json!({ "model": self.config.embedding_model, "input": texts, "encoding_format": "float" });
            let bytes: usize = texts.iter().map(String::len).sum();
            let worst = TokenCount { prompt: max_prompt_tokens(bytes, texts.len()), completion: 0 };
            let parse = |text: &str| vectors(text, texts.len());
            let (vectors, usage) = self.request("embeddings", &body, worst, MAX_EMBEDDING_BYTES, &parse)?;
            all.vectors.extend(vectors);
            all.tokens += usage.map_or(0, |usage| TokenCount::from(usage).sum());
        }
        Ok(all)
    }
}

/// A server keeps no state between requests, so all conversations are equal.
struct OpenaiConversation<'a>(&'a OpenaiLlm);

impl Conversation for OpenaiConversation<'_> {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        let chat = self.0.choice(request)?;
        checked(&request.canonical(), self.0.chat(&chat, Some(&request.options[..]).filter(|_| chat.letters))?)
    }

    fn complete(&mut self, request: &CompletionRequest) -> Result<Answer> {
        checked(&request.canonical(), self.0.chat(&self.0.text(request), None)?)
    }
}

/// A request for a chat completion.
struct ChatRequest {
    body: Value,
    /// The most tokens of the answer.
    max_tokens: u32,
    /// Whether the options of a choice have letters, whose log-probabilities are kept.
    letters: bool,
}

impl ChatRequest {
    /// The highest usage.
    fn worst(&self) -> TokenCount {
        let messages = self.body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let bytes = messages.iter().filter_map(|message| message["content"].as_str()).map(str::len).sum();
        TokenCount { prompt: max_prompt_tokens(bytes, messages.len()), completion: self.max_tokens.into() }
    }
}

/// The response, if it is an answer.
fn checked(request: &str, answer: Answer) -> Result<Answer> {
    match response::answer_failure(request, &answer.text)? {
        None => Ok(answer),
        Some(failed) => Err(FailedCall { status: Some(200), ..failed }.into()),
    }
}

/// The most tokens of a prompt: a tokenizer makes no more tokens than bytes, and a chat template adds little to each text.
fn max_prompt_tokens(bytes: usize, texts: usize) -> u64 {
    (bytes + 32 * (texts + 1)) as u64
}

/// The most bytes that are read of a completion of `max_tokens` tokens.
fn max_bytes(max_tokens: u32) -> u64 {
    (COMPLETION_BYTES + BYTES_PER_TOKEN * u64::from(max_tokens)).min(MAX_COMPLETION_BYTES)
}

impl OpenaiLlm {
    /// `letter_options` are the options of a choice by letters.
    fn chat(&self, chat: &ChatRequest, letter_options: Option<&[String]>) -> Result<Answer> {
        let parse = |text: &str| completion(text, letter_options);
        let limit = max_bytes(chat.max_tokens);
        let (raw, usage): (RawResponse, _) =
            self.request("chat/completions", &chat.body, chat.worst(), limit, &parse)?;
        let tokens = usage.map_or(0, |usage| TokenCount::from(usage).sum());
        Ok(Answer { text: serde_json::to_string(&raw)?, tokens })
    }

    /// Sends a request until it is answered or fails for good. `worst` is the highest usage of one attempt.
    fn request<T>(
        &self,
        path: &str,
        body: &Value,
        worst: TokenCount,
        limit: u64,
        parse: &dyn Fn(&str) -> Result<T>,
    ) -> Result<(T, Option<Usage>)> {
        // A token has about four bytes in most texts.
        let estimated = worst.prompt / 4 + worst.completion;
        let sleep = |pause| self.sleep.wait(pause);
        let attempt = || {
            let now = self.clock.elapsed();
            let start = self.rate_limiter.acquire(now, estimated);
            sleep(start.saturating_sub(now)).map_err(RetryClass::Permanent)?;
            let reservation = self.budget.reserve(worst, &self.sleep.cancel).map_err(RetryClass::Permanent)?;
            let Outcome { answer, charge } = self.http.post(&self.config, path, body, limit, parse);
            let usage = match charge {
                Charge::Billed(usage) => {
                    self.rate_limiter
                        .correct(estimated, usage.map_or(estimated, |usage| TokenCount::from(usage).sum()));
                    reservation.answered(usage.map(TokenCount::from)).map_err(RetryClass::Permanent)?;
                    usage
                }
                Charge::Free => {
                    reservation.refused().map_err(RetryClass::Permanent)?;
                    None
                }
                Charge::Unknown => None,
            };
            answer.map(|answer| (answer, usage))
        };
        with_retries(self.config.max_retries, &sleep, attempt)
    }

    /// The chat completion that answers a canonical request.
    fn chat_request(&self, canonical: &str) -> Result<ChatRequest> {
        match serde_json::from_str(canonical) {
            Ok(choice) => self.choice(&choice),
            Err(_) => Ok(self.text(&serde_json::from_str(canonical)?)),
        }
    }

    fn choice(&self, request: &ChoiceRequest) -> Result<ChatRequest> {
        let (options, letters) = (request.options.len(), self.config.logprobs);
        ensure!(options > 0, "no option to choose from");
        ensure!(
            !letters || options <= LETTERS,
            "{options} options, and with `logprobs` at most {LETTERS} can be labelled"
        );
        let labels = if letters { Labels::Letters } else { Labels::Numbers };
        let (instructions, rest) = request.context.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
        let label = |(index, option): (usize, &String)| format!("{}. {option}\n", labels.of(index));
        let list: String = request.options.iter().enumerate().map(label).collect();
        let system = format!("{instructions}Answer with the {} of your choice and nothing else.", labels.name());
        let user = format!("{}Candidates:\n{list}{}", rest.concat(), request.completion_prefix);
        let mut body = json!({
            "model": self.config.model,
            "messages": [{ "role": "system", "content": system }, { "role": "user", "content": user }],
            "max_tokens": self.config.max_tokens,
            "temperature": self.config.temperature,
        });
        if labels == Labels::Letters {
            body["logprobs"] = true.into();
            body["top_logprobs"] = LETTERS.into();
        }
        Ok(ChatRequest { body: self.config.adapted(body), max_tokens: self.config.max_tokens, letters })
    }

    fn text(&self, request: &CompletionRequest) -> ChatRequest {
        let (instructions, rest) = request.context.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
        let form = request.integer.map_or_else(String::new, |(low, high)| {
            format!("\nAnswer with a whole number from {low} to {high} and nothing else.")
        });
        let user = format!("{}{}{form}", rest.concat(), request.completion_prefix);
        let mut body = json!({
            "model": self.config.model,
            "messages": [{ "role": "system", "content": instructions }, { "role": "user", "content": user }],
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "seed": request.draw,
        });
        if !request.stop.is_empty() {
            body["stop"] = json!([request.stop]);
        }
        ChatRequest { body: self.config.adapted(body), max_tokens: request.max_tokens, letters: false }
    }
}

/// The US dollars in the note that a stage leaves of what it spent: `240 calls, 9000 + 40 tokens and 0.016000 USD in all runs`.
#[must_use]
pub fn usd_spent(notes: &BTreeMap<String, String>) -> Option<f64> {
    notes.get("spent")?.split_once(" USD")?.0.rsplit(' ').next()?.parse().ok().filter(|usd: &f64| usd.is_finite())
}
