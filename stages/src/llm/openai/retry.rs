//! When a remote call is tried again.
//!
//! | class | examples | then |
//! |---|---|---|
//! | passing | 429, 408, 5xx, a time-out, a connection that did not come about or broke off | again; at last the server counts as unreachable |
//! | malformed | a web page, wrong types, too many bytes | again; at last this one question failed |
//! | final | 400, 401, 402, 403, 404 and their like; a refusal of the model's own | never again |
//!
//! Pauses double from one second, or are what the server asks for. No jitter: a handful of requests in flight do not
//! stampede, and equal runs then behave alike.

use std::time::Duration;

use anyhow::Result;
use pipeline::{Cancel, Interrupted, Unreachable};

use super::super::FailedCall;

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, asked for or not.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How long one sleeps at most before one looks whether to stop.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// Why a call failed.
pub(super) enum RetryClass {
    /// Another try may help; the server may have said when.
    Transient {
        /// What happened.
        why: String,
        /// `Retry-After`.
        after: Option<Duration>,
    },
    /// An answer came that is none.
    Malformed(FailedCall),
    /// Another try would end alike.
    Permanent(anyhow::Error),
}

/// A sleep that Ctrl-C ends.
pub(super) struct CancellableSleep {
    pub cancel: Cancel,
    pub sleep: fn(Duration),
}

impl CancellableSleep {
    /// Sleeps so long.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn wait(&self, mut pause: Duration) -> Result<()> {
        while !self.cancel.is_raised() {
            if pause.is_zero() {
                return Ok(());
            }
            let step = pause.min(CANCEL_POLL);
            (self.sleep)(step);
            pause -= step;
        }
        Err(Interrupted.into())
    }
}

/// Calls `attempt` until it succeeds, fails for good, or has failed `retries` times after the first.
///
/// # Errors
/// [`Unreachable`] when passing trouble came last, or the server asks for a pause of more than a minute; [`FailedCall`] when a
/// malformed answer came last; [`Interrupted`].
pub(super) fn with_retries<T>(
    retries: u32,
    sleep: &dyn Fn(Duration) -> Result<()>,
    mut attempt: impl FnMut() -> Result<T, RetryClass>,
) -> Result<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        let last = tries > retries;
        let after = match attempt() {
            Ok(value) => return Ok(value),
            Err(RetryClass::Permanent(error)) => return Err(error),
            Err(RetryClass::Transient { why, after: Some(after) }) if after > MAX_PAUSE => {
                let seconds = after.as_secs();
                return Err(
                    Unreachable(format!("{why}; it asks to come back in {seconds} s\nhelp: run again then")).into()
                );
            }
            Err(RetryClass::Transient { why, .. }) if last => {
                let help = "see that the server runs and `base_url` is right, then run again: answered calls are kept";
                return Err(Unreachable(format!("{why} ({})\nhelp: {help}", counted(tries))).into());
            }
            Err(RetryClass::Malformed(failure)) if last => {
                let (why, help) =
                    failure.reason.split_at(failure.reason.find("\nhelp: ").unwrap_or(failure.reason.len()));
                return Err(FailedCall { reason: format!("{why} ({}){help}", counted(tries)), ..failure }.into());
            }
            Err(RetryClass::Transient { after, .. }) => after,
            Err(RetryClass::Malformed(_)) => None,
        };
        sleep(after.unwrap_or_else(|| FIRST_PAUSE.saturating_mul(1 << (tries - 1).min(6)).min(MAX_PAUSE)))?;
    }
}

fn counted(tries: u32) -> String {
    if tries == 1 { "1 try".into() } else { format!("{tries} tries") }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What comes of these troubles one after the other, and the pauses between.
    fn retried(retries: u32, failures: Vec<RetryClass>) -> (Result<u32>, Vec<u64>) {
        let pauses = RefCell::new(Vec::new());
        let mut failures = failures.into_iter();
        let sleep = |pause: Duration| {
            pauses.borrow_mut().push(pause.as_secs());
            Ok(())
        };
        let result = with_retries(retries, &sleep, || match failures.next() {
            Some(failure) => Err(failure),
            None => Ok(7),
        });
        (result, pauses.into_inner())
    }

    fn transient(after: Option<u64>) -> RetryClass {
        RetryClass::Transient { why: "busy".into(), after: after.map(Duration::from_secs) }
    }

    fn malformed() -> RetryClass {
        RetryClass::Malformed(FailedCall { status: Some(200), reason: "no JSON".into(), raw: "<html>".into() })
    }

    #[test]
    fn passing_trouble_is_waited_out_for_twice_as_long_each_time() {
        let (result, pauses) = retried(9, (0..9).map(|_| transient(None)).collect());
        assert_eq!((result.unwrap(), pauses), (7, vec![1, 2, 4, 8, 16, 32, 60, 60, 60]));
        let (result, pauses) = retried(3, vec![transient(Some(30)), malformed(), transient(None)]);
        assert_eq!((result.unwrap(), pauses), (7, vec![30, 2, 4]));
    }

    #[test]
    fn it_gives_up_with_a_type_that_says_why() {
        let (result, pauses) = retried(1, vec![transient(None), transient(None)]);
        let error = result.unwrap_err();
        assert!(error.is::<Unreachable>() && error.to_string().starts_with("busy (2 tries)\nhelp: "), "{error}");
        assert_eq!(pauses, [1]);
        let (result, pauses) = retried(4, vec![transient(Some(61))]);
        assert!(result.unwrap_err().is::<Unreachable>() && pauses.is_empty());
        let (result, pauses) = retried(4, vec![RetryClass::Permanent(anyhow::anyhow!("no"))]);
        assert!(!result.unwrap_err().is::<Unreachable>() && pauses.is_empty());
        let (result, _) = retried(2, vec![transient(None), malformed(), malformed()]);
        let failed = result.unwrap_err().downcast::<FailedCall>().unwrap();
        assert_eq!((failed.status, &failed.reason[..], &failed.raw[..]), (Some(200), "no JSON (3 tries)", "<html>"));
    }

    #[test]
    fn a_rest_ends_when_somebody_asks_for_it() {
        let sleep = CancellableSleep { cancel: Cancel::default(), sleep: |_| {} };
        sleep.wait(MAX_PAUSE).unwrap();
        sleep.cancel.raise();
        assert!(sleep.wait(MAX_PAUSE).unwrap_err().is::<Interrupted>());
    }
}
