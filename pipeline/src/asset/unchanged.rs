//! Whether an asset that a stage has read is still the one of its key.

use std::io::ErrorKind;

use anyhow::bail;

use super::{Resolved, Resolver};

impl Resolver {
    /// Makes sure that an asset which a stage has read still has the content that went into the key.
    pub(crate) fn check_unchanged(&self, name: &str, found: &Resolved) -> anyhow::Result<()> {
        let what = match self.is_unchanged(found) {
            Ok(true) => return Ok(()),
            Ok(false) => format!("asset `{name}` changed"),
            Err(error) if is_absence(&error) => format!("asset `{name}` went from `{}`", found.path.display()),
            Err(error) => {
                let what = "cannot be read again, so whether it changed while the stage was running is unknown";
                return Err(error.context(format!("asset `{name}` {what}")));
            }
        };
        bail!("{what} while the stage was running, so its result is not stored\nhelp: run it again")
    }
}

fn is_absence(error: &anyhow::Error) -> bool {
    let io = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.is_some_and(|error| error.kind() == ErrorKind::NotFound)
}
