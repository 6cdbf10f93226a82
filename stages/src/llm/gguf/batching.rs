//! Sessions on several threads share forward passes: dequantising the weights costs the same for one token as for eight.
//!
//! The first waiting slice waits a moment for others, then evaluates the batch. The composition of a batch depends on timing; the
//! results do not, because the result of a slice does not depend on its batch.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::decoder::{BatchSlice, Decoder, SliceOutput};

/// How long a pass waits for further slices; a pass of one token takes ten times as long.
const MAX_WAIT: Duration = Duration::from_millis(2);
/// The most tokens of a pass with several slices; bounds its memory.
const MAX_TOKENS: usize = 256;

/// Collects slices into batches.
pub(super) struct BatchScheduler {
    /// The most passes that run at the same time.
    max_passes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    waiting: Vec<(u64, BatchSlice)>,
    done: BTreeMap<u64, SliceOutput>,
    running: usize,
    /// A pass panicked: the other slices of its batch would wait for ever.
    broken: bool,
}

impl BatchScheduler {
    pub(super) fn new(max_passes: usize) -> Self {
        Self { max_passes: max_passes.max(1), state: Mutex::default(), changed: Condvar::new() }
    }

    /// As [`Decoder::forward`] for one slice.
    pub(super) fn forward(&self, decoder: &Decoder, slice: BatchSlice) -> SliceOutput {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        state.waiting.push((id, slice));
        let mut waited = false;
        loop {
            assert!(!state.broken, "another session's pass panicked");
            if let Some(result) = state.done.remove(&id) {
                return result;
            }
            let free = self.max_passes - state.running;
            let first = state.waiting.first().is_some_and(|(first, _)| *first == id);
            if free == 0 || !first {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if !waited {
                waited = true;
                state = self.changed.wait_timeout(state, MAX_WAIT).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let batch = state.next_batch(free);
            state.running += 1;
            drop(state);
            let running = Running(self);
            // The next waiting slice may start its batch.
            self.changed.notify_all();
            let (ids, slices): (Vec<u64>, Vec<BatchSlice>) = batch.into_iter().unzip();
            let results = decoder.forward(&slices);
            self.lock().done.extend(ids.into_iter().zip(results));
            drop(running);
            state = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next batch in order of arrival: the waiting slices divided by `free` passes.
    fn next_batch(&mut self, free: usize) -> Vec<(u64, BatchSlice)> {
        let share = self.waiting.len().div_ceil(free);
        let mut tokens = 0;
        let fits = |(_, slice): &&(u64, BatchSlice)| {
            tokens += slice.tokens.len();
            tokens <= MAX_TOKENS
        };
        let count = self.waiting.iter().take(share).take_while(fits).count();
        self.waiting.drain(..count.max(1)).collect()
    }
}

/// A running pass; dropped when it ends.
struct Running<'a>(&'a BatchScheduler);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running -= 1;
        state.broken |= std::thread::panicking();
        drop(state);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Gguf, toy};
    use super::*;

    fn slice(token: u32, tokens: usize) -> BatchSlice {
        let mask = (0..tokens * tokens).map(|pair| pair % tokens <= pair / tokens).collect();
        BatchSlice {
            past: vec![],
            tokens: vec![token; tokens],
            positions: (0..tokens).collect(),
            mask,
            wants_logits: token.is_multiple_of(2),
        }
    }

    #[test]
    fn a_share_is_fair_and_bounded() {
        let mut state = State::default();
        state.waiting.extend((0..5).map(|id| (id, slice(0, 1))));
        let ids = |batch: Vec<(u64, BatchSlice)>| batch.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
        assert_eq!(ids(state.next_batch(2)), [0, 1, 2]);
        assert_eq!(ids(state.next_batch(1)), [3, 4]);
        state.waiting.extend([(5, slice(0, MAX_TOKENS + 1)), (6, slice(0, 200)), (7, slice(0, 56)), (8, slice(0, 1))]);
        assert_eq!(ids(state.next_batch(1)), [5], "one that is too long is evaluated alone");
        assert_eq!(ids(state.next_batch(1)), [6, 7]);
        assert_eq!(ids(state.next_batch(1)), [8]);
    }

    #[test]
    fn results_do_not_depend_on_the_batch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        let model = Gguf::load(&path).unwrap();
        let scheduler = BatchScheduler::new(2);
        let alone: Vec<SliceOutput> =
            (0..12).map(|token| model.decoder.forward(&[slice(token, 3)]).remove(0)).collect();
        std::thread::scope(|scope| {
            for (token, alone) in (0..12).zip(&alone) {
                let (scheduler, decoder) = (&scheduler, &model.decoder);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let together = scheduler.forward(decoder, slice(token, 3));
                        assert_eq!(together.hidden, alone.hidden, "token {token}");
                        assert_eq!(together.next_logits.is_some(), token % 2 == 0);
                        let likely =
                            |found: &SliceOutput| found.next_logits.as_ref().map(|next| next.log_probability(0, 7));
                        assert_eq!(likely(&together), likely(alone), "token {token}");
                    }
                });
            }
        });
        let state = scheduler.lock();
        assert!(state.waiting.is_empty() && state.done.is_empty() && state.running == 0);
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        let model = Gguf::load(&path).unwrap();
        let scheduler = BatchScheduler::new(1);
        let outcomes: Vec<bool> = std::thread::scope(|scope| {
            let (scheduler, decoder) = (&scheduler, &model.decoder);
            // One of them has a token that is not in the vocabulary.
            let workers =
                [1, u32::MAX, 2].map(|token| scope.spawn(move || scheduler.forward(decoder, slice(token, 1))));
            workers.into_iter().map(|worker| worker.join().is_ok()).collect()
        });
        assert!(!outcomes[1]);
    }
}
