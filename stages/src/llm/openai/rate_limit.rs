//! Limits requests and tokens per minute over all threads.
//!
//! A token bucket with room for one request: each request delays the next by its share of the minute. There is no burst after a
//! pause, and no window of a minute exceeds the limit except by the request that opens it. When the actual tokens of a request
//! are known, they correct the delay.
//!
//! Not here: requests of other processes. Each process has its own limiter.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The earliest times of the next request, as durations since the clock's start.
pub(super) struct RateLimiter {
    requests_per_minute: Option<f64>,
    tokens_per_minute: Option<f64>,
    next: Mutex<Next>,
}

#[derive(Default)]
struct Next {
    request: Duration,
    tokens: Duration,
}

/// The seconds of a minute that `amount` of `per_minute` takes.
fn share(amount: u64, per_minute: f64) -> Duration {
    Duration::try_from_secs_f64(60.0 * amount as f64 / per_minute).unwrap_or(Duration::MAX / 4)
}

impl RateLimiter {
    pub fn new(requests_per_minute: Option<f64>, tokens_per_minute: Option<f64>) -> Self {
        Self { requests_per_minute, tokens_per_minute, next: Mutex::default() }
    }

    /// Reserves the next slot for a request of about `tokens` tokens; its time is `now` or later.
    pub fn acquire(&self, now: Duration, tokens: u64) -> Duration {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = now;
        if self.requests_per_minute.is_some() {
            at = at.max(next.request);
        }
        if self.tokens_per_minute.is_some() {
            at = at.max(next.tokens);
        }
        if let Some(rate) = self.requests_per_minute {
            next.request = at + share(1, rate);
        }
        if let Some(rate) = self.tokens_per_minute {
            next.tokens = at + share(tokens, rate);
        }
        at
    }

    /// Corrects for a request that took `actual` tokens where `estimated` were reserved.
    pub fn correct(&self, estimated: u64, actual: u64) {
        let Some(rate) = self.tokens_per_minute else { return };
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.tokens = if actual > estimated {
            next.tokens + share(actual - estimated, rate)
        } else {
            next.tokens.saturating_sub(share(estimated - actual, rate))
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(moments: &[Duration]) -> Vec<f64> {
        moments.iter().map(Duration::as_secs_f64).collect()
    }

    #[test]
    fn requests_are_spread_over_the_minute_without_a_burst_after_a_rest() {
        let limiter = RateLimiter::new(Some(120.0), None);
        let at = Duration::from_secs;
        let moments = [0, 0, 0, 10, 10].map(|now| limiter.acquire(at(now), 1_000_000));
        assert_eq!(seconds(&moments), [0.0, 0.5, 1.0, 10.0, 10.5]);
    }

    #[test]
    fn tokens_count_as_they_were_guessed_and_then_as_they_were() {
        let limiter = RateLimiter::new(None, Some(6000.0));
        let now = Duration::ZERO;
        let first = [limiter.acquire(now, 100), limiter.acquire(now, 200)];
        assert_eq!(seconds(&first), [0.0, 1.0]);
        limiter.correct(200, 50);
        assert_eq!(seconds(&[limiter.acquire(now, 100)]), [1.5]);
        limiter.correct(100, 1100);
        assert_eq!(seconds(&[limiter.acquire(now, 1)]), [12.5]);
        let free = RateLimiter::new(None, None);
        free.correct(1, 2);
        assert_eq!(free.acquire(now, u64::MAX), now);
    }

    #[test]
    fn the_stricter_of_two_limits_counts() {
        let limiter = RateLimiter::new(Some(60.0), Some(60.0));
        let moments = [1, 5, 1].map(|tokens| limiter.acquire(Duration::ZERO, tokens));
        assert_eq!(seconds(&moments), [0.0, 1.0, 6.0]);
    }
}
