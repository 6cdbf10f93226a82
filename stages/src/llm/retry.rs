//! When a remote call is tried again.
//!
//! One class of failure is: too many requests (429), a server's own trouble (5xx), and a connection that did not come about
//! or broke off. Pauses double from one second, or are what the server asks for. No jitter: a handful of requests in flight
//! do not stampede, and equal runs then behave alike.

use std::time::Duration;

use anyhow::Result;
use pipeline::Unreachable;

/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause, asked for or not.
const LONGEST: Duration = Duration::from_secs(60);

/// Why a call failed.
pub(super) enum Trouble {
    /// Another try may help; the server may have said when.
    Passing {
        /// What happened.
        why: String,
        /// `Retry-After`.
        after: Option<Duration>,
    },
    /// Another try would end alike.
    Final(anyhow::Error),
}

/// Calls `attempt` until it succeeds, fails for good, or has failed `retries` times after the first.
///
/// # Errors
/// [`Unreachable`] when only passing trouble came, or the server asks for a pause of more than a minute.
pub(super) fn persist<T>(
    retries: u32,
    pause: &dyn Fn(Duration),
    mut attempt: impl FnMut() -> Result<T, Trouble>,
) -> Result<T> {
    let mut failed = 0;
    loop {
        let (why, after) = match attempt() {
            Ok(value) => return Ok(value),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing { why, after }) => (why, after),
        };
        failed += 1;
        if let Some(after) = after.filter(|&after| after > LONGEST) {
            let seconds = after.as_secs();
            return Err(Unreachable(format!("{why}; it asks to come back in {seconds} s\nhelp: run again then")).into());
        }
        if failed > retries {
            let help =
                "help: see that the server runs and `base_url` is right, then run again: answered calls are kept";
            return Err(Unreachable(format!("{why} ({failed} tries)\n{help}")).into());
        }
        pause(after.unwrap_or_else(|| FIRST.saturating_mul(1 << (failed - 1).min(6)).min(LONGEST)));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// What comes of these troubles one after the other, and the pauses between.
    fn tried(retries: u32, troubles: Vec<Trouble>) -> (Result<u32>, Vec<u64>) {
        let pauses = RefCell::new(Vec::new());
        let mut troubles = troubles.into_iter();
        let result = persist(retries, &|pause| pauses.borrow_mut().push(pause.as_secs()), || match troubles.next() {
            Some(trouble) => Err(trouble),
            None => Ok(7),
        });
        (result, pauses.into_inner())
    }

    fn passing(after: Option<u64>) -> Trouble {
        Trouble::Passing { why: "busy".into(), after: after.map(Duration::from_secs) }
    }

    #[test]
    fn passing_trouble_is_waited_out_for_twice_as_long_each_time() {
        let (result, pauses) = tried(9, (0..9).map(|_| passing(None)).collect());
        assert_eq!((result.unwrap(), pauses), (7, vec![1, 2, 4, 8, 16, 32, 60, 60, 60]));
        let (result, pauses) = tried(2, vec![passing(Some(30)), passing(None)]);
        assert_eq!((result.unwrap(), pauses), (7, vec![30, 2]));
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
    }
}
