//! ε-greedy exploration.

use anyhow::Result;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::env::{Agent, Episodes, PolicyAgent};

/// Takes the best item, or with probability ε any that may be shown.
pub struct EpsilonGreedy<'a> {
    /// Who knows the best.
    pub student: PolicyAgent<'a>,
    /// ε, in [0, 1].
    pub epsilon: f64,
}

impl Agent for EpsilonGreedy<'_> {
    fn act(&self, episodes: &Episodes, live: &[usize], draws: &mut [ChaCha8Rng]) -> Result<Vec<u32>> {
        let mut actions = self.student.act(episodes, live, draws)?;
        for ((action, &e), draw) in actions.iter_mut().zip(live).zip(draws) {
            if draw.random::<f64>() < self.epsilon {
                *action = episodes.episode(e).random_allowed(draw);
            }
        }
        Ok(actions)
    }
}
