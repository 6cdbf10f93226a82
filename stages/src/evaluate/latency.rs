//! How long one recommendation takes when users come one by one, as when serving. Goes to the run's record, never into an
//! object.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::artifact::World;
use crate::env::{Agent, Episodes};
use crate::nn::rng;

/// Recommendations that are timed at most.
const MOST: usize = 200;

/// Median and 99th percentile over some recommendations, in words.
pub(super) fn latency(world: &World, users: &[u32], agent: &dyn Agent) -> Result<String> {
    let mut durations: Vec<Duration> = Vec::with_capacity(MOST);
    let mut episodes = Episodes::new(world, users);
    for e in 0..episodes.len() {
        while episodes.end(e).is_none() && durations.len() < MOST {
            let mut draws = [rng(&[0x1a7e, durations.len() as u64])];
            let begun = Instant::now();
            let action = agent.act(&episodes, &[e], &mut draws)?;
            durations.push(begun.elapsed());
            episodes.step(&[e], &action)?;
        }
    }
    durations.sort_unstable();
    let milliseconds =
        |share: f64| durations[((durations.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    let (median, high) = (milliseconds(0.5), milliseconds(0.99));
    Ok(format!("median {median:.3} ms, 99 % within {high:.3} ms ({} recommendations, one at a time)", durations.len()))
}
