//! A run as JSON events, one a line on standard output.

use std::io::Write;

use serde_json::{Value, json};

use crate::escape;
use crate::event::{EVENT_SCHEMA, Event};
use crate::progress::Sink;

pub(in crate::cli) struct Json;

impl Json {
    fn tell(event: Value) {
        let mut line = json!({ "schema_version": EVENT_SCHEMA });
        if let (Some(line), Value::Object(event)) = (line.as_object_mut(), event) {
            line.extend(event);
        }
        // A reader that has gone does not stop the run.
        let _ = writeln!(std::io::stdout(), "{}", escape::json(&line.to_string()));
    }
}

impl Sink for Json {
    fn advanced(&self, stage: &str, label: &str, done: u64, total: Option<u64>, unit: &str, message: &str) {
        Self::tell(json!({
            "event": "progress", "stage": stage, "label": label, "done": done, "total": total, "unit": unit,
            "message": message,
        }));
    }
    fn finished(&self, stage: &str, label: &str) {
        Self::tell(json!({ "event": "progress_ended", "stage": stage, "label": label }));
    }
    fn note(&self, stage: &str, name: &str, value: &str) {
        Self::tell(json!({ "event": "note", "stage": stage, "name": name, "value": value }));
    }
    fn event(&self, event: &Event) {
        Self::tell(serde_json::to_value(event).expect("an event is plain JSON"));
    }
}
