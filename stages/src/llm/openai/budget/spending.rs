//! What calls cost, cost at most, and may cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Billionths.
const NANO: f64 = 1e9;

/// Prices of tokens, in US dollars per million.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// A million prompt tokens.
    pub input: f64,
    /// A million completion tokens.
    pub output: f64,
}

impl Prices {
    /// Whether both are amounts of money.
    pub(in super::super) fn is_valid(self) -> bool {
        [self.input, self.output].iter().all(|price| *price >= 0.0 && price.is_finite())
    }

    /// The cost of tokens in billionths of a dollar, rounded up.
    pub(in super::super) fn nano_usd(self, tokens: TokenCount) -> u64 {
        let per_token = NANO / 1e6;
        (per_token * (tokens.prompt as f64 * self.input + tokens.completion as f64 * self.output)).ceil() as u64
    }
}

/// Prompt and completion tokens, as they stand in the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) struct TokenCount {
    pub prompt: u64,
    pub completion: u64,
}

impl TokenCount {
    pub fn sum(self) -> u64 {
        self.prompt.saturating_add(self.completion)
    }
}

/// Calls and their cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Spending {
    /// Requests that were answered, and those with an unknown outcome.
    pub calls: u64,
    /// Requests with an unknown outcome, counted at their highest cost.
    pub unknown: u64,
    /// Requests of batches that are not taken in, counted at their highest cost.
    pub in_batches: u64,
    pub tokens: TokenCount,
    pub nano_usd: u64,
}

impl Spending {
    pub(super) fn add(&mut self, calls: u64, tokens: TokenCount, nano_usd: u64) {
        self.calls = self.calls.saturating_add(calls);
        self.tokens.prompt = self.tokens.prompt.saturating_add(tokens.prompt);
        self.tokens.completion = self.tokens.completion.saturating_add(tokens.completion);
        self.nano_usd = self.nano_usd.saturating_add(nano_usd);
    }

    /// How many calls are counted at the highest possible cost, and why; none where all are known.
    pub fn uncertain(&self) -> Option<String> {
        let unknown = (self.unknown > 0).then(|| format!("{} of them with unknown outcome", self.unknown));
        let batches =
            (self.in_batches > 0).then(|| format!("{} of them in batches that are not taken in", self.in_batches));
        let words: Vec<String> = [unknown, batches].into_iter().flatten().collect();
        (!words.is_empty()).then(|| format!("{}, counted at the highest possible cost", words.join(" and ")))
    }

    pub fn usd(&self) -> f64 {
        self.nano_usd as f64 / NANO
    }
}

/// Limits of calls and cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in super::super) struct Limits {
    pub max_calls: Option<u64>,
    pub budget_usd: Option<f64>,
    pub prices: Option<Prices>,
    /// Those of batches, where they differ.
    pub batch_prices: Option<Prices>,
}

impl Limits {
    /// The cost of tokens: as recorded, else at the current prices.
    pub(super) fn cost(&self, tokens: TokenCount, written: Option<u64>) -> u64 {
        written.or_else(|| self.prices.map(|prices| prices.nano_usd(tokens))).unwrap_or(0)
    }

    /// Why a request that may cost `next` exceeds a limit, with a help line.
    pub(super) fn exceeded(&self, spent: &Spending, next: u64) -> Option<String> {
        let unknown = spent.uncertain().map_or_else(String::new, |words| format!(" ({words})"));
        let rerun = "and run again; answered calls are stored and cost nothing";
        if let Some(max) = self.max_calls.filter(|&max| spent.calls >= max) {
            return Some(format!(
                "`max_calls: {max}` is used up: the stage's runs made {} calls{unknown}\nhelp: raise `max_calls`, {rerun}",
                spent.calls
            ));
        }
        let budget = self.budget_usd?;
        let left = (budget * NANO).floor() as u64;
        (spent.nano_usd.saturating_add(next) > left).then(|| {
            format!(
                "`budget_usd: {budget}` is used up: the stage's runs spent {:.6} USD in {} calls{unknown}, and the next one may cost \
                 {:.6} USD\nhelp: raise `budget_usd`, {rerun}",
                spent.usd(),
                spent.calls,
                next as f64 / NANO
            )
        })
    }
}

impl Limits {
    pub(in super::super) fn batch_cost(&self, tokens: TokenCount) -> Option<u64> {
        self.batch_prices.or(self.prices).map(|prices| prices.nano_usd(tokens))
    }
}

impl std::ops::Add for TokenCount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            prompt: self.prompt.saturating_add(other.prompt),
            completion: self.completion.saturating_add(other.completion),
        }
    }
}
