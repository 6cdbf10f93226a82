//! The threads that share the products of one forward pass.
//!
//! A thread that makes a pass takes pieces of each product; idle threads of a pool take pieces of the same product. The pass waits for
//! pieces that are being made, never for a thread to begin. It waits on a channel: a worker of rayon that waits in rayon's own way
//! would begin another task, such as another session, in the middle of its pass.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// The threads of a model.
pub(super) struct Crew {
    threads: usize,
    /// Passes under way; each has a thread of its own.
    passes: AtomicUsize,
    /// The threads beside that of a pass; none where there is one thread, or the system gives no more.
    helpers: Option<ThreadPool>,
}

/// A pass under way, until it is dropped.
pub(super) struct ForwardPass<'a>(&'a Crew);

impl Crew {
    pub(super) fn new(threads: usize) -> Self {
        let helpers = ThreadPoolBuilder::new()
            .num_threads(threads.saturating_sub(1))
            .thread_name(|index| format!("decoder-{index}"))
            // The pass finds out by the piece that does not come.
            .panic_handler(|_| {});
        let helpers = if threads > 1 { helpers.build().ok() } else { None };
        Self { threads, passes: AtomicUsize::new(0), helpers }
    }

    pub(super) fn begin_pass(&self) -> ForwardPass<'_> {
        self.passes.fetch_add(1, Ordering::Relaxed);
        ForwardPass(self)
    }
}

impl Drop for ForwardPass<'_> {
    fn drop(&mut self) {
        self.0.passes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ForwardPass<'_> {
    /// The threads that may work on this pass: as many as no other pass has, and at least its own.
    pub(super) fn threads(&self) -> usize {
        let others = self.0.passes.load(Ordering::Relaxed).saturating_sub(1);
        self.0.threads.saturating_sub(others).max(1)
    }

    /// `make` of each number below `count`, each made once by some thread.
    pub(super) fn share<T: Send + 'static>(
        &self,
        count: usize,
        make: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> Vec<T> {
        let helpers = self.0.helpers.as_ref().zip(Some((self.threads() - 1).min(count.saturating_sub(1))));
        let Some((pool, helpers)) = helpers.filter(|(_, helpers)| *helpers > 0) else {
            return (0..count).map(make).collect();
        };
        let (next, make) = (Arc::new(AtomicUsize::new(0)), Arc::new(make));
        let (send, made) = mpsc::channel();
        for _ in 0..helpers {
            let (next, make, send) = (Arc::clone(&next), Arc::clone(&make), send.clone());
            pool.spawn(move || {
                while let Some(index) = claim(&next, count) {
                    // Nobody listens where the pass has panicked.
                    if send.send((index, make(index))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(send);
        let mut all: Vec<Option<T>> = (0..count).map(|_| None).collect();
        let mut left = count;
        while let Some(index) = claim(&next, count) {
            all[index] = Some(make(index));
            left -= 1;
        }
        while left > 0 {
            let (index, value) = made.recv().expect("a helper of the decoder panicked");
            all[index] = Some(value);
            left -= 1;
        }
        all.into_iter().flatten().collect()
    }
}

fn claim(next: &AtomicUsize, count: usize) -> Option<usize> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    (index < count).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_made_once_and_stands_at_its_place() {
        for threads in [1, 2, 5] {
            let crew = Crew::new(threads);
            let pass = crew.begin_pass();
            let made = Arc::new(AtomicUsize::new(0));
            for count in [0, 1, 2, 100] {
                made.store(0, Ordering::Relaxed);
                let counted = Arc::clone(&made);
                let squares = pass.share(count, move |index| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    index * index
                });
                assert_eq!(squares, (0..count).map(|index| index * index).collect::<Vec<_>>());
                assert_eq!(made.load(Ordering::Relaxed), count);
            }
        }
    }

    #[test]
    fn passes_divide_the_threads() {
        let crew = Crew::new(3);
        let first = crew.begin_pass();
        assert_eq!(first.threads(), 3);
        let (second, third, fourth) = (crew.begin_pass(), crew.begin_pass(), crew.begin_pass());
        assert_eq!((first.threads(), fourth.threads()), (1, 1));
        drop((second, third, fourth));
        assert_eq!(first.threads(), 3);
    }

    #[test]
    fn a_panic_of_a_helper_ends_the_pass() {
        let crew = Crew::new(2);
        let ours = std::thread::current().id();
        let pass = std::panic::AssertUnwindSafe(crew.begin_pass());
        let result = std::panic::catch_unwind(|| {
            pass.share(64, move |_| {
                assert_eq!(std::thread::current().id(), ours, "the helper");
                std::thread::sleep(std::time::Duration::from_millis(5));
            })
        });
        assert!(result.is_err());
        assert_eq!(pass.share(3, |index| index), [0, 1, 2], "the next pass has helpers again");
    }
}
