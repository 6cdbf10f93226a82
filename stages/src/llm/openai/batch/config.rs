//! The settings of batches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::budget::Prices;

/// `llm: { openai: { batch: … } }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// Whether the run ends when its requests are submitted, with code 10. Each further run takes in what is answered and submits
    /// what follows. By default the run waits.
    #[serde(default)]
    pub detach: bool,
    /// How often a waiting run looks for answers, in seconds.
    #[serde(default = "BatchConfig::poll_seconds")]
    pub poll_seconds: f64,
    /// The time within which the provider answers, in its own words. OpenAI accepts `24h` only.
    #[serde(default = "BatchConfig::completion_window")]
    pub completion_window: String,
    /// The largest number of requests of a batch; more requests are several batches. A provider may accept fewer of a large model.
    #[serde(default = "BatchConfig::max_requests")]
    pub max_requests: usize,
    /// Prices of tokens in batches, in US dollars per million; by default `prices`, which is more than most providers bill.
    #[serde(default)]
    pub prices: Option<Prices>,
    /// Whether the run cancels the batches in flight, takes in what they answered, and ends. A batch that the server does not know
    /// is given up, and counts at its highest cost.
    #[serde(default)]
    pub cancel: bool,
}

impl BatchConfig {
    fn poll_seconds() -> f64 {
        60.0
    }
    fn completion_window() -> String {
        "24h".into()
    }
    /// OpenAI's limit.
    fn max_requests() -> usize {
        50_000
    }

    /// The first invalid setting: its path and a message; `prices` are those outside of batches.
    pub fn check(&self, prices: Option<Prices>) -> Result<(), (&'static str, &'static str)> {
        if !(self.poll_seconds > 0.0 && self.poll_seconds <= 86_400.0) {
            return Err(("poll_seconds", "more than 0 and at most 86400 seconds"));
        }
        if self.completion_window.trim().is_empty() {
            return Err(("completion_window", "a time as the provider writes it, such as `24h`"));
        }
        if self.max_requests == 0 {
            return Err(("max_requests", "at least one request"));
        }
        match self.prices {
            Some(own) if !own.is_valid() => Err(("prices", "US dollars per million tokens, 0 or more")),
            Some(_) if prices.is_none() => Err(("prices", "`llm.openai.prices` beside them, those outside of batches")),
            _ => Ok(()),
        }
    }
}
