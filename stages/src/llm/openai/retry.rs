//! When a remote call is retried.
//!
//! | class | examples | then |
//! |---|---|---|
//! | transient | 429, 408, 5xx, a timeout, a failed or broken connection | retried; after the last attempt the server counts as unreachable |
//! | malformed | a web page, wrong types, too many bytes | retried; after the last attempt this request counts as failed |
//! | permanent | 400, 401, 402, 403, 404 and the like; a refusal by the model | not retried |
//!
//! Exponential backoff from one second, unless the server requests a pause. There is no jitter: few requests are in flight, and
//! equal runs behave equally.

use std::time::Duration;

use anyhow::Result;
use pipeline::{Cancel, Interrupted, Unreachable};

use super::super::FailedCall;

/// The first pause; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, requested or not.
const MAX_PAUSE: Duration = Duration::from_secs(60);
/// How often a pause checks for cancellation.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// Why an attempt failed, and whether it is retried.
pub(super) enum RetryClass {
    /// Another attempt may succeed.
    Transient {
        /// What happened.
        why: String,
        /// `Retry-After`.
        after: Option<Duration>,
    },
    /// The response is no valid answer.
    Malformed(FailedCall),
    /// Another attempt would fail too.
    Permanent(anyhow::Error),
}

/// A sleep that Ctrl-C interrupts.
pub(super) struct CancellableSleep {
    pub cancel: Cancel,
    pub sleep: fn(Duration),
}

impl CancellableSleep {
    /// Sleeps for `pause`.
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

/// Calls `attempt` until it succeeds, fails permanently, or has failed `retries` times after the first.
///
/// # Errors
/// [`Unreachable`] when the last failure was transient, or the server requests a pause of more than a minute; [`FailedCall`] when
/// the last response was malformed; [`Interrupted`].
pub(super) fn with_retries<T>(
    retries: u32,
    sleep: &dyn Fn(Duration) -> Result<()>,
    mut attempt: impl FnMut() -> Result<T, RetryClass>,
) -> Result<T> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let last = attempts > retries;
        let after = match attempt() {
            Ok(value) => return Ok(value),
            Err(RetryClass::Permanent(error)) => return Err(error),
            Err(RetryClass::Transient { why, after: Some(after) }) if after > MAX_PAUSE => {
                let seconds = after.as_secs();
                return Err(Unreachable(format!(
                    "{why}; it requests a pause of {seconds} s\nhelp: run again after that pause"
                ))
                .into());
            }
            Err(RetryClass::Transient { why, .. }) if last => {
                let help = "check that the server runs and that `base_url` is correct, then run again; answered calls are stored";
                return Err(Unreachable(format!("{why} ({})\nhelp: {help}", counted(attempts))).into());
            }
            Err(RetryClass::Malformed(failure)) if last => {
                let (why, help) =
                    failure.reason.split_at(failure.reason.find("\nhelp: ").unwrap_or(failure.reason.len()));
                return Err(FailedCall { reason: format!("{why} ({}){help}", counted(attempts)), ..failure }.into());
            }
            Err(RetryClass::Transient { after, .. }) => after,
            Err(RetryClass::Malformed(_)) => None,
        };
        sleep(after.unwrap_or_else(|| FIRST_PAUSE.saturating_mul(1 << (attempts - 1).min(6)).min(MAX_PAUSE)))?;
    }
}

fn counted(attempts: u32) -> String {
    if attempts == 1 { "1 attempt".into() } else { format!("{attempts} attempts") }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The result after these failures, and the pauses between them.
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
    fn pauses_double_after_each_transient_failure() {
        let (result, pauses) = retried(9, (0..9).map(|_| transient(None)).collect());
        assert_eq!((result.unwrap(), pauses), (7, vec![1, 2, 4, 8, 16, 32, 60, 60, 60]));
        let (result, pauses) = retried(3, vec![transient(Some(30)), malformed(), transient(None)]);
        assert_eq!((result.unwrap(), pauses), (7, vec![30, 2, 4]));
    }

    #[test]
    fn the_last_failure_decides_the_type_of_the_error() {
        let (result, pauses) = retried(1, vec![transient(None), transient(None)]);
        let error = result.unwrap_err();
        assert!(error.is::<Unreachable>() && error.to_string().starts_with("busy (2 attempts)\nhelp: "), "{error}");
        assert_eq!(pauses, [1]);
        let (result, pauses) = retried(4, vec![transient(Some(61))]);
        assert!(result.unwrap_err().is::<Unreachable>() && pauses.is_empty());
        let (result, pauses) = retried(4, vec![RetryClass::Permanent(anyhow::anyhow!("no"))]);
        assert!(!result.unwrap_err().is::<Unreachable>() && pauses.is_empty());
        let (result, _) = retried(2, vec![transient(None), malformed(), malformed()]);
        let failed = result.unwrap_err().downcast::<FailedCall>().unwrap();
        assert_eq!((failed.status, &failed.reason[..], &failed.raw[..]), (Some(200), "no JSON (3 attempts)", "<html>"));
    }

    #[test]
    fn a_sleep_is_cancelled() {
        let sleep = CancellableSleep { cancel: Cancel::default(), sleep: |_| {} };
        sleep.wait(MAX_PAUSE).unwrap();
        sleep.cancel.raise();
        assert!(sleep.wait(MAX_PAUSE).unwrap_err().is::<Interrupted>());
    }
}
