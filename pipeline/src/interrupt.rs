//! Ctrl-C: once asks the stages to save and stop, twice stops now. SIGTERM asks likewise, and stops after a grace.
//!
//! Who sends SIGTERM kills soon after (Slurm and Kubernetes after 30 s by default), and a unit of a stage may take longer. So
//! after [`GRACE`] the process leaves in the middle of it, which is safe: what is committed is committed, and locks die with
//! their process. SIGHUP is left alone, so that a run under `nohup` outlives its terminal; without it the process just dies,
//! and loses no more than the unit at work.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{Builder, sleep};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{Cancel, Exit, asset};

/// How long after SIGTERM the process is gone at the latest.
const GRACE: Duration = Duration::from_secs(10);
/// The longest that leaving waits for the screen, which may be a pipe that nobody reads.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What was heard, for the person in front of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Ctrl-C: the units at work are finished first.
    Interrupt,
    /// SIGTERM: they are finished first if that takes no longer than [`GRACE`].
    Terminate,
    /// The process is about to leave in the middle of its units.
    Leaving,
}

impl Heard {
    /// What a person reads; `takes` is what one more unit takes, where that is known.
    pub fn words(self, takes: Option<&str>) -> String {
        let takes = takes.map(|takes| format!(" ({takes})")).unwrap_or_default();
        match self {
            Self::Interrupt => format!("stopping after the current unit{takes}; press Ctrl-C again to stop now"),
            Self::Terminate => {
                let grace = GRACE.as_secs();
                format!("SIGTERM: stopping after the current unit{takes}, or in the middle of it in {grace} s")
            }
            Self::Leaving => {
                "stopped in the middle of a unit; finished units are saved, and the next run resumes from them".into()
            }
        }
    }
}

type Tell = Arc<dyn Fn(Heard) + Send + Sync>;

/// From here on the first signal raises `cancel`, and the second one ends the process, as does the end of the grace. `tell`
/// is called with what was heard, on a thread of its own.
pub(crate) fn listen(cancel: &Cancel, tell: impl Fn(Heard) + Send + Sync + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let cancel = cancel.clone();
    let tell: Tell = Arc::new(tell);
    let wait = move || {
        for signal in signals.forever() {
            if cancel.is_raised() {
                leave(&tell);
            }
            cancel.raise();
            if signal != SIGTERM {
                said(&tell, Heard::Interrupt);
                continue;
            }
            said(&tell, Heard::Terminate);
            let late = Arc::clone(&tell);
            let leave_late = move || {
                sleep(GRACE);
                leave(&late);
            };
            if Builder::new().name("grace".into()).spawn(leave_late).is_err() {
                leave(&tell);
            }
        }
    };
    Builder::new().name("signals".into()).spawn(wait).map(drop)
}

/// Tells, without waiting for a screen that takes no words; what comes back says when it was said.
fn said(tell: &Tell, heard: Heard) -> mpsc::Receiver<()> {
    let (done, end) = mpsc::channel();
    let tell = Arc::clone(tell);
    let speak = move || {
        tell(heard);
        let _ = done.send(());
    };
    let _ = Builder::new().name("talk".into()).spawn(speak);
    end
}

/// Ends the process as it stands, and what it had started with it. Nothing that would run at an ordinary end does: stages are
/// still at work on what that would take apart.
fn leave(tell: &Tell) {
    asset::end_children();
    let _ = said(tell, Heard::Leaving).recv_timeout(LAST_WORDS);
    signal_hook::low_level::exit(Exit::Interrupted as i32);
}
