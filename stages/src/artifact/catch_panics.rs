//! Panics of the libraries that read files, turned into errors.
//!
//! The arrow and parquet crates panic on some damaged files. There, a panic is a finding about the file and not a fault of
//! this program, so it must reach the user as an error that names the file. Only calls into those crates go through here;
//! a panic of our own code stays one.

use std::any::Any;
use std::cell::Cell;
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `read`; an error and a panic alike become their text. What `read` worked on must not be used after a failure.
pub(crate) fn catch_panics<T, E: Display>(read: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    static HOOK: Once = Once::new();
    // Once, and asking the thread: the hook is the whole process's, and other threads must go on reporting their panics.
    HOOK.call_once(|| {
        let earlier = panic::take_hook();
        panic::set_hook(Box::new(move |report| {
            if !SILENT.get() {
                earlier(report);
            }
        }));
    });
    let outside = SILENT.replace(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(read));
    SILENT.set(outside);
    match outcome {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(message(panic.as_ref())),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("the reader gave up").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_and_an_error_become_text() {
        assert_eq!(catch_panics(|| Ok::<_, String>(1)), Ok(1));
        assert_eq!(catch_panics(|| Err::<(), _>("no")), Err("no".into()));
        let torn: [u8; 2] = [0; 2];
        let at = torn.len() + 5;
        assert!(catch_panics(|| Ok::<_, String>(torn[..at].len())).unwrap_err().contains("out of range"));
        assert_eq!(catch_panics(|| -> Result<(), String> { panic!("at {at}") }), Err("at 7".into()));
        assert!(!SILENT.get());
    }
}
