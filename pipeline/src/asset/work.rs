//! What goes along with long work on one asset.

use crate::progress::{Bar, Progress};
use crate::{Cancel, Interrupted};

/// What goes along with long work on one asset: how to show it and when to stop.
pub(super) struct Work {
    pub name: String,
    pub progress: Progress,
    pub cancel: Cancel,
}

impl Work {
    pub fn silent() -> Self {
        Self { name: String::new(), progress: Progress::silent(), cancel: Cancel::default() }
    }
    pub fn of_part(&self, part: usize, of: usize) -> Self {
        let name = format!("{}, part {part} of {of}", self.name);
        Self { name, progress: self.progress.clone(), cancel: self.cancel.clone() }
    }
    pub fn bar(&self, doing: &str, total: Option<u64>, unit: &'static str) -> Bar {
        self.progress.bar(&format!("{doing} {}", self.name), total, unit)
    }
    pub fn check_cancelled(&self) -> anyhow::Result<()> {
        if self.cancel.is_raised() { Err(Interrupted.into()) } else { Ok(()) }
    }
}
