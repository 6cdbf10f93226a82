//! Batches in the ledger: reserved as a whole before they are submitted, known by the server's id, and taken in.
//!
//! A batch without an id was interrupted between its reservation and the record of its creation; the server's list of batches
//! tells which. A batch counts at its highest cost until it is taken in.

use anyhow::Result;

use super::open_batch::{BatchReserved, OpenBatch};
use super::spending::{Spending, TokenCount};
use super::{Budget, Line};

/// What a budget leaves of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Reserved {
    /// The position of the reservation, and how many of the requests it holds, from the first one.
    Some { of: u64, requests: usize },
    /// Not one of them; why, with a help line.
    None(String),
}

impl Budget {
    /// Reserves the highest cost of as many of the requests as the limits allow; `worst` are those of each.
    pub fn reserve_batch(&self, submission: &str, server: &str, worst: &[TokenCount]) -> Result<Reserved> {
        let (mut exceeded, mut requests) = (None, 0);
        let of = self.lock().update(&self.limits, |spent| {
            let mut after = *spent;
            let mut reserved = BatchReserved {
                submission: submission.to_owned(),
                server: server.to_owned(),
                requests: 0,
                tokens: TokenCount::default(),
                nano_usd: None,
            };
            for &tokens in worst {
                let cost = self.limits.batch_cost(tokens);
                exceeded = self.limits.exceeded(&after, cost.unwrap_or(0));
                if exceeded.is_some() {
                    break;
                }
                after.add(1, tokens, cost.unwrap_or(0));
                reserved.requests += 1;
                reserved.tokens = reserved.tokens + tokens;
                reserved.nano_usd = cost.map(|cost| reserved.nano_usd.unwrap_or(0).saturating_add(cost));
            }
            requests = reserved.requests as usize;
            (requests > 0)
                .then(|| serde_json::to_vec(&Line::Batch(reserved)).expect("a record is texts and numbers only"))
        })?;
        Ok(match of {
            Some(of) => Reserved::Some { of, requests },
            None => Reserved::None(exceeded.unwrap_or_default()),
        })
    }

    /// All batches that are not taken in, the oldest first.
    pub fn open_batches(&self) -> Result<Vec<OpenBatch>> {
        let mut state = self.lock();
        state.update(&self.limits, |_| None)?;
        Ok(state.open.batches.values().cloned().collect())
    }

    /// The server created the batch.
    pub fn batch_created(&self, of: u64, id: &str) -> Result<()> {
        self.settle(&Line::BatchCreated { of, id: id.to_owned() })
    }

    /// The batch was not submitted, or the server rejected it.
    pub fn batch_refused(&self, of: u64) -> Result<()> {
        self.settle(&Line::Refused { of })
    }

    /// The batch is taken in: so many of its requests count as calls of so many tokens.
    pub fn batch_taken(&self, of: u64, calls: u64, tokens: TokenCount, nano_usd: Option<u64>) -> Result<()> {
        self.settle(&Line::BatchTaken { of, calls, tokens, nano_usd })
    }

    /// The cost of a request of a batch, where prices are known.
    pub fn batch_cost(&self, tokens: TokenCount) -> Option<u64> {
        self.limits.batch_cost(tokens)
    }
}

impl OpenBatch {
    /// Its highest cost in US dollars.
    pub fn usd(&self) -> f64 {
        Spending { nano_usd: self.reserved.nano_usd.unwrap_or(0), ..Spending::default() }.usd()
    }
}

#[cfg(test)]
mod tests {
    use crate::llm::openai::budget::Limits;
    use std::path::Path;

    use super::super::Prices;
    use super::*;

    const HALF: Prices = Prices { input: 0.5, output: 5.0 };

    fn budget(folder: &Path, limits: Limits) -> Budget {
        let prices = Some(Prices { input: 1.0, output: 10.0 });
        Budget::open(&folder.join("ledger"), Limits { prices, ..limits }).unwrap()
    }

    fn reserved(budget: &Budget, requests: usize) -> (u64, usize) {
        let worst = vec![TokenCount { prompt: 1000, completion: 100 }; requests];
        match budget.reserve_batch("s", "http://host", &worst).unwrap() {
            Reserved::Some { of, requests } => (of, requests),
            Reserved::None(why) => panic!("{why}"),
        }
    }

    #[test]
    fn a_batch_counts_at_its_worst_until_it_is_taken_in_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { batch_prices: Some(HALF), ..Limits::default() };
        let first = budget(folder.path(), limits);
        let (of, requests) = reserved(&first, 3);
        assert_eq!(requests, 3);
        let spent = first.spent().unwrap();
        assert_eq!((spent.calls, spent.in_batches, spent.unknown, spent.nano_usd), (3, 3, 0, 3_000_000), "half prices");
        let other = budget(folder.path(), limits);
        let open = other.open_batches().unwrap();
        assert_eq!((open.len(), open[0].of, &open[0].id, open[0].usd()), (1, of, &None, 0.003));
        first.batch_created(of, "batch_1").unwrap();
        assert_eq!(other.open_batches().unwrap()[0].id.as_deref(), Some("batch_1"));
        let tokens = TokenCount { prompt: 700, completion: 4 };
        for budget in [&first, &other] {
            budget.batch_taken(of, 2, tokens, budget.batch_cost(tokens)).unwrap();
        }
        let spent = budget(folder.path(), Limits::default()).spent().unwrap();
        assert_eq!((spent.calls, spent.in_batches, spent.nano_usd, spent.tokens), (2, 0, 370_000, tokens));
        let (of, _) = reserved(&first, 5);
        first.batch_refused(of).unwrap();
        assert_eq!((first.spent().unwrap(), other.open_batches().unwrap()), (spent, vec![]));
    }

    #[test]
    fn limits_hold_for_the_requests_of_a_batch_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { max_calls: Some(4), budget_usd: Some(0.0055), ..Limits::default() };
        let first = budget(folder.path(), limits);
        assert_eq!(reserved(&first, 3).1, 2, "of two thousandths of a dollar each");
        let worst = [TokenCount { prompt: 1000, completion: 100 }];
        let Reserved::None(why) = first.reserve_batch("t", "http://host", &worst).unwrap() else {
            panic!("over budget")
        };
        assert!(
            why.starts_with(
                "`budget_usd: 0.0055` is used up: the stage's runs spent 0.004000 USD in 2 calls (2 of them in batches that are not \
                 taken in, counted at the highest possible cost), and the next one may cost 0.002000 USD\nhelp: raise"
            ),
            "{why}"
        );
        let calls = budget(folder.path(), Limits { budget_usd: None, ..limits });
        assert_eq!(reserved(&calls, 9).1, 2, "`max_calls: 4`");
    }
}
