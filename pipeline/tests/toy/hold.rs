//! How a test holds this program at its commit points, and turns its clock.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pipeline::failpoints::{self, Failpoints};

/// End here as `kill -9` does, at the commit point with this number, counted from 0; workers only by a variable of their own.
const KILL_AT: &str = "TOY_KILL_AT";
const KILL_WORKER_AT: &str = "TOY_KILL_WORKER_AT";
/// Say each commit point on standard output, and wait for a line on standard input before going on.
const IN_TURNS: &str = "TOY_IN_TURNS";
/// Seconds that the clock is ahead, or behind where negative.
const CLOCK: &str = "TOY_CLOCK";

static NEXT: AtomicU64 = AtomicU64::new(0);

pub fn install() {
    if [KILL_AT, KILL_WORKER_AT, IN_TURNS, CLOCK].iter().any(|name| std::env::var_os(name).is_some()) {
        failpoints::install(Failpoints { reached, now });
    }
}

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn reached(point: &'static str, path: &Path) {
    let here = NEXT.fetch_add(1, Ordering::Relaxed);
    if std::env::var_os(IN_TURNS).is_some() {
        println!("@ {point} {}", path.display());
        let _ = std::io::stdin().lock().read_line(&mut String::new());
    }
    let is_worker = std::env::args().nth(1).is_some_and(|word| word == "work");
    if number(if is_worker { KILL_WORKER_AT } else { KILL_AT }) == Some(here) {
        let _ = writeln!(std::io::stderr(), "killed: {point} {}", path.display());
        std::process::abort();
    }
}

fn now(real: Duration) -> Duration {
    let seconds: i64 = number(CLOCK).unwrap_or_default();
    let shift = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { real.saturating_sub(shift) } else { real + shift }
}
