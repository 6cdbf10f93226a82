//! The calls and cost of a stage over all its runs, and their limits.
//!
//! Before a request is sent, its highest possible cost is recorded in the ledger; when the outcome is known, the outcome. The
//! limits therefore hold at any kill: a request without an outcome counts as one call at its highest cost, because the
//! server may have answered and billed it. A rejection (any status but 200) costs nothing and is no call.
//!
//! Money is counted in whole billionths of a dollar, so sums are exact. Batches are in [`batches`].

mod batches;
mod open_batch;
mod spending;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use pipeline::checkpointing::{Ledger, Record};
use pipeline::{BudgetExhausted, Cancel, Interrupted};
use serde::{Deserialize, Serialize};

pub(super) use batches::Reserved;
pub(super) use open_batch::{BatchReserved, OpenBatch};
pub use spending::Prices;
pub(super) use spending::{Limits, Spending, TokenCount};

/// How often a waiting request checks for cancellation.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// One line of the ledger, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// A request is about to be sent; its highest possible cost.
    Reserved { tokens: TokenCount, nano_usd: Option<u64> },
    /// Its actual cost; `of` is the position of its reservation.
    Answered { of: u64, tokens: TokenCount, nano_usd: Option<u64> },
    /// It cost nothing.
    Refused { of: u64 },
    /// A batch is about to be submitted; its highest possible cost.
    Batch(BatchReserved),
    /// The server knows it by this id.
    BatchCreated { of: u64, id: String },
    /// It is taken in; its actual cost.
    BatchTaken { of: u64, calls: u64, tokens: TokenCount, nano_usd: Option<u64> },
}

/// The ledger of a stage with its limits, shared by all threads.
pub(super) struct Budget {
    limits: Limits,
    state: Mutex<State>,
    /// Notified when an outcome is known.
    outcome_known: Condvar,
}

struct State {
    ledger: Ledger,
    /// Requests with an outcome, of all processes.
    done: Spending,
    /// Reservations without an outcome, of all processes.
    open: Open,
    /// Requests of this process in flight.
    in_flight: usize,
}

/// Reservations without an outcome, by their position.
#[derive(Default)]
struct Open {
    requests: BTreeMap<u64, (TokenCount, Option<u64>)>,
    batches: BTreeMap<u64, OpenBatch>,
}

/// A request that may be sent. Dropped without an outcome, it stays in the ledger as one with an unknown outcome.
pub(super) struct Reservation<'a> {
    budget: &'a Budget,
    of: u64,
    worst: TokenCount,
}

impl Budget {
    pub fn open(ledger: &Path, limits: Limits) -> Result<Self> {
        let ledger = Ledger::open(ledger)?;
        let mut state = State { ledger, done: Spending::default(), open: Open::default(), in_flight: 0 };
        state.update(&limits, |_| None)?;
        Ok(Self { limits, state: Mutex::new(state), outcome_known: Condvar::new() })
    }

    /// Reserves the highest cost of a request; waits while requests in flight hold the rest of the budget.
    ///
    /// # Errors
    /// [`BudgetExhausted`] where too little is left, [`Interrupted`] when it is cancelled while it waits.
    pub fn reserve(&self, worst: TokenCount, cancel: &Cancel) -> Result<Reservation<'_>> {
        let nano_usd = self.limits.prices.map(|prices| prices.nano_usd(worst));
        let line = serde_json::to_vec(&Line::Reserved { tokens: worst, nano_usd })?;
        let mut state = self.lock();
        loop {
            let mut exceeded = None;
            let of = state.update(&self.limits, |spent| {
                exceeded = self.limits.exceeded(spent, nano_usd.unwrap_or(0));
                exceeded.is_none().then_some(line.clone())
            })?;
            if let Some(of) = of {
                state.in_flight += 1;
                return Ok(Reservation { budget: self, of, worst });
            }
            if cancel.is_raised() {
                return Err(Interrupted.into());
            }
            if state.in_flight == 0 {
                return Err(BudgetExhausted(exceeded.unwrap_or_default()).into());
            }
            state = self.outcome_known.wait_timeout(state, CANCEL_POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// All calls and their cost, including those of other processes.
    pub fn spent(&self) -> Result<Spending> {
        let mut state = self.lock();
        state.update(&self.limits, |_| None)?;
        Ok(state.spent(&self.limits))
    }

    fn settle(&self, line: &Line) -> Result<()> {
        let line = serde_json::to_vec(line)?;
        self.lock().update(&self.limits, |_| Some(line)).map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation<'_> {
    /// The request was answered; where the server reports no usage, the highest cost counts.
    pub fn answered(self, tokens: Option<TokenCount>) -> Result<()> {
        let tokens = tokens.unwrap_or(self.worst);
        let nano_usd = self.budget.limits.prices.map(|prices| prices.nano_usd(tokens));
        self.budget.settle(&Line::Answered { of: self.of, tokens, nano_usd })
    }

    /// The request was rejected, or never sent.
    pub fn refused(self) -> Result<()> {
        self.budget.settle(&Line::Refused { of: self.of })
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.budget.lock().in_flight -= 1;
        self.budget.outcome_known.notify_all();
    }
}

impl State {
    /// Reads new records of the ledger, and appends the record that `decide` returns for their sum.
    fn update(&mut self, limits: &Limits, decide: impl FnOnce(&Spending) -> Option<Vec<u8>>) -> Result<Option<u64>> {
        let Self { ledger, done, open, .. } = self;
        let mut unread = Ok(());
        let position = ledger.turn(|new| {
            unread = new.iter().try_for_each(|record| apply(record, limits, done, open));
            if unread.is_ok() { decide(&sum(done, open, limits)) } else { None }
        })?;
        unread?;
        Ok(position)
    }

    fn spent(&self, limits: &Limits) -> Spending {
        sum(&self.done, &self.open, limits)
    }
}

fn apply(record: &Record, limits: &Limits, done: &mut Spending, open: &mut Open) -> Result<()> {
    let line: Line = serde_json::from_slice(&record.payload)
        .with_context(|| format!("the ledger's record at byte {} is none of this program", record.position))?;
    match line {
        Line::Reserved { tokens, nano_usd } => {
            open.requests.insert(record.position, (tokens, nano_usd));
        }
        Line::Refused { of } => {
            open.requests.remove(&of);
            open.batches.remove(&of);
        }
        Line::Answered { of, tokens, nano_usd } => {
            if open.requests.remove(&of).is_some() {
                done.add(1, tokens, limits.cost(tokens, nano_usd));
            }
        }
        Line::Batch(reserved) => {
            open.batches.insert(record.position, OpenBatch { of: record.position, reserved, id: None });
        }
        Line::BatchCreated { of, id } => {
            if let Some(batch) = open.batches.get_mut(&of) {
                batch.id.get_or_insert(id);
            }
        }
        Line::BatchTaken { of, calls, tokens, nano_usd } => {
            // Of two runs that take it in at once, one counts.
            if open.batches.remove(&of).is_some() {
                done.add(calls, tokens, nano_usd.or_else(|| limits.batch_cost(tokens)).unwrap_or(0));
            }
        }
    }
    Ok(())
}

fn sum(done: &Spending, open: &Open, limits: &Limits) -> Spending {
    let mut spent = *done;
    for &(tokens, nano_usd) in open.requests.values() {
        spent.add(1, tokens, limits.cost(tokens, nano_usd));
        spent.unknown += 1;
    }
    for OpenBatch { reserved, .. } in open.batches.values() {
        let cost = reserved.nano_usd.or_else(|| limits.batch_cost(reserved.tokens));
        spent.add(reserved.requests, reserved.tokens, cost.unwrap_or(0));
        spent.in_batches = spent.in_batches.saturating_add(reserved.requests);
    }
    spent
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICES: Prices = Prices { input: 1.0, output: 10.0 };

    fn tokens(prompt: u64, completion: u64) -> TokenCount {
        TokenCount { prompt, completion }
    }

    fn budget(folder: &Path, limits: Limits) -> Budget {
        Budget::open(&folder.join("ledger"), limits).unwrap()
    }

    fn stopped(budget: &Budget, worst: TokenCount) -> String {
        let error = budget.reserve(worst, &Cancel::default()).err().unwrap();
        assert!(error.is::<BudgetExhausted>(), "{error:#}");
        error.to_string()
    }

    #[test]
    fn prices_by_hand() {
        assert_eq!(PRICES.nano_usd(tokens(1000, 100)), 2_000_000, "0.001 + 0.001 dollars");
        assert_eq!(Prices { input: 0.0001, output: 0.0 }.nano_usd(tokens(1, 0)), 1, "rounded up");
        assert_eq!(PRICES.nano_usd(tokens(u64::MAX, u64::MAX)), u64::MAX);
    }

    #[test]
    fn outcomes_replace_worst_cases_and_outlive_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { prices: Some(PRICES), ..Limits::default() };
        let first = budget(folder.path(), limits);
        let cancel = Cancel::default();
        let ask = || first.reserve(tokens(1000, 100), &cancel).unwrap();
        ask().answered(Some(tokens(400, 2))).unwrap();
        ask().refused().unwrap();
        ask().answered(None).unwrap();
        drop(ask());
        let spent = Spending { calls: 3, unknown: 1, in_batches: 0, tokens: tokens(2400, 202), nano_usd: 4_420_000 };
        assert_eq!(first.spent().unwrap(), spent);
        assert_eq!(budget(folder.path(), limits).spent().unwrap(), spent);
        let raised = Limits { prices: Some(Prices { input: 9.0, output: 9.0 }), ..limits };
        assert_eq!(budget(folder.path(), raised).spent().unwrap(), spent, "recorded costs stay");
    }

    #[test]
    fn without_prices_tokens_are_kept_and_priced_later() {
        let folder = tempfile::tempdir().unwrap();
        let free = budget(folder.path(), Limits::default());
        free.reserve(tokens(9, 9), &Cancel::default()).unwrap().answered(Some(tokens(1000, 100))).unwrap();
        assert_eq!(free.spent().unwrap().nano_usd, 0);
        let limits = Limits { prices: Some(PRICES), ..Limits::default() };
        assert_eq!(budget(folder.path(), limits).spent().unwrap().nano_usd, 2_000_000);
    }

    #[test]
    fn nothing_goes_over_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let cancel = Cancel::default();
        let two = budget(folder.path(), Limits { max_calls: Some(2), ..Limits::default() });
        for _ in 0..2 {
            two.reserve(tokens(10, 1), &cancel).unwrap().answered(Some(tokens(10, 1))).unwrap();
        }
        let message = stopped(&two, tokens(10, 1));
        assert!(
            message.starts_with("`max_calls: 2` is used up: the stage's runs made 2 calls\nhelp: raise `max_calls`"),
            "{message}"
        );
        let limits = Limits { budget_usd: Some(0.003), prices: Some(PRICES), ..Limits::default() };
        let priced = budget(folder.path(), limits);
        // Two calls of 20 microdollars are known.
        drop(priced.reserve(tokens(1000, 100), &cancel).unwrap());
        let message = stopped(&priced, tokens(1000, 0));
        assert!(
            message.starts_with(
                "`budget_usd: 0.003` is used up: the stage's runs spent 0.002040 USD in 3 calls (1 of them with unknown outcome, \
                 counted at the highest possible cost), and the next one may cost 0.001000 USD\nhelp: raise `budget_usd`"
            ),
            "{message}"
        );
        assert!(priced.reserve(tokens(960, 0), &cancel).is_ok(), "to the last billionth");
    }

    #[test]
    fn threads_wait_for_what_requests_under_way_may_give_back() {
        let folder = tempfile::tempdir().unwrap();
        let budget = budget(folder.path(), Limits { max_calls: Some(10), ..Limits::default() });
        let cancel = Cancel::default();
        // Every other request is refused and gives its place back.
        let ask = |number: usize| -> Result<usize> {
            let reservation = budget.reserve(tokens(1, 1), &cancel)?;
            std::thread::yield_now();
            if number.is_multiple_of(2) {
                reservation.refused().map(|()| 0)
            } else {
                reservation.answered(None).map(|()| 1)
            }
        };
        let answered: usize = std::thread::scope(|scope| {
            let work = || (0..10).map(|number| ask(number).unwrap_or(0)).sum::<usize>();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!((answered, budget.spent().unwrap().calls), (10, 10), "rejected requests release their reservation");
    }

    #[test]
    fn a_waiting_thread_can_be_cancelled() {
        let folder = tempfile::tempdir().unwrap();
        let budget = budget(folder.path(), Limits { max_calls: Some(1), ..Limits::default() });
        let cancel = Cancel::default();
        let held = budget.reserve(tokens(1, 1), &cancel).unwrap();
        cancel.raise();
        assert!(budget.reserve(tokens(1, 1), &cancel).err().unwrap().is::<Interrupted>());
        drop(held);
    }
}
