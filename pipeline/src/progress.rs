//! What a person or a program sees of a run while it goes on: bars on a terminal, plain lines elsewhere, or JSON events.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::event::Event;

/// Where progress goes; the record of a run and the screen are both sinks.
pub trait Sink: Send + Sync {
    /// A bar of `stage` moved; `total` is `None` where it is not known.
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str);
    /// A bar of `stage` is done.
    fn finished(&self, stage: &str, label: &str);
    /// A fact worth keeping.
    fn note(&self, stage: &str, name: &str, value: &str);
    /// The engine's own news of the run.
    fn event(&self, event: &Event) {
        let _ = event;
    }
}

/// The progress of one stage (or of the engine itself, under the name of what it does).
#[derive(Clone)]
pub struct Progress {
    stage: Arc<str>,
    sinks: Arc<[Arc<dyn Sink>]>,
}

impl Progress {
    /// Progress of `stage`, reported to every sink.
    #[must_use]
    pub fn new(stage: &str, sinks: Arc<[Arc<dyn Sink>]>) -> Self {
        Self { stage: stage.into(), sinks }
    }
    /// Progress that nobody sees.
    #[must_use]
    pub fn silent() -> Self {
        Self { stage: "".into(), sinks: Arc::new([]) }
    }
    /// Opens a bar.
    #[must_use]
    pub fn bar(&self, label: &str, total: Option<u64>, unit: &'static str) -> Bar {
        let bar = Bar { progress: self.clone(), label: label.into(), total, unit, done: AtomicU64::new(0) };
        bar.tell("");
        bar
    }
    /// Tells one fact.
    pub fn note(&self, name: &str, value: &str) {
        for sink in &*self.sinks {
            sink.note(&self.stage, name, value);
        }
    }
}

/// Below this many bytes hashing is over before a bar would be seen.
pub(crate) const WORTH_A_BAR: u64 = 64 << 20;

/// One bar; closes itself when dropped. Shared between threads.
pub struct Bar {
    progress: Progress,
    label: Arc<str>,
    total: Option<u64>,
    unit: &'static str,
    done: AtomicU64,
}

impl Bar {
    /// `n` more units are done.
    pub fn inc(&self, n: u64) {
        self.done.fetch_add(n, Ordering::Relaxed);
        self.tell("");
    }
    /// As [`Bar::inc`], with a short word on the state of the work (`loss 0.41`).
    pub fn inc_with(&self, n: u64, message: &str) {
        self.done.fetch_add(n, Ordering::Relaxed);
        self.tell(message);
    }
    fn tell(&self, message: &str) {
        let done = self.done.load(Ordering::Relaxed);
        for sink in &*self.progress.sinks {
            sink.advanced(&self.progress.stage, &self.label, done, self.total, self.unit, message);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        for sink in &*self.progress.sinks {
            sink.finished(&self.progress.stage, &self.label);
        }
    }
}

/// Lets a bar speak once in a while: bars may move millions of times a second.
pub(crate) struct Throttle {
    every: Duration,
    last: Mutex<BTreeMap<(String, String), Instant>>,
}

impl Throttle {
    pub fn new(every: Duration) -> Self {
        Self { every, last: Mutex::default() }
    }
    /// Whether the bar may speak now; if so, it has spoken.
    pub fn may(&self, stage: &str, label: &str) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = (stage.to_owned(), label.to_owned());
        if last.get(&bar).is_some_and(|last| last.elapsed() < self.every) {
            return false;
        }
        last.insert(bar, Instant::now());
        true
    }
    /// The bar is closed: another one of its name may speak at once.
    pub fn forget(&self, stage: &str, label: &str) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(&(stage.to_owned(), label.to_owned()));
    }
}
