//! Ctrl-C: once asks the stages to save and stop, twice stops now.
//!
//! SIGTERM counts as Ctrl-C. SIGHUP is left alone, so that a run under `nohup` outlives its terminal; without it the process
//! just dies, and loses no more than the unit at work.

use std::io::{self, Write};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{Cancel, Exit};

/// From here on the first signal raises `cancel`, and the second one ends the process.
///
/// Ending at once is safe: what is committed is committed, and locks die with their process.
pub(crate) fn listen(cancel: &Cancel) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let cancel = cancel.clone();
    let wait = move || {
        for _ in signals.forever() {
            if cancel.is_raised() {
                std::process::exit(Exit::Interrupted as i32);
            }
            cancel.raise();
            // Writing here must not panic when nobody listens any more.
            let _ = writeln!(io::stderr(), "\nstopping after the unit at work; press Ctrl-C again to stop now");
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}
