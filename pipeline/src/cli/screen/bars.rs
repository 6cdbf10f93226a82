//! Bars on a terminal, one for each bar of each stage at work.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use super::super::{format, talk};
use super::Pace;
use crate::escape::shown;

/// Characters of a text beside a bar, at most: more would not fit into a line.
const LONGEST: usize = 200;

/// Units a second below which a bar has not moved yet.
const SLOWEST: f64 = 1e-6;

#[derive(Default)]
pub(super) struct Bars {
    all: MultiProgress,
    open: Mutex<BTreeMap<(String, String), ProgressBar>>,
}

impl Bars {
    fn new_bar(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str) -> ProgressBar {
        let template = if total.is_some() {
            // The bar takes what is left of the line: one that broke would be drawn over its neighbours.
            "{prefix:24}  {human_pos} of {human_len} UNIT  {rate}  {eta} left  {msg}  {wide_bar}"
        } else {
            "{prefix:24}  {spinner}  {human_pos} UNIT  {rate}  {elapsed}  {wide_msg}"
        };
        // Braces in a unit would be read as fields of the template.
        let template = template.replace("UNIT", &unit.replace(['{', '}'], ""));
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let units = unit.to_owned();
        let style = style.with_key("rate", move |state: &ProgressState, out: &mut dyn Write| {
            // Before the first unit there is none. Nothing can be done about a line that cannot be drawn.
            let rate = Some(state.per_sec()).filter(|rate| *rate > SLOWEST);
            let _ = rate.map(|rate| out.write_str(&format::pace(rate, &units)));
        });
        let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let bar = self
            .all
            .add(bar.with_position(done).with_prefix(shown(&format!("{stage} {label}"), LONGEST)).with_style(style));
        // A steady tick keeps the time left honest while one unit takes long.
        bar.enable_steady_tick(Duration::from_millis(250));
        bar
    }
}

impl Pace for Bars {
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str, _: f64) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = open
            .entry((stage.to_owned(), label.to_owned()))
            .or_insert_with(|| self.new_bar(stage, label, done, total, unit));
        bar.set_position(done);
        if !message.is_empty() {
            bar.set_message(shown(message, LONGEST));
        }
    }
    fn finished(&self, stage: &str, label: &str) {
        let bar =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&(stage.to_owned(), label.to_owned()));
        if let Some(bar) = bar {
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
