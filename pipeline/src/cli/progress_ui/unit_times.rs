//! What the bars that are open have come to: how fast they move, and what one more unit takes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::format;

/// What is done this soon after a bar opens was done by an earlier run, and is reported in one go.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Below this many seconds a unit is over before a person has read how long it takes.
const WORTH_A_WORD: f64 = 1.0;

/// The bars that are open.
#[derive(Default)]
pub(super) struct UnitTimes(Mutex<BTreeMap<(String, String), Bar>>);

struct Bar {
    unit: String,
    opened: Instant,
    /// Units that an earlier run did are not this run's.
    from: u64,
    done: u64,
    moved: Instant,
}

impl Bar {
    /// Seconds that one unit took on average; nothing where none was done.
    fn each(&self) -> Option<f64> {
        let done = self.done.saturating_sub(self.from);
        (done > 0).then(|| self.moved.duration_since(self.opened).as_secs_f64() / done as f64)
    }
}

impl UnitTimes {
    /// A bar moved at this moment; gives how many units it does in a second, 0 where that is not known yet.
    pub fn advanced(&self, stage: &str, label: &str, done: u64, unit: &str, now: Instant) -> f64 {
        let mut bars = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry((stage.to_owned(), label.to_owned())).or_insert_with(|| Bar {
            unit: unit.to_owned(),
            opened: now,
            from: done,
            done,
            moved: now,
        });
        if now.duration_since(bar.opened) < AT_ONCE {
            bar.from = done;
        }
        if done != bar.done {
            (bar.done, bar.moved) = (done, now);
        }
        bar.each().filter(|&each| each > 0.0).map_or(0.0, |each| 1.0 / each)
    }

    pub fn finished(&self, stage: &str, label: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&(stage.to_owned(), label.to_owned()));
    }

    /// What one unit of the stage takes whose units take longest; nothing where all are short. Of the bars of a stage it is the
    /// one that moved last, between whose units the stage listens most likely.
    pub fn longest(&self, now: Instant) -> Option<String> {
        let bars = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last: BTreeMap<&str, &Bar> = BTreeMap::new();
        for ((stage, _), bar) in &*bars {
            let known = last.entry(stage).or_insert(bar);
            if bar.moved > known.moved {
                *known = bar;
            }
        }
        let lasts = last.into_iter().map(|(stage, bar)| {
            let waited = now.duration_since(bar.moved).as_secs_f64();
            (bar.each().unwrap_or(0.0).max(waited), stage, bar)
        });
        let (seconds, stage, bar) = lasts.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|found| found.0 >= WORTH_A_WORD)?;
        let unit = format::one(&bar.unit);
        Some(match bar.each() {
            Some(each) if each >= seconds => format!("{stage} takes about {} for one {unit}", format::seconds(each)),
            _ => format!("{stage} has been at this {unit} for {}", format::seconds(seconds)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_unit_is_told() {
        let units = UnitTimes::default();
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        units.advanced("world", "train", 0, "epochs", start);
        assert_eq!(units.advanced("world", "train", 3, "epochs", start), 0.0, "three are of an earlier run");
        units.advanced("log", "read", 0, "rows", start);
        units.advanced("log", "read", 5_000_000, "rows", after(59));
        assert_eq!(units.longest(after(59)).as_deref(), Some("world has been at this epoch for 59.0 s"));
        assert_eq!(units.advanced("world", "train", 4, "epochs", after(80)), 1.0 / 80.0);
        assert_eq!(units.longest(after(81)).as_deref(), Some("world takes about 1 min 20 s for one epoch"));
        assert_eq!(units.longest(after(180)).as_deref(), Some("log has been at this row for 2 min 01 s"));
        units.finished("world", "train");
        units.finished("log", "read");
        assert_eq!(units.longest(after(500)), None);
    }
}
