//! Ctrl-C: once asks the stages to save and stop, twice stops now.

use std::io::Write;

use crate::{Cancel, Exit};

/// From here on SIGINT and SIGTERM raise `cancel`, and the second of them ends the process.
///
/// Ending at once is safe: what is committed is committed, and locks die with their process.
pub(crate) fn listen(cancel: &Cancel) -> anyhow::Result<()> {
    let cancel = cancel.clone();
    ctrlc::set_handler(move || {
        if cancel.is_raised() {
            std::process::exit(Exit::Interrupted as i32);
        }
        cancel.raise();
        // Writing here must not panic when nobody listens any more.
        let _ = writeln!(std::io::stderr(), "\nstopping after the unit at work; press Ctrl-C again to stop now");
    })
    .map_err(|error| anyhow::anyhow!("cannot listen for Ctrl-C: {error}"))
}
