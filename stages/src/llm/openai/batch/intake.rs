//! Takes in a batch that is done: every answer is stored before the actual cost is recorded.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail};
use pipeline::Context;

use super::super::super::{BatchOutcome, BatchRequest, BatchRound, FailedCall, TakeOutcome};
use super::super::budget::{OpenBatch, TokenCount};
use super::super::{OpenaiLlm, max_bytes};
use super::GIVE_UP;
use super::api::Batch;
use super::request::{LineResult, ResultLine, SubmittedRequest};
use super::submit::submitted;

/// Bytes of a line around the body of an answer.
const LINE_BYTES: u64 = 16 << 10;

/// What the files of a batch say.
#[derive(Default)]
struct Results {
    /// What each request is billed for, by its place in the batch.
    billed: BTreeMap<usize, Option<TokenCount>>,
    failures: Vec<(usize, BatchOutcome)>,
    stop: Option<anyhow::Error>,
    /// Lines that are no result, name no request of the batch, or one for the second time.
    strange: [usize; 3],
    /// What could not be read.
    unread: Vec<String>,
}

impl OpenaiLlm {
    /// Takes in a batch that is done; why the stage cannot go on, where it cannot.
    pub(super) fn take_in(
        &self,
        open: &OpenBatch,
        batch: &Batch,
        round: BatchRound<'_>,
        take: &mut TakeOutcome<'_>,
    ) -> Result<Option<anyhow::Error>> {
        let source = format!("the batch `{}` at {}", batch.id, self.http.server);
        let Some(requests) = submitted(round.values, &open.reserved.submission)? else {
            bail!("the requests of {source} are no longer in the store{GIVE_UP}");
        };
        let mut results = Results::default();
        for file in [&batch.output_file_id, &batch.error_file_id].into_iter().flatten() {
            self.read_results(file, &source, &requests, &mut results, take)?;
        }
        results.warn(&source, round.cx);
        let Results { mut billed, failures, stop, .. } = results;
        for (index, outcome) in failures {
            take(&as_pending(&requests[index]), outcome)?;
        }
        // A completed batch may have billed what it does not tell.
        let (completed, ended) = (batch.status == "completed", batch.status == "cancelled" || batch.status == "failed");
        for (index, request) in
            requests.iter().enumerate().filter(|(index, _)| !billed.contains_key(index)).collect::<Vec<_>>()
        {
            billed.insert(index, completed.then_some(request.worst));
            if !ended {
                let reason = format!("{source} is {} without an answer to the request", batch.status);
                take(
                    &as_pending(request),
                    BatchOutcome::Unanswered(FailedCall { status: None, reason, raw: String::new() }),
                )?;
            }
        }
        let tokens: Vec<TokenCount> = billed.values().copied().flatten().collect();
        let cost =
            tokens.iter().try_fold(0_u64, |sum, &tokens| Some(sum.saturating_add(self.budget.batch_cost(tokens)?)));
        let sum = tokens.iter().fold(TokenCount::default(), |sum, &tokens| sum + tokens);
        self.budget.batch_taken(open.of, tokens.len() as u64, sum, cost)?;
        let answered = tokens.len();
        let stop = stop.map(|error| error.context(format!("{source} rejects requests")));
        Ok(stop.or_else(|| match batch.status.as_str() {
            "failed" => Some(anyhow!(
                "{source} failed as a whole: {}\nhelp: nothing was billed; fix what the server reports and run again, where a batch is too \
                 large with a smaller `max_requests`",
                batch.errors()
            )),
            "cancelled" => Some(anyhow!(
                "{source} was cancelled; {answered} of its {} requests were answered and are taken in\nhelp: run again to submit the \
                 others",
                requests.len()
            )),
            _ => None,
        }))
    }

    /// Reads a file of results. Answers are stored as they are read.
    fn read_results(
        &self,
        file: &str,
        source: &str,
        requests: &[SubmittedRequest],
        all: &mut Results,
        take: &mut TakeOutcome<'_>,
    ) -> Result<()> {
        let places: BTreeMap<&str, usize> =
            requests.iter().enumerate().map(|(index, request)| (request.key.as_str(), index)).collect();
        let bytes = |request: &SubmittedRequest| max_bytes(request.max_tokens) + LINE_BYTES;
        let longest = requests.iter().map(bytes).max().unwrap_or(0);
        let limit = requests.iter().map(bytes).sum();
        let mut read = Results::default();
        let unread = self.api().lines(file, limit, longest as usize, &mut |line| {
            let Some(line) = line else {
                read = Results::default();
                return Ok(());
            };
            let Some(line) = ResultLine::parse(line) else {
                read.strange[0] += 1;
                return Ok(());
            };
            let Some(&index) = places.get(line.custom_id.as_str()) else {
                read.strange[1] += 1;
                return Ok(());
            };
            if all.billed.contains_key(&index) || read.billed.contains_key(&index) {
                read.strange[2] += 1;
                return Ok(());
            }
            let LineResult { outcome, billed } = requests[index].result(&self.config, source, line);
            read.billed.insert(index, billed);
            match outcome {
                Ok(answered @ BatchOutcome::Answered(_)) => take(&as_pending(&requests[index]), answered)?,
                Ok(failure) => read.failures.push((index, failure)),
                Err(error) => drop(read.stop.get_or_insert(error)),
            }
            Ok(())
        })?;
        all.billed.append(&mut read.billed);
        all.failures.append(&mut read.failures);
        all.stop = all.stop.take().or(read.stop);
        all.strange.iter_mut().zip(read.strange).for_each(|(all, new)| *all += new);
        all.unread.extend(unread);
        Ok(())
    }
}

impl Results {
    /// Warns of what a server should not write.
    fn warn(&self, source: &str, cx: &Context) {
        let kinds =
            ["are no result of a request", "name no request of the batch", "name a request for the second time"];
        let strange = self.strange.iter().zip(kinds).filter(|(count, _)| **count > 0);
        let mut words: Vec<String> = strange.map(|(count, kind)| format!("{count} lines {kind}")).collect();
        words.extend(self.unread.iter().cloned());
        if !words.is_empty() {
            cx.warn(format!("of the results of {source}, {}; they are left out", words.join(", ")));
        }
    }
}

fn as_pending(request: &SubmittedRequest) -> BatchRequest {
    BatchRequest { key: request.key.clone(), request: request.request.clone() }
}
