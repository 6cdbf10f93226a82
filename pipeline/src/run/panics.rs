//! A panic in a stage becomes an error of that stage: the others go on, and the store is as if the stage had not begun.

use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::{Mutex, Once, PoisonError};

/// Where panics happened, by their message; the payload that `catch_unwind` gives does not say it.
static PLACES: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

/// Runs `work`; a panic in it, or in threads that it joins, comes back as an error.
pub(super) fn caught<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    remember_places();
    // What the work had borrowed is thrown away by the caller, so half-changed state is never seen.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let message = words(&*payload);
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.iter().rposition(|(known, _)| *known == message).map(|index| places.swap_remove(index).1);
        let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
        Err(anyhow::anyhow!("it panicked{place}: {message}\nhelp: this is a bug in the program; please report it"))
    })
}

/// Keeps the place of each panic. On the thread of a stage nothing is printed, because it would tear the bars apart and the
/// error says it all.
fn remember_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo| {
            let thread = std::thread::current();
            if thread.name().is_some_and(|name| name.starts_with(THREADS)) {
                let place = info.location().map(ToString::to_string).unwrap_or_default();
                PLACES.lock().unwrap_or_else(PoisonError::into_inner).push((words(info.payload()), place));
            } else {
                before(info);
            }
        }));
    });
}

fn words(payload: &dyn std::any::Any) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}

/// How the names of the threads begin on which stages work.
pub(crate) const THREADS: &str = "stage-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_place() {
        let here = || {
            let work = || -> anyhow::Result<()> { panic!("index {} of 3", 7) };
            caught(work).unwrap_err().to_string()
        };
        let text = std::thread::Builder::new().name(format!("{}test", THREADS)).spawn(here);
        let text = text.unwrap().join().unwrap();
        assert!(text.contains("panics.rs:") && text.contains("index 7 of 3"), "{text}");
        assert_eq!(caught(|| Ok(1)).unwrap(), 1);
    }
}
