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
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause, asked for or not.
const LONGEST: Duration = Duration::from_secs(60);
/// How long one sleeps at most before one looks whether to stop.
const NAP: Duration = Duration::from_millis(100);

/// Why a call failed.
pub(super) enum Trouble {
    /// Another try may help; the server may have said when.
    Passing {
        /// What happened.
        why: String,
        /// `Retry-After`.
        after: Option<Duration>,
    },
    /// An answer came that is none.
    Malformed(FailedCall),
    /// Another try would end alike.
    Final(anyhow::Error),
}

/// A sleep that Ctrl-C ends.
pub(super) struct Rest {
    pub cancel: Cancel,
    pub sleep: fn(Duration),
}

impl Rest {
    /// Sleeps so long.
    ///
    /// # Errors
    /// [`Interrupted`].
    pub fn take(&self, mut pause: Duration) -> Result<()> {
        while !self.cancel.is_raised() {
            if pause.is_zero() {
                return Ok(());
            }
            let nap = pause.min(NAP);
            (self.sleep)(nap);
            pause -= nap;
        }
        Err(Interrupted.into())
    }
}

/// Calls `attempt` until it succeeds, fails for good, or has failed `retries` times after the first.
///
/// # Errors
/// [`Unreachable`] when passing trouble came last, or the server asks for a pause of more than a minute; [`FailedCall`] when a
/// malformed answer came last; [`Interrupted`].
pub(super) fn persist<T>(
    retries: u32,
    rest: &dyn Fn(Duration) -> Result<()>,
    mut attempt: impl FnMut() -> Result<T, Trouble>,
) -> Result<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        let over = tries > retries;
        let after = match attempt() {
            Ok(value) => return Ok(value),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing { why, after: Some(after) }) if after > LONGEST => {
                let seconds = after.as_secs();
                return Err(
                    Unreachable(format!("{why}; it asks to come back in {seconds} s\nhelp: run again then")).into()
                );
            }
            Err(Trouble::Passing { why, .. }) if over => {
                let help = "see that the server runs and `base_url` is right, then run again: answered calls are kept";
                return Err(Unreachable(format!("{why} ({})\nhelp: {help}", counted(tries))).into());
            }
            Err(Trouble::Malformed(failure)) if over => {
                let (why, help) =
                    failure.reason.split_at(failure.reason.find("\nhelp: ").unwrap_or(failure.reason.len()));
                return Err(FailedCall { reason: format!("{why} ({}){help}", counted(tries)), ..failure }.into());
            }
            Err(Trouble::Passing { after, .. }) => after,
            Err(Trouble::Malformed(_)) => None,
        };
        rest(after.unwrap_or_else(|| FIRST.saturating_mul(1 << (tries - 1).min(6)).min(LONGEST)))?;
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
    fn tried(retries: u32, troubles: Vec<Trouble>) -> (Result<u32>, Vec<u64>) {
        let pauses = RefCell::new(Vec::new());
        let mut troubles = troubles.into_iter();
        let rest = |pause: Duration| {
            pauses.borrow_mut().push(pause.as_secs());
            Ok(())
        };
        let result = persist(retries, &rest, || match troubles.next() {
            Some(trouble) => Err(trouble),
            None => Ok(7),
        });
        (result, pauses.into_inner())
    }

    fn passing(after: Option<u64>) -> Trouble {
        Trouble::Passing { why: "busy".into(), after: after.map(Duration::from_secs) }
    }

    fn malformed() -> Trouble {
        Trouble::Malformed(FailedCall { status: Some(200), reason: "no JSON".into(), raw: "<html>".into() })
    }

    #[test]
    fn passing_trouble_is_waited_out_for_twice_as_long_each_time() {
        let (result, pauses) = tried(9, (0..9).map(|_| passing(None)).collect());
        assert_eq!((result.unwrap(), pauses), (7, vec![1, 2, 4, 8, 16, 32, 60, 60, 60]));
        let (result, pauses) = tried(3, vec![passing(Some(30)), malformed(), passing(None)]);
        assert_eq!((result.unwrap(), pauses), (7, vec![30, 2, 4]));
    }

    #[test]
    fn it_gives_up_with_a_type_that_says_why() {
        let (result, pauses) = tried(1, vec![passing(None), passing(None)]);
        let error = result.unwrap_err();
        assert!(error.is::<Unreachable>() && error.to_string().starts_with("busy (2 tries)\nhelp: "), "{error}");
        assert_eq!(pauses, [1]);
        let (result, pauses) = tried(4, vec![passing(Some(61))]);
        assert!(result.unwrap_err().is::<Unreachable>() && pauses.is_empty());
        let (result, pauses) = tried(4, vec![Trouble::Final(anyhow::anyhow!("no"))]);
        assert!(!result.unwrap_err().is::<Unreachable>() && pauses.is_empty());
        let (result, _) = tried(2, vec![passing(None), malformed(), malformed()]);
        let failed = result.unwrap_err().downcast::<FailedCall>().unwrap();
        assert_eq!((failed.status, &failed.reason[..], &failed.raw[..]), (Some(200), "no JSON (3 tries)", "<html>"));
    }

    #[test]
    fn a_rest_ends_when_somebody_asks_for_it() {
        let rest = Rest { cancel: Cancel::default(), sleep: |_| {} };
        rest.take(LONGEST).unwrap();
        rest.cancel.raise();
        assert!(rest.take(LONGEST).unwrap_err().is::<Interrupted>());
    }
}
