//! The settings of a model behind a server, and the checks that their types cannot express.

use pipeline::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ureq::http::Uri;

use super::super::Workload;
use super::batch::BatchConfig;
use super::budget::{Limits, Prices, TokenCount};
use super::dialect::{MaxTokensField, Parameter, SystemRole};

/// `llm: { openai: … }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenaiConfig {
    /// The address of the API, including its version (`/v1` on most servers).
    #[serde(default = "OpenaiConfig::base_url")]
    pub base_url: String,
    /// The model's name on the server.
    pub model: String,
    /// The name of an embedding model on the server. With it, a name that the actor writes is matched by its embedding where no
    /// title resembles it; without it, by its characters only. Its tokens are billed at the input price.
    #[serde(default)]
    pub embedding_model: Option<String>,
    /// The API key as `${env:NAME}`, the environment variable that holds it; `null` for a server that needs none.
    #[serde(default = "OpenaiConfig::api_key")]
    pub api_key: Option<Secret>,
    /// The largest number of concurrent requests.
    #[serde(default = "OpenaiConfig::max_concurrent_requests")]
    pub max_concurrent_requests: usize,
    /// The largest number of requests per minute, evenly spaced; without a value there is no limit.
    #[serde(default)]
    pub requests_per_minute: Option<f64>,
    /// The largest number of prompt and completion tokens per minute; without a value there is no limit.
    #[serde(default)]
    pub tokens_per_minute: Option<f64>,
    /// The timeout of a request in seconds, up to the last byte of its answer.
    #[serde(default = "OpenaiConfig::timeout_seconds")]
    pub timeout_seconds: f64,
    /// How often a request is retried after a timeout, a broken connection, a 429, a 5xx or a malformed response.
    #[serde(default = "OpenaiConfig::max_retries")]
    pub max_retries: u32,
    /// The longest answer to a choice, in tokens. A reasoning model needs hundreds; with fewer it gives no answer.
    #[serde(default = "OpenaiConfig::max_tokens")]
    pub max_tokens: u32,
    /// The sampling temperature of a choice; 0 for the most probable answer.
    #[serde(default)]
    pub temperature: f64,
    /// Whether to choose by the log-probabilities of the options' letters at the place where the reply names one. They are then
    /// the scores of the demonstrations. Where the highest two are equal, no option is chosen and the call counts as failed. If
    /// the server returns no log-probabilities, the reply decides; if it rejects the parameter, set `false`.
    #[serde(default)]
    pub logprobs: bool,
    /// The name of the parameter that limits an answer; OpenAI's reasoning models accept only `max_completion_tokens`.
    #[serde(default)]
    pub max_tokens_field: MaxTokensField,
    /// The role of the message with the instructions; `user` for models without a system role.
    #[serde(default)]
    pub system_role: SystemRole,
    /// Parameters that are not sent because the server rejects them; its own defaults apply. Without `max_tokens` a server may
    /// generate, and bill, more tokens than the budget reserves for a request.
    #[serde(default)]
    pub leave_out: Vec<Parameter>,
    /// Prices of tokens, in US dollars per million.
    #[serde(default)]
    pub prices: Option<Prices>,
    /// The most US dollars that the stage may spend over all its runs and cells; needs `prices`. At the limit the run ends with
    /// code 5.
    #[serde(default)]
    pub budget_usd: Option<f64>,
    /// The most calls that the stage may make over all its runs and cells. At the limit the run ends with code 5.
    #[serde(default)]
    pub max_calls: Option<u64>,
    /// Asks by the provider's batch API, which answers within hours and is usually cheaper. Embeddings are not asked by it. No answer
    /// depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchConfig>,
}

impl OpenaiConfig {
    fn base_url() -> String {
        "https://api.openai.com/v1".into()
    }
    fn api_key() -> Option<Secret> {
        Some(Secret::of("OPENAI_API_KEY"))
    }
    fn max_concurrent_requests() -> usize {
        4
    }
    fn timeout_seconds() -> f64 {
        60.0
    }
    fn max_retries() -> u32 {
        4
    }
    fn max_tokens() -> u32 {
        8
    }

    /// The server's scheme, host, port and path without a `/` at the end, and the host alone.
    pub(super) fn server(&self) -> Option<(String, String)> {
        let uri: Uri = self.base_url.parse().ok()?;
        let scheme = uri.scheme_str().filter(|scheme| ["http", "https"].contains(scheme))?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        if uri.query().is_some() {
            return None;
        }
        let path = uri.path().trim_end_matches('/');
        Some((format!("{scheme}://{authority}{path}"), authority.host().to_owned()))
    }

    pub(super) fn limits(&self) -> Limits {
        let batch_prices = self.batch.as_ref().and_then(|batch| batch.prices);
        Limits { max_calls: self.max_calls, budget_usd: self.budget_usd, prices: self.prices, batch_prices }
    }

    /// The estimated calls, tokens and cost of a workload.
    pub(in super::super) fn estimate(&self, work: &Workload) -> String {
        let calls = work.choices.saturating_add(work.texts);
        let chosen = work.choices.saturating_mul(self.max_tokens.into());
        let tokens = TokenCount { prompt: work.prompt_tokens, completion: work.text_tokens.saturating_add(chosen) };
        let mut words = format!("about {calls} calls, {} tokens", tokens.sum());
        let batch_prices = self.batch.as_ref().and_then(|batch| batch.prices);
        if let Some(prices) = batch_prices.or(self.prices) {
            let usd = prices.nano_usd(tokens) as f64 / 1e9;
            words +=
                &format!(", {usd:.4} USD{}", if batch_prices.is_some() { " at the prices of batches" } else { "" });
            if let Some(budget) = self.budget_usd.filter(|&budget| usd > budget) {
                words += &format!(", more than `budget_usd: {budget}`");
            }
        }
        if let Some(max) = self.max_calls.filter(|&max| calls > max) {
            words += &format!(", more than `max_calls: {max}`");
        }
        words
    }

    /// The first invalid setting: its path and a message.
    pub(in super::super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        let positive = |value: Option<f64>| value.is_none_or(|value| value > 0.0 && value.is_finite());
        if self.server().is_none() {
            return wrong(
                "base_url",
                "an address such as `https://api.openai.com/v1`, without a user, a password or a `?` in it",
            );
        }
        if self.model.trim().is_empty() {
            return wrong("model", "the model's name on the server");
        }
        if self.embedding_model.as_ref().is_some_and(|model| model.trim().is_empty()) {
            return wrong("embedding_model", "the model's name on the server, or nothing");
        }
        if !(1..=256).contains(&self.max_concurrent_requests) {
            return wrong("max_concurrent_requests", "1 to 256 concurrent requests");
        }
        if !positive(self.requests_per_minute) {
            return wrong("requests_per_minute", "more than 0 requests, or nothing for no limit");
        }
        if !positive(self.tokens_per_minute) {
            return wrong("tokens_per_minute", "more than 0 tokens, or nothing for no limit");
        }
        if !(self.timeout_seconds > 0.0 && self.timeout_seconds <= 3600.0) {
            return wrong("timeout_seconds", "more than 0 and at most 3600 seconds");
        }
        if self.max_tokens == 0 {
            return wrong("max_tokens", "at least one token");
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            return wrong("temperature", "0 to 2");
        }
        if !self.prices.is_none_or(Prices::is_valid) {
            return wrong("prices", "US dollars per million tokens, 0 or more");
        }
        if let Some(batch) = &self.batch {
            batch.check(self.prices).map_err(|(path, message)| (format!("batch.{path}"), message.to_owned()))?;
        }
        match self.budget_usd {
            Some(budget) if !(budget >= 0.0 && budget.is_finite()) => wrong("budget_usd", "US dollars, 0 or more"),
            Some(_) if self.prices.is_none() => wrong(
                "budget_usd",
                "`prices` beside it, such as `{ input: 0.15, output: 0.6 }`: US dollars per million tokens",
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_config_is_checked() {
        let parsed: OpenaiConfig = serde_json::from_value(json!({ "model": "m" })).unwrap();
        assert_eq!((parsed.base_url.as_str(), parsed.check()), ("https://api.openai.com/v1", Ok(())));
        assert_eq!(parsed.api_key, Some(Secret::of("OPENAI_API_KEY")));
        let prices = Some(Prices { input: 1.0, output: 2.0 });
        let priced = OpenaiConfig { prices, budget_usd: Some(0.0), max_calls: Some(0), ..parsed.clone() };
        assert_eq!(priced.check(), Ok(()));
        for (invalid, path) in [
            (OpenaiConfig { base_url: "api.openai.com".into(), ..parsed.clone() }, "base_url"),
            (OpenaiConfig { base_url: "https://me:secret@host/v1".into(), ..parsed.clone() }, "base_url"),
            (OpenaiConfig { model: " ".into(), ..parsed.clone() }, "model"),
            (OpenaiConfig { embedding_model: Some(String::new()), ..parsed.clone() }, "embedding_model"),
            (OpenaiConfig { max_concurrent_requests: 0, ..parsed.clone() }, "max_concurrent_requests"),
            (OpenaiConfig { requests_per_minute: Some(0.0), ..parsed.clone() }, "requests_per_minute"),
            (OpenaiConfig { tokens_per_minute: Some(f64::INFINITY), ..parsed.clone() }, "tokens_per_minute"),
            (OpenaiConfig { timeout_seconds: f64::NAN, ..parsed.clone() }, "timeout_seconds"),
            (OpenaiConfig { max_tokens: 0, ..parsed.clone() }, "max_tokens"),
            (OpenaiConfig { temperature: 3.0, ..parsed.clone() }, "temperature"),
            (OpenaiConfig { prices: Some(Prices { input: -1.0, output: 0.0 }), ..parsed.clone() }, "prices"),
            (OpenaiConfig { budget_usd: Some(1.0), ..parsed.clone() }, "budget_usd"),
            (OpenaiConfig { prices, budget_usd: Some(f64::NAN), ..parsed.clone() }, "budget_usd"),
            (
                OpenaiConfig { batch: Some(BatchConfig { max_requests: 0, ..batch() }), ..parsed.clone() },
                "batch.max_requests",
            ),
            (OpenaiConfig { batch: Some(BatchConfig { prices, ..batch() }), ..parsed.clone() }, "batch.prices"),
        ] {
            assert_eq!(invalid.check().unwrap_err().0, path);
        }
    }

    fn batch() -> BatchConfig {
        serde_json::from_str("{}").unwrap()
    }

    #[test]
    fn an_estimate_says_what_it_would_break() {
        let free: OpenaiConfig = serde_json::from_value(json!({ "model": "m" })).unwrap();
        let work = Workload { choices: 5, texts: 5, prompt_tokens: 900, text_tokens: 60 };
        assert_eq!(free.estimate(&work), "about 10 calls, 1000 tokens");
        let prices = Some(Prices { input: 1.0, output: 10.0 });
        let priced = OpenaiConfig { prices, budget_usd: Some(0.001), max_calls: Some(9), ..free };
        assert_eq!(
            priced.estimate(&work),
            "about 10 calls, 1000 tokens, 0.0019 USD, more than `budget_usd: 0.001`, more than `max_calls: 9`"
        );
        let prices = Some(Prices { input: 0.4, output: 5.0 });
        let batched = OpenaiConfig { batch: Some(BatchConfig { prices, ..batch() }), budget_usd: None, ..priced };
        assert!(
            batched
                .estimate(&work)
                .starts_with("about 10 calls, 1000 tokens, 0.0009 USD at the prices of batches, more")
        );
    }
}
