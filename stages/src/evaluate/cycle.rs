//! A few items in turn.

use anyhow::{Result, ensure};
use rand_chacha::ChaCha8Rng;

use crate::env::{Agent, Episodes};

/// Shows its items one after the other, again and again: where users forget an item before it comes back, nobody is bored.
pub(super) struct Cycle {
    pub items: Vec<u32>,
}

impl Agent for Cycle {
    fn act(&self, episodes: &Episodes, live: &[usize], _: &mut [ChaCha8Rng]) -> Result<Vec<u32>> {
        ensure!(!self.items.is_empty(), "a cycle without items");
        Ok(live.iter().map(|&e| self.items[episodes.items(e).len() % self.items.len()]).collect())
    }
}
