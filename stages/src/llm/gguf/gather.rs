//! Sessions on several threads share passes: expanding the weights costs the same for one token as for eight.
//!
//! Who comes first waits a moment for others, then takes along who is there. Who goes with whom depends on time; what each gets
//! does not, for a part's result is the same whatever stands beside it.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::decoder::{Decoder, Evaluated, Part};

/// How long a pass waits for company; a pass of one token takes ten times as long.
const MOMENT: Duration = Duration::from_millis(2);
/// Most tokens that a pass with several parts has; bounds its memory.
const TOKENS: usize = 256;

/// Where parts meet.
pub(super) struct Gather {
    /// Passes that run at the same time.
    lanes: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    waiting: Vec<(u64, Part)>,
    done: BTreeMap<u64, Evaluated>,
    running: usize,
    /// A pass panicked: those it took along would wait for ever.
    broken: bool,
}

impl Gather {
    pub(super) fn new(lanes: usize) -> Self {
        Self { lanes: lanes.max(1), state: Mutex::default(), changed: Condvar::new() }
    }

    /// As [`Decoder::forward`] for one part.
    pub(super) fn forward(&self, decoder: &Decoder, part: Part) -> Evaluated {
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        state.waiting.push((ticket, part));
        let mut waited = false;
        loop {
            assert!(!state.broken, "another session's pass panicked");
            if let Some(result) = state.done.remove(&ticket) {
                return result;
            }
            let free = self.lanes - state.running;
            let first = state.waiting.first().is_some_and(|(first, _)| *first == ticket);
            if free == 0 || !first {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if !waited {
                waited = true;
                state = self.changed.wait_timeout(state, MOMENT).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let batch = state.take(free);
            state.running += 1;
            drop(state);
            let running = Running(self);
            // Somebody else may lead now.
            self.changed.notify_all();
            let (tickets, parts): (Vec<u64>, Vec<Part>) = batch.into_iter().unzip();
            let results = decoder.forward(&parts);
            self.lock().done.extend(tickets.into_iter().zip(results));
            drop(running);
            state = self.lock();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A fair share for one of `free` lanes of those who wait, in the order in which they came.
    fn take(&mut self, free: usize) -> Vec<(u64, Part)> {
        let share = self.waiting.len().div_ceil(free);
        let mut tokens = 0;
        let fits = |(_, part): &&(u64, Part)| {
            tokens += part.tokens.len();
            tokens <= TOKENS
        };
        let count = self.waiting.iter().take(share).take_while(fits).count();
        self.waiting.drain(..count.max(1)).collect()
    }
}

/// A pass that has begun; dropped when it is over.
struct Running<'a>(&'a Gather);

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

    fn part(token: u32, tokens: usize) -> Part {
        let sees = (0..tokens * tokens).map(|pair| pair % tokens <= pair / tokens).collect();
        Part {
            past: vec![],
            tokens: vec![token; tokens],
            positions: (0..tokens).collect(),
            sees,
            next: token.is_multiple_of(2),
        }
    }

    #[test]
    fn a_share_is_fair_and_bounded() {
        let mut state = State::default();
        state.waiting.extend((0..5).map(|ticket| (ticket, part(0, 1))));
        let tickets = |taken: Vec<(u64, Part)>| taken.into_iter().map(|(ticket, _)| ticket).collect::<Vec<_>>();
        assert_eq!(tickets(state.take(2)), [0, 1, 2]);
        assert_eq!(tickets(state.take(1)), [3, 4]);
        state.waiting.extend([(5, part(0, TOKENS + 1)), (6, part(0, 200)), (7, part(0, 56)), (8, part(0, 1))]);
        assert_eq!(tickets(state.take(1)), [5], "one that is too long goes alone");
        assert_eq!(tickets(state.take(1)), [6, 7]);
        assert_eq!(tickets(state.take(1)), [8]);
    }

    #[test]
    fn company_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        let model = Gguf::load(&path).unwrap();
        let gather = Gather::new(2);
        let alone: Vec<Evaluated> = (0..12).map(|token| model.decoder.forward(&[part(token, 3)]).remove(0)).collect();
        std::thread::scope(|scope| {
            for (token, alone) in (0..12).zip(&alone) {
                let (gather, decoder) = (&gather, &model.decoder);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let together = gather.forward(decoder, part(token, 3));
                        assert_eq!(together.rows, alone.rows, "token {token}");
                        assert_eq!(together.next.is_some(), token % 2 == 0);
                        let likely = |found: &Evaluated| found.next.as_ref().map(|next| next.log_probability(0, 7));
                        assert_eq!(likely(&together), likely(alone), "token {token}");
                    }
                });
            }
        });
        let state = gather.lock();
        assert!(state.waiting.is_empty() && state.done.is_empty() && state.running == 0);
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy.gguf");
        toy::write_toy(&path).unwrap();
        let model = Gguf::load(&path).unwrap();
        let gather = Gather::new(1);
        let outcomes: Vec<bool> = std::thread::scope(|scope| {
            let (gather, decoder) = (&gather, &model.decoder);
            // One of them asks for a token that is not in the vocabulary.
            let workers = [1, u32::MAX, 2].map(|token| scope.spawn(move || gather.forward(decoder, part(token, 1))));
            workers.into_iter().map(|worker| worker.join().is_ok()).collect()
        });
        assert!(!outcomes[1]);
    }
}
