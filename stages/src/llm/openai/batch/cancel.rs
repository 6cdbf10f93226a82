//! Cancels the batches in flight, and takes in what they answered.

use std::time::Duration;

use anyhow::{Result, anyhow};
use pipeline::Context;
use pipeline::checkpointing::ValueStore;

use super::super::super::{BatchRound, TakeOutcome};
use super::super::OpenaiLlm;
use super::super::budget::OpenBatch;
use super::config::BatchConfig;
use super::progress::Progress;
use super::submit::submitted;

impl OpenaiLlm {
    /// Cancels all batches of this server, takes in what they answered, and ends the stage.
    pub(super) fn cancel_batches(
        &self,
        settings: &BatchConfig,
        round: BatchRound<'_>,
        take: &mut TakeOutcome<'_>,
    ) -> Result<()> {
        let lock = self.submission_lock()?;
        let batches = self.open_here()?;
        let count = batches.len();
        for open in batches {
            self.cancel_one(open, round.values, round.cx)?;
        }
        drop(lock);
        let mut progress = Progress::new(round.cx);
        loop {
            let look = self.look(round, take)?;
            progress.show(&look.in_flight);
            if look.in_flight.is_empty() {
                break;
            }
            self.end_if_detached(settings, &look.in_flight)?;
            self.sleep.wait(Duration::try_from_secs_f64(settings.poll_seconds)?)?;
        }
        Err(anyhow!(
            "no batch is in flight at {} any more: {count} were cancelled, and what they answered is taken in\nhelp: set `cancel: false` to \
             submit the other requests",
            self.http.server
        ))
    }

    /// Cancels a batch, or gives it up where it cannot be taken in.
    fn cancel_one(&self, open: OpenBatch, values: &ValueStore, cx: &Context) -> Result<()> {
        let Some(requests) = submitted(values, &open.reserved.submission)? else {
            return match &open.id {
                // The requests are kept before anything is sent.
                None => self.budget.batch_refused(open.of),
                Some(id) => {
                    self.api().cancel(id)?;
                    self.give_up(&open, "its requests are no longer in the store", cx)
                }
            };
        };
        let id = match &open.id {
            Some(id) => id.clone(),
            None => match self.api().find(&open.reserved.submission)? {
                Some(batch) => {
                    self.budget.batch_created(open.of, &batch.id)?;
                    batch.id
                }
                None => return self.budget.batch_refused(open.of),
            },
        };
        let known = match self.api().batch(&id)? {
            Some(batch) if batch.is_final() || batch.status == "cancelling" => true,
            Some(_) => self.api().cancel(&id)?.is_some(),
            None => false,
        };
        if known {
            Ok(())
        } else {
            self.give_up(&open, &format!("the server does not know it, of {} requests", requests.len()), cx)
        }
    }

    /// Counts a batch at its highest cost, and forgets it.
    fn give_up(&self, open: &OpenBatch, why: &str, cx: &Context) -> Result<()> {
        let id = open.id.as_deref().unwrap_or("without an id");
        cx.note("given up", format!("the batch {id}: {why}; it counts at its highest cost"));
        let reserved = &open.reserved;
        self.budget.batch_taken(open.of, reserved.requests, reserved.tokens, reserved.nano_usd)
    }
}
