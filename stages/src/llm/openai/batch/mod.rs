//! Requests as batches: one file of requests, submitted, looked at, and taken in when it is done.
//!
//! # What survives a kill
//! 1. The highest cost of a batch is reserved in the ledger, under a name of ours, the *submission*.
//! 2. Its requests are kept in the store under that name.
//! 3. The file is uploaded, and the batch created with the submission in its metadata.
//! 4. The server's id of the batch is recorded.
//! 5. When it is done, every answer is stored.
//! 6. The actual cost is recorded.
//!
//! After a kill before 2 nothing was sent, and the reservation is released. Between 2 and 4 the list of the server's batches tells
//! whether 3 happened; if not, the same submission is sent again. After a kill between 5 and 6 the answers are read again, and the
//! first ones stay. One process at a time submits ([`submit`]); any may take in.
//!
//! A request in a batch that was not taken in is not submitted again, whichever run of the stage submitted it.

mod api;
mod cancel;
mod config;
#[cfg(test)]
mod fault_tests;
mod in_flight;
mod intake;
mod lines;
mod progress;
mod request;
mod submit;
#[cfg(test)]
mod tests;

use std::time::Duration;

use anyhow::{Result, bail};
use pipeline::{Submitted, Unreachable};

use super::super::{BatchExchange, BatchRound, TakeOutcome};
use super::OpenaiLlm;
use super::budget::OpenBatch;
use api::BatchApi;
pub use config::BatchConfig;
use in_flight::InFlight;
use progress::{Progress, words};

/// The help line of a batch that cannot be taken in.
const GIVE_UP: &str = "\nhelp: check that `base_url` and the key are those that submitted it; one run with `batch: { cancel: true }` \
                       gives it up, and its requests can be submitted again";

/// So many looks in a row may find the server away.
const MAX_SILENT: u32 = 10;

/// What a look at all batches found.
#[derive(Default)]
struct Look {
    in_flight: Vec<InFlight>,
    /// How many were taken in.
    taken: usize,
    /// Why the stage cannot go on: the server rejects a batch or its requests, or somebody cancelled it.
    stop: Option<anyhow::Error>,
}

impl BatchExchange for OpenaiLlm {
    fn exchange(&self, round: BatchRound<'_>, take: &mut TakeOutcome<'_>) -> Result<()> {
        let Some(settings) = &self.config.batch else { bail!("no batch was asked for") };
        if settings.cancel {
            return self.cancel_batches(settings, round, take);
        }
        let mut progress = Progress::new(round.cx);
        let mut look = self.look(round, take)?;
        if look.taken == 0 {
            self.submit(round, &mut look.in_flight)?;
        }
        let mut silent = 0;
        loop {
            progress.show(&look.in_flight);
            if let Some(stop) = look.stop {
                return Err(stop);
            }
            // Nothing is in flight where another run took in what this one waited for.
            if look.taken > 0 || look.in_flight.is_empty() {
                return Ok(());
            }
            self.end_if_detached(settings, &look.in_flight)?;
            self.sleep.wait(Duration::try_from_secs_f64(settings.poll_seconds)?)?;
            let new = match self.look(round, take) {
                // A wait of hours outlasts a connection that is lost for a while.
                Err(error) if error.is::<Unreachable>() && silent < MAX_SILENT => {
                    silent += 1;
                    continue;
                }
                new => new?,
            };
            silent = 0;
            let remains = |(open, _): &InFlight| new.in_flight.iter().any(|(other, _)| other.of == open.of);
            if new.stop.is_none() && !look.in_flight.iter().all(remains) {
                return Ok(());
            }
            look = new;
        }
    }

    fn max_retries(&self) -> u32 {
        self.config.max_retries
    }
}

impl OpenaiLlm {
    fn api(&self) -> BatchApi<'_> {
        BatchApi { http: &self.http, config: &self.config, sleep: &self.sleep }
    }

    /// The batches of this server that are not taken in.
    fn open_here(&self) -> Result<Vec<OpenBatch>> {
        let open = self.budget.open_batches()?;
        Ok(open.into_iter().filter(|batch| batch.reserved.server == self.http.server).collect())
    }

    /// Looks at every batch that has an id, and takes in what is done.
    fn look(&self, round: BatchRound<'_>, take: &mut TakeOutcome<'_>) -> Result<Look> {
        let mut look = Look::default();
        for open in self.open_here()? {
            let Some(id) = &open.id else { continue };
            let Some(batch) = self.api().batch(id)? else {
                bail!("{} does not know the batch `{id}`, which was submitted to it{GIVE_UP}", self.http.server);
            };
            if batch.is_final() {
                let stop = self.take_in(&open, &batch, round, take)?;
                look.taken += 1;
                look.stop = look.stop.or(stop);
            } else {
                look.in_flight.push((open, batch));
            }
        }
        Ok(look)
    }

    /// Ends a run that does not wait.
    fn end_if_detached(&self, settings: &BatchConfig, in_flight: &[InFlight]) -> Result<()> {
        if !settings.detach {
            return Ok(());
        }
        let words = words(&self.http.server, in_flight);
        Err(Submitted(format!(
            "{words}\nhelp: run the same command again: it takes in what is answered by then, and goes on"
        ))
        .into())
    }
}
