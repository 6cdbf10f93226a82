//! A model behind an OpenAI-compatible server: it reads the options as a list and answers with a label.
//!
//! `POST {base_url}/chat/completions` and `/embeddings`, which OpenAI, most other providers, and local servers (llama.cpp,
//! vLLM, Ollama) answer. The key is read from the environment when the first question is asked, goes into one header, and is
//! cut out of what comes back.
//!
//! A request waits for its turn ([`pace`]), is entered in the stage's ledger ([`budget`]), sent ([`wire`]) and, where that
//! may help, sent again ([`retry`]). What came back is read in [`reply`].
//!
//! Not here: streaming, tools, batches of a provider's own, discounts for cached tokens.

mod budget;
mod completion;
mod config;
mod date;
mod dialect;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod mock_server;
mod option;
mod pace;
mod refusal;
pub(super) mod reply;
mod retry;
#[cfg(test)]
mod tests;
mod tls;
mod wire;
mod words;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use pipeline::Cancel;
use serde_json::{Value, json};

pub use budget::Prices;
use budget::{Budget, Tokens};
use completion::{completion, vectors};
pub use config::OpenaiConfig;
pub use dialect::{MaxTokensField, Parameter, SystemRole};
use pace::Pace;
use reply::{LETTERS, Labels, Raw, Usage};
use retry::{Rest, Trouble, persist};
use wire::{Bill, Outcome, Wire};

use super::{
    Answer, ChoiceRequest, CompletionRequest, Conversation, ConversationFactory, Embedder, Embeddings, FailedCall, Llm,
    ParsedChoice,
};

/// Raised when an equal request to an equal model should be worded anew. 2: the path of the address is in the identity, because
/// one host may serve several models under several paths.
const FORM: u32 = 2;
/// The most bytes of a chat completion that are read, besides those for each token.
const COMPLETION: u64 = 256 << 10;
/// The most bytes that a token of it may take: the token, and what is said of its probability and of twenty others'.
const TOKEN: u64 = 4 << 10;
/// The most bytes of the longest completion.
const LONGEST: u64 = 16 << 20;
/// The most bytes of embeddings that are read: [`TEXTS`] vectors of 8192 numbers fit.
const EMBEDDINGS: u64 = 16 << 20;
/// How many texts one request turns into vectors.
const TEXTS: usize = 64;

impl OpenaiConfig {
    pub(super) fn open(&self, ledger: &Path, cancel: Cancel) -> Result<OpenaiLlm> {
        Ok(OpenaiLlm {
            wire: Wire::new(self)?,
            pace: Pace::new(self.requests_per_minute, self.tokens_per_minute),
            budget: Budget::open(ledger, self.limits())?,
            rest: Rest { cancel, sleep: std::thread::sleep },
            start: Instant::now(),
            config: self.clone(),
        })
    }
}

/// The server with what it takes to ask it.
pub(super) struct OpenaiLlm {
    config: OpenaiConfig,
    wire: Wire,
    pace: Pace,
    budget: Budget,
    rest: Rest,
    start: Instant,
}

impl Llm for OpenaiLlm {
    fn identity(&self) -> String {
        let OpenaiConfig { model, max_tokens, temperature, logprobs, .. } = &self.config;
        let (server, model) = (Value::from(self.wire.server.as_str()), Value::from(model.as_str()));
        let letters = if *logprobs { r#","logprobs":true"# } else { "" };
        let accent = self.config.accent();
        format!(
            r#"{{"provider":"openai","form":{FORM},"server":{server},"model":{model},"max_tokens":{max_tokens},"temperature":{temperature}{letters}{accent}}}"#
        )
    }

    fn max_concurrency(&self) -> Option<usize> {
        Some(self.config.in_flight)
    }

    fn conversations<'a>(&'a self, _: &str) -> Result<ConversationFactory<'a>> {
        Ok(Box::new(move || Box::new(OpenaiConversation(self))))
    }

    fn references(&self, _: &ChoiceRequest) -> Vec<ChoiceRequest> {
        vec![]
    }

    fn parse_choice(&self, request: &ChoiceRequest, answer: &str, _: &[String]) -> Result<ParsedChoice> {
        reply::parse_choice(request, answer)
    }

    fn completion_text(&self, answer: &str) -> Result<String> {
        reply::completion_text(answer)
    }

    fn answer_failure(&self, request: &str, answer: &str) -> Result<Option<FailedCall>> {
        reply::answer_failure(request, answer)
    }

    fn count_tokens(&self, _: &str, answer: &str) -> Result<Option<super::TokenUsage>> {
        reply::count_tokens(answer)
    }

    fn spending(&self) -> Result<Option<String>> {
        let spent = self.budget.spent()?;
        let unknown = match spent.unknown {
            0 => String::new(),
            count => format!(", {count} of them of unknown outcome and counted at their worst"),
        };
        let cost = self.config.prices.map(|_| format!(" and {:.6} USD", spent.usd())).unwrap_or_default();
        let Tokens { prompt, completion } = spent.tokens;
        Ok(Some(format!("{} calls, {prompt} + {completion} tokens{cost} in all runs{unknown}", spent.calls)))
    }

    fn embedder(&self) -> Option<&dyn Embedder> {
        self.config.embedding_model.as_ref().map(|_| self as &dyn Embedder)
    }
}

impl Embedder for OpenaiLlm {
    fn space(&self) -> String {
        let (server, model) = (Value::from(self.wire.server.as_str()), json!(self.config.embedding_model));
        format!(r#"{{"provider":"openai","form":{FORM},"server":{server},"embedding_model":{model}}}"#)
    }

    fn embed(&self, texts: &[String]) -> Result<Embeddings> {
        let mut all = Embeddings::default();
        for texts in texts.chunks(TEXTS) {
            ensure!(texts.iter().all(|text| !text.is_empty()), "an empty text has no embedding");
            let body = json!({ "model": self.config.embedding_model, "input": texts, "encoding_format": "float" });
            let bytes: usize = texts.iter().map(String::len).sum();
            let worst = Tokens { prompt: bound(bytes, texts.len()), completion: 0 };
            let parse = |text: &str| vectors(text, texts.len());
            let (vectors, usage) = self.ask("embeddings", &body, worst, EMBEDDINGS, &parse)?;
            all.vectors.extend(vectors);
            all.tokens += usage.map_or(0, |usage| Tokens::from(usage).sum());
        }
        Ok(all)
    }
}

/// A server keeps nothing between two requests, so all conversations are alike.
struct OpenaiConversation<'a>(&'a OpenaiLlm);

impl Conversation for OpenaiConversation<'_> {
    fn choose(&mut self, request: &ChoiceRequest) -> Result<Answer> {
        let options = request.options.len();
        ensure!(options > 0, "no option to choose from");
        let letters = self.0.config.logprobs;
        ensure!(
            !letters || options <= LETTERS,
            "{options} options: with `logprobs` at most {LETTERS} can be told apart"
        );
        let lettered = letters.then_some(&request.options[..]);
        let answer = self.0.chat(&self.0.choice(request), self.0.config.max_tokens, lettered)?;
        given(&request.canonical(), answer)
    }

    fn complete(&mut self, request: &CompletionRequest) -> Result<Answer> {
        given(&request.canonical(), self.0.chat(&self.0.text(request), request.max_tokens, None)?)
    }
}

/// What came, if it is an answer.
fn given(request: &str, answer: Answer) -> Result<Answer> {
    match reply::answer_failure(request, &answer.text)? {
        None => Ok(answer),
        Some(failed) => Err(FailedCall { status: Some(200), ..failed }.into()),
    }
}

/// The most tokens that texts can be: no tokenizer makes more of them than bytes, and what a chat template adds to each text
/// is short.
fn bound(bytes: usize, texts: usize) -> u64 {
    (bytes + 32 * (texts + 1)) as u64
}

/// The most bytes that are read of a completion of so many tokens.
fn most(max_tokens: u32) -> u64 {
    (COMPLETION + TOKEN * u64::from(max_tokens)).min(LONGEST)
}

impl OpenaiLlm {
    /// `lettered`: the options of a choice by letters.
    fn chat(&self, body: &Value, max_tokens: u32, lettered: Option<&[String]>) -> Result<Answer> {
        let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let bytes = messages.iter().filter_map(|message| message["content"].as_str()).map(str::len).sum();
        let worst = Tokens { prompt: bound(bytes, messages.len()), completion: max_tokens.into() };
        let parse = |text: &str| completion(text, lettered);
        let (raw, usage): (Raw, _) = self.ask("chat/completions", body, worst, most(max_tokens), &parse)?;
        let tokens = usage.map_or(0, |usage| Tokens::from(usage).sum());
        Ok(Answer { text: serde_json::to_string(&raw)?, tokens })
    }

    /// Asks until there is an answer or none can be hoped for. `worst` is the most that a try can come to.
    fn ask<T>(
        &self,
        path: &str,
        body: &Value,
        worst: Tokens,
        limit: u64,
        parse: &dyn Fn(&str) -> Result<T>,
    ) -> Result<(T, Option<Usage>)> {
        // Four bytes are a token in most texts.
        let guessed = worst.prompt / 4 + worst.completion;
        let rest = |pause| self.rest.take(pause);
        let attempt = || {
            let now = self.start.elapsed();
            let turn = self.pace.take(now, guessed);
            rest(turn.saturating_sub(now)).map_err(Trouble::Final)?;
            let ticket = self.budget.reserve(worst, &self.rest.cancel).map_err(Trouble::Final)?;
            let Outcome { answer, bill } = self.wire.post(&self.config, path, body, limit, parse);
            let usage = match bill {
                Bill::Answered(usage) => {
                    self.pace.correct(guessed, usage.map_or(guessed, |usage| Tokens::from(usage).sum()));
                    ticket.answered(usage.map(Tokens::from)).map_err(Trouble::Final)?;
                    usage
                }
                Bill::Nothing => {
                    ticket.refused().map_err(Trouble::Final)?;
                    None
                }
                Bill::Unknown => None,
            };
            answer.map(|answer| (answer, usage))
        };
        persist(self.config.retries, &rest, attempt)
    }

    fn choice(&self, request: &ChoiceRequest) -> Value {
        let labels = if self.config.logprobs { Labels::Letters } else { Labels::Numbers };
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
        self.config.spoken(body)
    }

    fn text(&self, request: &CompletionRequest) -> Value {
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
        self.config.spoken(body)
    }
}
