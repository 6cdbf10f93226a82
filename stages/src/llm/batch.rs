//! Requests that are answered together, later: the batch API of a provider.
//!
//! No thread waits for an answer. A request without a stored answer is noted, and the work that asked it ends for now with
//! [`AwaitsBatch`]. When all work has ended, the noted requests are one batch, and the work begins again from the stored answers
//! ([`super::CachedLlm::ask_all`]).

use std::fmt;

use anyhow::Result;
use pipeline::Context;
use pipeline::checkpointing::ValueStore;

use super::{Answer, FailedCall};

/// A request that waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRequest {
    /// The key of its answer.
    pub key: String,
    /// The canonical request.
    pub request: String,
}

/// What a batch brought for a request.
#[derive(Debug)]
pub enum BatchOutcome {
    /// An answer.
    Answered(Answer),
    /// The request failed; the same request would fail again.
    Failed(FailedCall),
    /// It was not answered this time; another batch may answer it.
    Unanswered(FailedCall),
}

/// Receives what a batch brought, request by request.
pub type TakeOutcome<'a> = dyn FnMut(&BatchRequest, BatchOutcome) -> Result<()> + 'a;

/// What a round of batches is about.
#[derive(Clone, Copy)]
pub struct BatchRound<'a> {
    /// The requests that the work waits for.
    pub pending: &'a [BatchRequest],
    /// The store, which also keeps the submitted requests.
    pub values: &'a ValueStore,
    /// Whether the store has an answer by now; another run may have taken it in.
    pub is_answered: &'a dyn Fn(&BatchRequest) -> Result<bool>,
    /// The stage.
    pub cx: &'a Context,
}

/// The batch API of a provider.
pub trait BatchExchange: Sync {
    /// Takes in the batches that are done, and submits the pending requests that no batch holds. Returns once an answer may be there.
    /// `take` gets each outcome at least once, in this run or in another, however often the program is killed.
    ///
    /// # Errors
    /// [`pipeline::Submitted`] where batches are in flight and the settings say not to wait; [`pipeline::BudgetExhausted`],
    /// [`pipeline::Unreachable`], [`pipeline::Interrupted`]; any other when the provider rejects the batch.
    fn exchange(&self, round: BatchRound<'_>, take: &mut TakeOutcome<'_>) -> Result<()>;

    /// In how many batches a request may stay unanswered after the first one.
    fn max_retries(&self) -> u32;
}

/// The error of work that waits for a batch. [`super::CachedLlm::ask_all`] handles it; work that asks on returns it.
#[derive(Debug)]
pub(crate) struct AwaitsBatch;

impl AwaitsBatch {
    /// Whether `error` is one, under any context.
    pub fn is(error: &anyhow::Error) -> bool {
        error.chain().any(|cause| cause.is::<Self>())
    }
}

impl fmt::Display for AwaitsBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the request waits for a batch, and this stage asks without batches\nhelp: leave out `llm.openai.batch`",
        )
    }
}

impl std::error::Error for AwaitsBatch {}

/// All results, evaluated in order. A result that waits for a batch does not keep the next ones from being asked; any other error
/// does.
///
/// # Errors
/// The first error that is not [`AwaitsBatch`], else an [`AwaitsBatch`].
pub(crate) fn ask_each<T>(results: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let (mut all, mut waits) = (Vec::new(), None);
    for result in results {
        match result {
            Ok(value) => all.push(value),
            Err(error) if AwaitsBatch::is(&error) => waits = Some(error),
            Err(error) => return Err(error),
        }
    }
    waits.map_or(Ok(all), Err)
}
