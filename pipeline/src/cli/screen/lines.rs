//! Bars as lines, for logs and pipes: at most one line a bar in two seconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::{format, talk};
use super::Pace;
use crate::progress::Throttle;

const EVERY: Duration = Duration::from_secs(2);

pub(super) struct Lines {
    throttle: Throttle,
    /// When a bar opened, and at which count: units that an earlier run did are not this run's rate.
    opened: Mutex<BTreeMap<(String, String), (Instant, u64)>>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { throttle: Throttle::new(EVERY), opened: Mutex::default() }
    }
}

impl Pace for Lines {
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str) {
        let bar = (stage.to_owned(), label.to_owned());
        let (since, from) = *self
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(bar)
            // A bar is quiet for its first seconds: short work needs no line.
            .or_insert_with(|| {
                self.throttle.may(stage, label);
                (Instant::now(), done)
            });
        if self.throttle.may(stage, label) {
            let rate = (done - from.min(done)) as f64 / since.elapsed().as_secs_f64();
            talk(&line(stage, label, done, total, unit, message, rate));
        }
    }
    fn finished(&self, stage: &str, label: &str) {
        self.throttle.forget(stage, label);
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).remove(&(stage.to_owned(), label.to_owned()));
    }
    fn say(&self, line: &str) {
        talk(line);
    }
}

/// `policy train: 1200 of 20000 steps (6 %), 410 steps/s, 46 s left, loss 0.41`.
fn line(stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str, rate: f64) -> String {
    let mut line = format!("{stage} {label}: {done}");
    if let Some(total) = total {
        line += &format!(" of {total} {unit} ({} %)", (done * 100).checked_div(total).unwrap_or(100));
    } else {
        line += &format!(" {unit}");
    }
    if rate > 0.0 {
        line += &if rate < 10.0 { format!(", {rate:.2} {unit}/s") } else { format!(", {rate:.0} {unit}/s") };
        // The first units say little about the rest.
        if let Some(total) = total.filter(|total| done * 50 >= *total) {
            line += &format!(", {} left", format::seconds(total.saturating_sub(done) as f64 / rate));
        }
    }
    if !message.is_empty() {
        line += &format!(", {message}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let text = line("policy@seed=0", "train", 1200, Some(20_000), "steps", "loss 0.41", 400.0);
        assert_eq!(text, "policy@seed=0 train: 1200 of 20000 steps (6 %), 400 steps/s, 47.0 s left, loss 0.41");
        assert_eq!(line("log", "read", 7, None, "rows", "", 0.0), "log read: 7 rows");
        assert_eq!(line("log", "read", 0, Some(0), "rows", "", 0.0), "log read: 0 of 0 rows (100 %)");
    }
}
