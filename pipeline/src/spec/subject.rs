//! Whose block of a file is read, and how a place in it is written.

use schemars::{Schema, SchemaGenerator};

use super::schema_lookup::Step;
use crate::diagnostic::Span;

/// Whose block it is.
pub(crate) struct Subject<'a> {
    /// For the messages: `the config of rl.a2c`.
    pub what: &'a str,
    /// Where to point when the block itself is at fault or absent.
    pub key_span: Span,
    /// Its schema, made only when something is wrong.
    pub schema: &'a dyn Fn(&mut SchemaGenerator) -> Schema,
}

pub(crate) fn dotted(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text = format!("{text}.{key}"),
            Step::Index(index) => text = format!("{text}[{index}]"),
        }
    }
    text
}
