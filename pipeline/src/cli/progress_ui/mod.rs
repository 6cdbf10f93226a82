//! What a person or a program sees of a run: bars on a terminal, lines elsewhere, JSON events under `--json`.

mod bars;
mod json;
mod lines;
mod pace;
mod unit_times;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::format;
use super::output::talk;
use crate::event::{Event, Status};
use crate::progress::Sink;
use bars::Bars;
pub(super) use json::Json;
use lines::Lines;
use pace::Pace;
use unit_times::UnitTimes;

/// What a run is shown on, and who else may speak there.
pub(super) trait Shown: Sink {
    /// A line that must not tear what is shown.
    fn say(&self, line: &str) {
        talk(line);
    }
    /// Takes away what is only of the moment, because the process is about to leave.
    fn clear(&self) {}
    /// What one more unit of the stages at work takes, where that is known and not short.
    fn one_more(&self) -> Option<String> {
        None
    }
}

/// The screen for people.
struct ProgressUi {
    pace: Box<dyn Pace>,
    units: UnitTimes,
    /// Also stages that are up to date.
    verbose: bool,
    /// What a stage noted, until its line is shown.
    notes: Mutex<BTreeMap<String, Vec<(String, String)>>>,
}

/// The screen of a run.
pub(super) fn progress_ui(json: bool, quiet: bool, verbose: bool) -> Arc<dyn Shown> {
    if json {
        return Arc::new(Json);
    }
    if quiet {
        return Arc::new(Quiet);
    }
    let pace: Box<dyn Pace> =
        if std::io::stderr().is_terminal() { Box::new(Bars::default()) } else { Box::new(Lines::default()) };
    Arc::new(ProgressUi { pace, units: UnitTimes::default(), verbose, notes: Mutex::default() })
}

impl Shown for Json {}
impl Shown for Quiet {}

impl Shown for ProgressUi {
    fn say(&self, line: &str) {
        self.pace.say(line);
    }
    fn clear(&self) {
        self.pace.clear();
    }
    fn one_more(&self) -> Option<String> {
        self.units.longest(Instant::now())
    }
}

impl Sink for ProgressUi {
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str) {
        let rate = self.units.advanced(stage, label, done, unit, Instant::now());
        self.pace.advanced(stage, label, done, total, unit, message, rate);
    }
    fn finished(&self, stage: &str, label: &str) {
        self.units.finished(stage, label);
        self.pace.finished(stage, label);
    }
    fn note(&self, stage: &str, name: &str, value: &str) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let notes = notes.entry(stage.into()).or_default();
        match notes.iter_mut().find(|(known, _)| known == name) {
            Some(note) => note.1 = value.into(),
            None => notes.push((name.into(), value.into())),
        }
    }
    fn event(&self, event: &Event) {
        match event {
            Event::StageStarted { stage, why, resumed, .. } => {
                let resumed = if *resumed { "; resumes from saved units" } else { "" };
                self.pace.say(&format!("{stage} runs: {why}{resumed}"));
            }
            Event::Waiting { stage, holder } => {
                self.pace.say(&format!("{stage} waits: it is being made by {holder}"));
            }
            Event::WaitingForMemory { stage, why } => self.pace.say(&format!("{stage} waits for memory: {why}")),
            Event::Queued { stage, why } => self.pace.say(&format!("{stage}: {why}")),
            Event::Warning { stage, text } => self.pace.say(&format!("{stage} warning: {text}")),
            Event::StageEnded { stage, status, seconds, .. } => {
                let word = match status {
                    Status::Hit => "is up to date",
                    Status::Ran => "is done",
                    Status::Failed => "failed",
                    Status::Interrupted => "stopped; finished units are saved",
                    Status::Submitted => "submitted its requests",
                    Status::Skipped => "not started",
                };
                if *status != Status::Hit || self.verbose {
                    self.pace.say(&format!("{stage} {word} ({})", format::seconds(*seconds)));
                }
                let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner).remove(stage).unwrap_or_default();
                let width = notes.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
                for (name, value) in notes {
                    self.pace.say(&format!("    {name:width$}  {value}"));
                }
            }
            Event::RunStarted { .. } | Event::RunEnded { .. } => {}
        }
    }
}

/// The screen that shows warnings alone.
struct Quiet;

impl Sink for Quiet {
    fn advanced(&self, _: &str, _: &str, _: u64, _: Option<u64>, _: &str, _: &str) {}
    fn finished(&self, _: &str, _: &str) {}
    fn note(&self, _: &str, _: &str, _: &str) {}
    fn event(&self, event: &Event) {
        if let Event::Warning { stage, text } = event {
            talk(&format!("{stage} warning: {text}"));
        }
    }
}
