//! Submits pending requests, at most once each.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use pipeline::BudgetExhausted;
use pipeline::checkpointing::ValueStore;

use super::super::super::{BatchRequest, BatchRound};
use super::super::OpenaiLlm;
use super::super::budget::{OpenBatch, Reserved, TokenCount};
use super::GIVE_UP;
use super::api::Batch;
use super::in_flight::InFlight;
use super::request::SubmittedRequest;

/// The most bytes of a file: OpenAI accepts 200 MB.
const MAX_FILE_BYTES: usize = 190 << 20;
/// How often a run that waits for the lock looks again.
const LOCK_POLL: Duration = Duration::from_millis(200);

/// The name of a submission's requests in the store.
pub(super) fn place(submission: &str) -> String {
    format!("requests of batch {submission}")
}

/// The requests of a submission; none where they are not in the store.
pub(super) fn submitted(values: &ValueStore, submission: &str) -> Result<Option<Vec<SubmittedRequest>>> {
    let Some(bytes) = values.get(&place(submission))? else { return Ok(None) };
    let wrong = || format!("the stored requests of the batch {submission} cannot be read");
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).with_context(wrong)).collect::<Result<_>>().map(Some)
}

impl OpenaiLlm {
    /// Submits the requests that no batch holds, as far as the budget allows, and adds the new batches to those `in_flight`.
    ///
    /// # Errors
    /// [`BudgetExhausted`] where it allows none, and no batch is in flight whose actual cost may be lower than its reservation.
    pub(super) fn submit(&self, round: BatchRound<'_>, in_flight: &mut Vec<InFlight>) -> Result<()> {
        let BatchRound { pending, values, is_answered, .. } = round;
        let _lock = self.submission_lock()?;
        in_flight.extend(self.recover(values)?);
        let mut held = BTreeSet::new();
        for open in self.open_here()? {
            let Some(requests) = submitted(values, &open.reserved.submission)? else {
                anyhow::bail!("the requests of a batch at {} are no longer in the store{GIVE_UP}", self.http.server);
            };
            held.extend(requests.into_iter().map(|request| request.key));
        }
        // What another run took in meanwhile is stored, because answers are stored before a batch counts as taken in.
        let mut rest = Vec::new();
        for request in pending.iter().filter(|request| !held.contains(&request.key)) {
            if !is_answered(request)? {
                rest.push(request);
            }
        }
        while !rest.is_empty() {
            let (submitted, lines) = self.prepared(&rest)?;
            let worst: Vec<TokenCount> = submitted.iter().map(|request| request.worst).collect();
            let submission = new_submission();
            let (of, count) = match self.budget.reserve_batch(&submission, &self.http.server, &worst)? {
                Reserved::Some { of, requests } => (of, requests),
                Reserved::None(_) if !in_flight.is_empty() => break,
                Reserved::None(why) => return Err(BudgetExhausted(why).into()),
            };
            let mut list = Vec::new();
            for request in &submitted[..count] {
                serde_json::to_writer(&mut list, request)?;
                list.write_all(b"\n")?;
            }
            values.put_new(&place(&submission), &list)?;
            let batch = self.upload_and_create(of, &submission, &lines[..count])?;
            let open = self.open_here()?.into_iter().find(|open| open.of == of);
            in_flight.extend(open.map(|open| (open, batch)));
            rest.drain(..count);
        }
        Ok(())
    }

    /// The first of `rest` as they are kept, and their lines: as many as a batch holds.
    fn prepared(&self, rest: &[&BatchRequest]) -> Result<(Vec<SubmittedRequest>, Vec<String>)> {
        let most = self.config.batch.as_ref().map_or(1, |batch| batch.max_requests);
        let (mut submitted, mut lines, mut bytes) = (Vec::new(), Vec::new(), 0);
        for request in rest.iter().take(most) {
            let chat = self.chat_request(&request.request)?;
            let kept = SubmittedRequest::new(request, &chat);
            let line = kept.line(chat);
            bytes += line.len();
            if bytes > MAX_FILE_BYTES && !lines.is_empty() {
                break;
            }
            submitted.push(kept);
            lines.push(line);
        }
        Ok((submitted, lines))
    }

    /// Sends a submission whose reservation and requests are kept. A rejection releases the reservation; after an unknown outcome it
    /// stays, and the next run looks for the batch.
    fn upload_and_create(&self, of: u64, submission: &str, lines: &[String]) -> Result<Batch> {
        let created = self.api().upload(submission, lines.concat().as_bytes());
        let created = created.and_then(|file| self.api().create(submission, &file));
        match created {
            Ok(batch) => {
                self.budget.batch_created(of, &batch.id)?;
                Ok(batch)
            }
            Err(error) => {
                if !is_pause(&error) {
                    self.budget.batch_refused(of)?;
                }
                Err(error.context("a batch could not be submitted"))
            }
        }
    }

    /// Completes the submissions that a kill interrupted: the batches that are in flight then. The caller holds the lock, so nobody
    /// else is at work on them.
    fn recover(&self, values: &ValueStore) -> Result<Vec<InFlight>> {
        let mut recovered = Vec::new();
        for open in self.open_here()?.into_iter().filter(|open| open.id.is_none()) {
            let submission = open.reserved.submission.clone();
            let Some(requests) = submitted(values, &submission)? else {
                // They are kept before anything is sent.
                self.budget.batch_refused(open.of)?;
                continue;
            };
            let batch = match self.api().find(&submission)? {
                Some(batch) => {
                    self.budget.batch_created(open.of, &batch.id)?;
                    batch
                }
                None => {
                    let line = |kept: &SubmittedRequest| Ok(kept.line(self.chat_request(&kept.request)?));
                    let lines: Vec<String> = requests.iter().map(line).collect::<Result<_>>()?;
                    self.upload_and_create(open.of, &submission, &lines)?
                }
            };
            recovered.push((OpenBatch { id: Some(batch.id.clone()), ..open }, batch));
        }
        Ok(recovered)
    }

    /// The lock under which this stage submits; the system releases it when the process ends. Another run may hold it for the time
    /// of an upload.
    pub(super) fn submission_lock(&self) -> Result<File> {
        let mut folder = self.ledger.clone().into_os_string();
        folder.push(".locks");
        fs::create_dir_all(&folder).context("make the folder of the lock of batches")?;
        let path = std::path::Path::new(&folder).join("batches");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => self.sleep.wait(LOCK_POLL)?,
                // Where there are no locks the engine has warned.
                Err(TryLockError::Error(_)) => return Ok(file),
            }
        }
    }
}

/// Whether the outcome of a submission is unknown, or it was not refused for good.
fn is_pause(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<pipeline::Unreachable>() || cause.is::<pipeline::Interrupted>())
}

/// A name that no other submission has.
#[expect(
    clippy::disallowed_methods,
    reason = "the name reaches neither a key nor an object, and must differ between machines and runs"
)]
fn new_submission() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let parts = (now, std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    blake3::hash(format!("{parts:?}").as_bytes()).to_hex()[..32].to_owned()
}
