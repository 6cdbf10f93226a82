//! Work that asks a language model in rounds: all of it up to its next request without an answer, then one batch, then again.
//!
//! Work is a function of the answers, so beginning again is a replay from the store. Where the provider answers at once there is
//! one round.

use std::sync::PoisonError;

use anyhow::{Result, bail};
use pipeline::{Context, Interrupted};
use rayon::prelude::*;

use super::Answer;
use super::batch::{AwaitsBatch, BatchExchange, BatchOutcome, BatchRequest, BatchRound};
use super::batch_failures::FailureLog;
use super::llm_cache::{CachedLlm, MAX_FAILED, all_failed};

impl CachedLlm<'_> {
    /// Does `work` for all `items` in parallel, and gives the results in their order.
    ///
    /// In batch mode, work that needs an answer which is not there fails with an `AwaitsBatch`, which it must return. All such
    /// requests are answered together; then the work that waited is done again from its beginning, from the stored answers. Work
    /// that is done is not repeated. `work` must therefore be a function of the answers, and must neither count nor stop other
    /// work because of an `AwaitsBatch`. Requests that do not depend on each other are asked by [`super::ask_each`], so that one
    /// batch holds all of them.
    ///
    /// # Errors
    /// The first error of the work in the order of `items`, or that of the exchange with the provider.
    pub fn ask_all<I: Sync, T: Send>(
        &self,
        items: &[I],
        cx: &Context,
        work: impl Fn(&I) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let batches = self.llm.batches();
        if let Some(batches) = batches {
            self.batch.set_pause(false);
            let mut failures = self.batch.failures.lock().unwrap_or_else(PoisonError::into_inner);
            if failures.is_none() {
                *failures = Some(FailureLog::open(cx.scratch(), batches.max_retries())?);
            }
        }
        let pool = self.pool()?;
        let mut results: Vec<Option<T>> = items.iter().map(|_| None).collect();
        loop {
            let open: Vec<usize> = (0..items.len()).filter(|&index| results[index].is_none()).collect();
            let all = || open.par_iter().with_max_len(1).map(|&index| work(&items[index])).collect::<Vec<_>>();
            let round = pool.as_ref().map_or_else(all, |pool| pool.install(all));
            let mut waits = false;
            for (index, result) in open.into_iter().zip(round) {
                match result {
                    Ok(result) => results[index] = Some(result),
                    Err(error) if batches.is_some() && AwaitsBatch::is(&error) => waits = true,
                    Err(error) => {
                        self.batch.set_pause(error.chain().any(|cause| cause.is::<Interrupted>()));
                        return Err(error);
                    }
                }
            }
            match batches {
                Some(batches) if waits => self.exchange(batches, cx)?,
                _ => return Ok(results.into_iter().flatten().collect()),
            }
        }
    }

    /// Submits the pending requests and takes in what is answered.
    fn exchange(&self, batches: &dyn BatchExchange, cx: &Context) -> Result<()> {
        let pending = std::mem::take(&mut *self.batch.pending.lock().unwrap_or_else(PoisonError::into_inner));
        let pending: Vec<BatchRequest> =
            pending.into_iter().map(|(key, request)| BatchRequest { key, request }).collect();
        let (mut failed, mut reason) = (0, String::new());
        let mut take = |request: &BatchRequest, outcome: BatchOutcome| {
            let (failure, last) = match outcome {
                BatchOutcome::Answered(answer) => return self.take_in(request, &answer),
                BatchOutcome::Failed(failure) => (failure, true),
                BatchOutcome::Unanswered(failure) => (failure, false),
            };
            if last {
                failed += 1;
                reason.clone_from(&failure.reason);
            }
            self.batch.add_failure(&request.key, failure, last)
        };
        let is_answered = |request: &BatchRequest| Ok(self.cached(&request.key, &request.request)?.1.is_some());
        let round = BatchRound { pending: &pending, values: &self.values, is_answered: &is_answered, cx };
        if let Err(error) = batches.exchange(round, &mut take) {
            self.batch.set_pause(true);
            return Err(error);
        }
        let counters = self.counters();
        if failed >= MAX_FAILED && counters.asked + counters.served == 0 {
            bail!(all_failed(failed, &reason));
        }
        Ok(())
    }

    /// Stores an answer, unless there is one.
    fn take_in(&self, request: &BatchRequest, answer: &Answer) -> Result<()> {
        let (place, None) = self.cached(&request.key, &request.request)? else { return Ok(()) };
        self.values.put_new(&place, answer.text.as_bytes())?;
        self.batch.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(request.key.clone());
        self.count_asked(answer.tokens);
        Ok(())
    }
}
