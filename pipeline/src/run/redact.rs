//! A listener that hears no secret: what stages and the engine say goes through here to the screen and to the record.

use std::sync::Arc;

use crate::event::Event;
use crate::progress::Sink;
use crate::secret::redact;

pub(super) struct RedactingSink(pub Arc<dyn Sink>);

impl Sink for RedactingSink {
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str) {
        self.0.advanced(stage, &redact(label), done, total, unit, &redact(message));
    }
    fn finished(&self, stage: &str, label: &str) {
        self.0.finished(stage, &redact(label));
    }
    fn note(&self, stage: &str, name: &str, value: &str) {
        self.0.note(stage, &redact(name), &redact(value));
    }
    fn event(&self, event: &Event) {
        let mut event = event.clone();
        // Of the engine's own words only these can repeat what a stage or a server said.
        match &mut event {
            Event::StageStarted { why: text, .. }
            | Event::Warning { text, .. }
            | Event::StageEnded { error: Some(text), .. } => *text = redact(text).into_owned(),
            _ => {}
        }
        self.0.event(&event);
    }
}
