//! What the commands print: data to standard output, talk to standard error.

use std::io::{ErrorKind, Write};

use serde_json::{Value, json};

use crate::exit::Failure;
use crate::secret::{redact, redact_json};
use crate::{Exit, escape};

/// Raised when the fields of the commands' JSON change their names or meaning.
pub(super) const SCHEMA: u32 = 1;

/// An error for programs: one line on standard output, so that it also ends a stream of events. `error` is what a person is
/// shown, `diagnostics` the same in parts.
pub(super) fn print_error(exit: Exit, error: &str, diagnostics: &Value) -> Result<Exit, Failure> {
    let error = json!({ "event": "error", "exit": exit as u8, "error": error, "diagnostics": diagnostics });
    write(&escape::json(&format!("{}\n", numbered(error))))
}

/// Prints text. What an experiment, a file or a server put into it commands no terminal.
pub(super) fn print(text: &str) -> Result<Exit, Failure> {
    write(&escape::lines(&redact(text)))
}

/// Prints data. A reader that has gone (`apprentice runs | head -1`) ends the program quietly.
pub(super) fn write(text: &str) -> Result<Exit, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::new(Exit::Ok, error)),
        Err(error) => Err(Failure::new(Exit::Failed, anyhow::Error::new(error).context("write to standard output"))),
    }
}

/// Prints an object as JSON, with the number of its schema.
pub(super) fn print_json(value: Value) -> Result<Exit, Failure> {
    write(&escape::json(&format!("{:#}\n", numbered(value))))
}

/// The fields of an object behind the number of their schema, without any secret.
pub(super) fn numbered(value: Value) -> Value {
    let mut whole = json!({ "schema_version": SCHEMA });
    if let (Some(whole), Value::Object(fields)) = (whole.as_object_mut(), value) {
        whole.extend(fields);
    }
    redact_json(&mut whole);
    whole
}

/// One line for a person, or a few. As with [`print`], what somebody else wrote commands no terminal.
pub(super) fn talk(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", escape::lines(&redact(line)));
}
