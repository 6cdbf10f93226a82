//! Taking the lock of a key, and waiting for whoever holds it.

use std::thread::sleep;
use std::time::Duration;

use crate::failpoints::reached;
use crate::store::{Holder, KeyLock, Store};
use crate::{Cancel, Interrupted};

/// How often one who waits looks whether the lock is free: soon enough for a person, seldom enough for the disk.
const WAIT: Duration = Duration::from_millis(100);

/// Takes the lock of a key. `waits` is told who holds it, once for each holder, and may refuse to wait.
///
/// # Errors
/// What `waits` says; [`Interrupted`] when cancelled.
pub(super) fn locked(
    store: &Store,
    key: &str,
    ours: &dyn Fn() -> Holder,
    cancel: &Cancel,
    mut waits: impl FnMut(String) -> anyhow::Result<()>,
) -> anyhow::Result<KeyLock> {
    let mut reported = None;
    for refusals in 0.. {
        if cancel.is_raised() {
            break;
        }
        let holder = match store.try_lock(key, &ours())? {
            Ok(lock) => {
                reached("locked", &store.scratch(key));
                return Ok(lock);
            }
            Err(holder) => holder.map_or_else(|| "another run".into(), |holder| holder.to_string()),
        };
        // One refusal says nothing: `gc` and `verify` try locks for a moment, and a new holder has to sign first.
        if refusals > 0 && reported.as_ref() != Some(&holder) {
            waits(holder.clone())?;
            reported = Some(holder);
        }
        reached("waits", &store.scratch(key));
        sleep(WAIT);
    }
    Err(Interrupted.into())
}
