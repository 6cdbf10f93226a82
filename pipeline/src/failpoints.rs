//! Where a test program takes hold of the engine: at every commit point, and of the wall clock.
//!
//! The program for users installs nothing here and has no switch for it; a commit point then costs one look at an empty
//! cell. A test program can end itself at any of them, or wait there until another process has gone on.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// What a test program puts in the place of the world.
pub struct Failpoints {
    /// Called at each commit point, with what was just done to which file or folder. Of a file: `created`, `written`,
    /// `synced`, `read-only`, `named`, `kept` (the name too survives a power cut), `aside` (moved away as damaged),
    /// `removed`; of the record of a run: `made`; of the lock of a key: `waits`, `locked`, `unlocked`.
    pub reached: fn(point: &'static str, path: &Path),
    /// The wall clock, since 1970, given the real one.
    pub now: fn(real: Duration) -> Duration,
}

static FAILPOINTS: OnceLock<Failpoints> = OnceLock::new();

/// Takes hold, for as long as the process lives; the first one counts.
pub fn install(failpoints: Failpoints) {
    let _ = FAILPOINTS.set(failpoints);
}

/// A commit point: what was done before survives if the process ends here.
pub(crate) fn reached(point: &'static str, path: &Path) {
    if let Some(failpoints) = FAILPOINTS.get() {
        (failpoints.reached)(point, path);
    }
}

/// The time that the engine believes it is.
pub(crate) fn now(real: Duration) -> Duration {
    FAILPOINTS.get().map_or(real, |failpoints| (failpoints.now)(real))
}
