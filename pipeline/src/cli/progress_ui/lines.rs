//! Bars as lines, for logs and pipes: many while work is young, ever fewer as it goes on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::format;
use super::super::output::talk;
use super::pace::Pace;

/// The shortest time between two lines of a bar, and the time for which a stage says nothing at first: short work needs no
/// line.
const SHORTEST: Duration = Duration::from_secs(2);
/// The longest: a log that says nothing for longer looks like one of a program that hangs.
const LONGEST: Duration = Duration::from_mins(10);
/// The time between two lines is this part of the stage's age, so that ten hours make some ninety lines.
const PART: u32 = 5;

#[derive(Default)]
pub(super) struct Lines {
    thin: Mutex<Thin>,
}

/// Who spoke when.
#[derive(Default)]
struct Thin {
    stages: BTreeMap<String, Spoke>,
    bars: BTreeMap<(String, String), Spoke>,
}

#[derive(Clone, Copy)]
struct Spoke {
    opened: Instant,
    last: Instant,
}

impl Thin {
    /// Whether a bar may speak now; if so, it has spoken. A bar speaks when it was silent for long enough, and also when its
    /// whole stage was: that may have many bars, none of which is open for long.
    fn may(&mut self, stage: &str, label: &str, now: Instant) -> bool {
        let new = Spoke { opened: now, last: now };
        let whole = self.stages.entry(stage.to_owned()).or_insert(new);
        // A bar that opens again under its name goes on.
        let bar = self.bars.entry((stage.to_owned(), label.to_owned())).or_insert(new);
        let wait = (now.duration_since(whole.opened) / PART).clamp(SHORTEST, LONGEST);
        let may = now.duration_since(bar.last.min(whole.last)) >= wait;
        if may {
            (bar.last, whole.last) = (now, now);
        }
        may
    }
}

impl Pace for Lines {
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str, rate: f64) {
        if self.thin.lock().unwrap_or_else(PoisonError::into_inner).may(stage, label, Instant::now()) {
            talk(&line(stage, label, done, total, unit, message, rate));
        }
    }
    fn finished(&self, _: &str, _: &str) {}
    fn say(&self, line: &str) {
        talk(line);
    }
    fn clear(&self) {}
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
        line += &format!(", {}", format::pace(rate, unit));
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
        let slow = line("world", "train", 2, Some(20), "epochs", "", 0.004);
        assert_eq!(slow, "world train: 2 of 20 epochs (10 %), 4 min 10 s/epoch, 1 h 15 min left");
    }

    /// The seconds at which a stage speaks whose bar, named by `label`, moves once a second.
    fn spoken(seconds: u64, label: impl Fn(u64) -> String) -> Vec<u64> {
        let (mut thin, start) = (Thin::default(), Instant::now());
        let may = |second: &u64| thin.may("world", &label(*second), start + Duration::from_secs(*second));
        (0..seconds).filter(may).collect()
    }

    #[test]
    fn lines_become_fewer_and_never_end() {
        let ten_hours = spoken(36_000, |_| "train".into());
        assert_eq!(ten_hours[..4], [2, 4, 6, 8]);
        assert!(ten_hours.len() < 100, "{}", ten_hours.len());
        assert!(ten_hours.windows(2).all(|pair| pair[1] - pair[0] <= LONGEST.as_secs()));
        // Bars that are open for three seconds each are heard, too.
        assert_eq!(spoken(36_000, |second| format!("member {}", second / 3)), ten_hours);
    }
}
