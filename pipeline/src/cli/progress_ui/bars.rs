//! Bars on a terminal, one for each bar of each stage at work.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::super::format;
use super::super::output::talk;
use super::pace::Pace;
use crate::escape::shown;

/// Characters of a text beside a bar, at most: more would not fit into a line.
const LONGEST: usize = 200;

#[derive(Default)]
pub(super) struct Bars {
    all: MultiProgress,
    open: Mutex<BTreeMap<(String, String), Open>>,
}

struct Open {
    bar: ProgressBar,
    /// How many units it does in a second, as the bits of an `f64`. The bar's own estimate takes what an earlier run did for speed,
    /// and for seconds knows none of a slow unit.
    rate: Arc<AtomicU64>,
}

impl Bars {
    fn open(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str) -> Open {
        let template = if total.is_some() {
            // The bar takes what is left of the line: one that broke would be drawn over its neighbours.
            "{prefix:24}  {human_pos} of {human_len} UNIT{pace}  {msg}  {wide_bar}"
        } else {
            "{prefix:24}  {spinner}  {human_pos} UNIT{pace}  {elapsed}  {wide_msg}"
        };
        // Braces in a unit would be read as fields of the template.
        let template = template.replace("UNIT", &unit.replace(['{', '}'], ""));
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let rate = Arc::new(AtomicU64::new(0));
        let (units, known) = (unit.to_owned(), Arc::clone(&rate));
        let style = style.with_key("pace", move |state: &ProgressState, out: &mut dyn Write| {
            let rate = f64::from_bits(known.load(Ordering::Relaxed));
            // Nothing can be done about a line that cannot be drawn.
            let _ = out.write_str(&pace(rate, state.len().map(|len| len.saturating_sub(state.pos())), &units));
        });
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let bar = self
            .all
            .add(bar.with_position(done).with_prefix(shown(&format!("{stage} {label}"), LONGEST)).with_style(style));
        bar.enable_steady_tick(Duration::from_millis(250));
        Open { bar, rate }
    }
}

/// `  12.5 s/epoch  3 min 20 s left`; nothing before the first unit is done.
fn pace(rate: f64, left: Option<u64>, unit: &str) -> String {
    if rate <= 0.0 {
        return String::new();
    }
    let left = left.map(|left| format!("  {} left", format::seconds(left as f64 / rate))).unwrap_or_default();
    format!("  {}{left}", format::pace(rate, unit))
}

impl Pace for Bars {
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str, rate: f64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open
            .entry((stage.to_owned(), label.to_owned()))
            .or_insert_with(|| self.open(stage, label, done, total, unit));
        open.rate.store(rate.to_bits(), Ordering::Relaxed);
        open.bar.set_position(done);
        if !message.is_empty() {
            open.bar.set_message(shown(message, LONGEST));
        }
    }
    fn finished(&self, stage: &str, label: &str) {
        let open =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&(stage.to_owned(), label.to_owned()));
        if let Some(Open { bar, .. }) = open {
            bar.finish_and_clear();
        }
    }
    fn say(&self, line: &str) {
        self.all.suspend(|| talk(line));
    }
    fn clear(&self) {
        // That a line stays is no reason to do anything else.
        let _ = self.all.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_told_once_it_is_known() {
        assert_eq!(pace(0.0, Some(3), "epochs"), "");
        assert_eq!(pace(0.08, Some(16), "epochs"), "  12.5 s/epoch  3 min 20 s left");
        assert_eq!(pace(250.0, None, "rows"), "  250 rows/s");
    }
}
