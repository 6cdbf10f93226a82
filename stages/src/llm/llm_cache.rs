//! A language model behind the call store: a request is answered from the store, or sent and stored before its answer is used.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use pipeline::Context;
use pipeline::checkpointing::ValueStore;
use pipeline::progress::Bar;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::batch_state::BatchState;
use super::{
    Answer, ChoiceRequest, CompletionRequest, Conversation, Embedder, FailedCall, Llm, ParsedChoice, cached_embeddings,
    key,
};
use crate::artifact::{Call, Failure};

/// After this many failed calls without an answer, the stage gives up.
pub(super) const MAX_FAILED: u64 = 5;

/// A language model with the store of its answers.
pub(crate) struct CachedLlm<'a> {
    pub(super) llm: &'a dyn Llm,
    /// An embedder of this process, in the place of the provider's.
    embedder: Option<&'a dyn Embedder>,
    identity: String,
    pub(super) values: ValueStore,
    /// Requests that wait for a batch.
    pub(super) batch: BatchState,
    /// Answers in use, by key. One answer per key: where two episodes send the same request at once, the first stored answer counts
    /// for both, else a resumed run could read another answer than this one.
    known: Mutex<BTreeMap<String, Arc<Call>>>,
    /// Keys of requests in flight, so that two episodes do not send one request twice.
    asking: Mutex<BTreeSet<String>>,
    /// Notified when one of them is done.
    asked_one: Condvar,
    asked: AtomicU64,
    failed: AtomicU64,
    served: AtomicU64,
    tokens: AtomicU64,
}

/// Counters of the calls so far; none of them may enter an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UsageCounters {
    /// Requests that the model answered.
    pub asked: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Distinct requests answered from the store.
    pub served: u64,
    /// Tokens of new calls.
    pub tokens: u64,
}

impl<'a> CachedLlm<'a> {
    pub fn new(llm: &'a dyn Llm, values: ValueStore) -> Self {
        let (batch, known, asking, asked_one, asked, failed, served, tokens) = Default::default();
        let identity = llm.identity();
        Self { llm, embedder: None, identity, values, batch, known, asking, asked_one, asked, failed, served, tokens }
    }

    /// The same with an embedder of this process, where there is one.
    pub fn embedding_with(self, embedder: Option<&'a dyn Embedder>) -> Self {
        Self { embedder, ..self }
    }

    /// The parsed choice, and its call followed by the reference calls that the parsing needed. A failed call chooses nothing.
    pub fn choose(
        &self,
        conversation: &mut dyn Conversation,
        request: &ChoiceRequest,
    ) -> Result<(ParsedChoice, Vec<Arc<Call>>)> {
        let mut calls = vec![self.answer(conversation, request)?];
        for reference in self.llm.references(request) {
            calls.push(self.answer(conversation, &reference)?);
        }
        if calls.iter().any(|call| call.failure.is_some()) {
            return Ok((ParsedChoice { index: None, scores: vec![] }, calls));
        }
        let references: Vec<String> = calls[1..].iter().map(|call| call.answer.clone()).collect();
        let reading = self.llm.parse_choice(request, &calls[0].answer, &references);
        Ok((reading.with_context(|| format!("cannot read the answer of call {}", calls[0].key))?, calls))
    }

    /// The log-probability of each option where the answer determines them, and the call. The scores that rank options for a
    /// recommendation play no part.
    pub fn option_logprobs(
        &self,
        conversation: &mut dyn Conversation,
        request: &ChoiceRequest,
    ) -> Result<(Option<Vec<f64>>, Arc<Call>)> {
        let call = self.answer(conversation, request)?;
        if call.failure.is_some() {
            return Ok((None, call));
        }
        let logprobs = self.llm.option_logprobs(request, &call.answer);
        Ok((logprobs.with_context(|| format!("cannot read the answer of call {}", call.key))?, call))
    }

    /// The generated text and its call. A failed call gives an empty text.
    pub fn write(
        &self,
        conversation: &mut dyn Conversation,
        writing: &CompletionRequest,
    ) -> Result<(String, Arc<Call>)> {
        let call = self.cached_or_new(&writing.canonical(), || conversation.complete(writing))?;
        if call.failure.is_some() {
            return Ok((String::new(), call));
        }
        let text = self.llm.completion_text(&call.answer);
        Ok((text.with_context(|| format!("cannot read the answer of call {}", call.key))?, call))
    }

    /// The embeddings of texts, where there is an embedder or the provider has an embedding model; each text is embedded once.
    pub fn vectors(&self, texts: &[String]) -> Result<Option<Vec<Vec<f32>>>> {
        let Some(embedder) = self.embedder.or_else(|| self.llm.embedder()) else { return Ok(None) };
        // As for requests: a text of two episodes is embedded once. An embedder of this process shares its threads with the episodes,
        // where a wait can deadlock; its vectors cost nothing and are equal.
        let _guard = self.embedder.is_none().then(|| self.lock_key(&format!("vectors of {texts:?}")));
        let found = cached_embeddings(embedder, &self.values, texts)?;
        self.tokens.fetch_add(found.tokens, Ordering::Relaxed);
        Ok(Some(found.vectors))
    }

    fn answer(&self, conversation: &mut dyn Conversation, request: &ChoiceRequest) -> Result<Arc<Call>> {
        self.cached_or_new(&request.canonical(), || conversation.choose(request))
    }

    fn cached_or_new(&self, canonical: &str, ask: impl FnOnce() -> Result<Answer>) -> Result<Arc<Call>> {
        let key = key(&self.identity, canonical);
        // A provider without a limit of its own (a recording) runs on rayon's shared threads, where a wait can deadlock. Its answers
        // cost nothing, so no lock is needed.
        let _guard = self.llm.max_concurrency().map(|_| self.lock_key(&key));
        if let Some(call) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(call.clone());
        }
        let mut failure = None;
        let (place, cached) = self.cached(&key, canonical)?;
        let (answer, new_tokens) = match cached {
            Some(cached) => (cached, None),
            None => match self.new_answer(&key, canonical, ask) {
                Ok(new) => (new.text, Some(new.tokens)),
                Err(error) => {
                    let FailedCall { status, reason, raw } = error.downcast()?;
                    let failed = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
                    self.check_any_answered(failed, &reason)?;
                    failure = Some(Failure { status, reason });
                    (raw, None)
                }
            },
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(call) = known.get(&key) {
            return Ok(call.clone());
        }
        let answer = match (&failure, new_tokens) {
            // Not stored: the next run repeats the call.
            (Some(_), _) => answer,
            (None, None) => {
                self.served.fetch_add(u64::from(!self.batch.is_taken(&key)), Ordering::Relaxed);
                answer
            }
            (None, Some(tokens)) => {
                self.count_asked(tokens);
                // Another run may have stored an answer meanwhile; then that one counts.
                text(&key, self.values.put_new(&place, answer.as_bytes())?)?
            }
        };
        let (model, request) = (self.identity.clone(), canonical.to_owned());
        let call = Arc::new(Call { key: key.clone(), model, request, answer, failure });
        known.insert(key, call.clone());
        Ok(call)
    }

    /// Asks the model, or notes the request for the next batch.
    fn new_answer(&self, key: &str, canonical: &str, ask: impl FnOnce() -> Result<Answer>) -> Result<Answer> {
        match self.llm.batches() {
            Some(_) => Err(self.batch.unanswered(key, canonical)),
            None => ask(),
        }
    }

    pub(super) fn count_asked(&self, tokens: u64) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.tokens.fetch_add(tokens, Ordering::Relaxed);
    }

    /// Waits until no other request for `key` is in flight.
    fn lock_key(&self, key: &str) -> KeyGuard<'_> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        while !asking.insert(key.to_owned()) {
            asking = self.asked_one.wait(asking).unwrap_or_else(PoisonError::into_inner);
        }
        KeyGuard { asking: &self.asking, asked_one: &self.asked_one, key: key.to_owned() }
    }

    /// The stored answer to a key, and its name in the store. Stored values are never replaced: where an older version stored an
    /// invalid answer, the valid one has a name with a number behind it.
    pub(super) fn cached(&self, key: &str, canonical: &str) -> Result<(String, Option<String>)> {
        let mut place = key.to_owned();
        let mut suffix = 0;
        while let Some(bytes) = self.values.get(&place)? {
            let answer = text(key, bytes)?;
            let failure = self.llm.answer_failure(canonical, &answer);
            if failure.with_context(|| format!("cannot read the answer of call {key}"))?.is_none() {
                return Ok((place, Some(answer)));
            }
            suffix += 1;
            place = format!("{key} {suffix}");
        }
        Ok((place, None))
    }

    /// Gives up where all calls failed. Which of a batch's answers is looked up first says nothing; there its intake decides.
    fn check_any_answered(&self, failed: u64, reason: &str) -> Result<()> {
        let UsageCounters { asked, served, .. } = self.counters();
        if failed >= MAX_FAILED && asked + served == 0 && self.llm.batches().is_none() {
            bail!(all_failed(failed, reason));
        }
        Ok(())
    }

    /// As many threads as conversations may run at once, where the provider has a limit of its own.
    pub fn pool(&self) -> Result<Option<ThreadPool>> {
        let pool = |conversations| ThreadPoolBuilder::new().num_threads(conversations).build();
        Ok(self.llm.max_concurrency().map(pool).transpose()?)
    }

    /// Moves a bar by one unit of work since `start`.
    pub fn advance(&self, bar: &Bar, start: Instant) {
        let tokens = self.counters().tokens;
        if tokens == 0 {
            bar.inc(1);
        } else {
            bar.inc_with(1, &format!("{:.0} tokens/s", tokens as f64 / start.elapsed().as_secs_f64()));
        }
    }

    /// Notes the calls since `start`; `retryable`: whether another run may get the answers that this one did not get.
    pub fn note_calls(&self, retryable: bool, start: Instant, cx: &Context) {
        let (counters, seconds) = (self.counters(), start.elapsed().as_secs_f64());
        cx.note("calls", format!("{} asked, {} served from the store", counters.asked, counters.served));
        if counters.failed > 0 {
            cx.note("failed calls", format!("{}; the next run that needs them repeats them", counters.failed));
            if retryable {
                cx.incomplete();
            }
        }
        if counters.asked > 0 {
            cx.note("tokens", format!("{} new, {:.0} a second", counters.tokens, counters.tokens as f64 / seconds));
        }
    }

    pub fn counters(&self) -> UsageCounters {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (asked, failed, served) = (read(&self.asked), read(&self.failed), read(&self.served));
        UsageCounters { asked, failed, served, tokens: read(&self.tokens) }
    }
}

/// The message of a stage of which no request is answered.
pub(super) fn all_failed(failed: u64, reason: &str) -> String {
    let help =
        if reason.contains("\nhelp: ") { "" } else { "\nhelp: fix the error that the server reports and run again" };
    format!("all of the first {failed} calls failed, the last one: {reason}{help}")
}

/// The lock of a key; released when dropped.
struct KeyGuard<'a> {
    asking: &'a Mutex<BTreeSet<String>>,
    asked_one: &'a Condvar,
    key: String,
}

impl Drop for KeyGuard<'_> {
    fn drop(&mut self) {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        self.asked_one.notify_all();
    }
}

fn text(key: &str, bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).with_context(|| format!("the stored answer of call {key} is not UTF-8"))
}
