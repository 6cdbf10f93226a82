//! Tests that need what a machine may lack: a network, a browser, data that cannot be fetched. They say aloud that they are skipped, or fail
//! where it is said that they must run (`APPRENTICE_REQUIRE_NETWORK`, `…_BROWSER`, `…_DATA`).

use std::fmt::Display;
use std::io::Write as _;
use std::path::PathBuf;

/// Says that a test is skipped, and why; fails where `APPRENTICE_REQUIRE_<need>` is set.
#[track_caller]
pub fn skipped(need: &str, why: impl Display) {
    assert!(std::env::var_os(format!("APPRENTICE_REQUIRE_{need}")).is_none(), "{why}");
    // Written here and not printed: what a passing test prints nobody sees.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}

/// The folder of `APPRENTICE_DATA` that holds a file, if one does.
pub fn folder_with(file: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("APPRENTICE_DATA").unwrap_or_default();
    std::env::split_paths(&folders).find(|folder| folder.join(file).is_file())
}

/// The same for a test that needs it, which is skipped without.
#[track_caller]
pub fn data(file: &str) -> Option<PathBuf> {
    let found = folder_with(file);
    if found.is_none() {
        skipped("DATA", format_args!("no folder of APPRENTICE_DATA holds {file}"));
    }
    found
}
