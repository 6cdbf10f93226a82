//! Agents: one contract for baselines and trained policies.

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{Episode, Episodes};
use crate::artifact::World;
use crate::nn::rng;

/// Chooses an item for each of many episodes.
pub trait Agent: Sync {
    /// One action for each episode in `live`. `draws[k]` is the generator of episode `live[k]` and the only source of
    /// chance, so that what an episode draws depends neither on the others nor on the thread count.
    fn act(&self, episodes: &Episodes, live: &[usize], draws: &mut [ChaCha8Rng]) -> Result<Vec<u32>>;

    /// Plays fresh episodes to their ends, all of them one step at a time, as networks like it; the k-th draws from
    /// (`seed`, k).
    fn play_out(&self, episodes: &mut Episodes, seed: u64) -> Result<()> {
        let mut live = episodes.live();
        let mut draws: Vec<ChaCha8Rng> = live.iter().map(|&e| generator(seed, e)).collect();
        while !live.is_empty() {
            let actions = self.act(episodes, &live, &mut draws)?;
            episodes.step(&live, &actions)?;
            // Generators move only when episodes end, and are never copied.
            let mut goes_on = live.iter().map(|&e| episodes.end(e).is_none());
            draws.retain(|_| goes_on.next().unwrap_or(false));
            live.retain(|&e| episodes.end(e).is_none());
        }
        Ok(())
    }
}

/// An agent that needs nothing but the episode at hand. Each thread plays its episodes to the end, one after the other.
pub trait EpisodeAgent: Sync {
    /// What it computes once an episode and reads at each turn. It changes no answer: from a fresh one the same items follow.
    type Notes: Default;

    /// The next item of `episode`; `notes` are the episode's own, and so is its generator `draw`.
    fn decide(&self, episode: &Episode, notes: &mut Self::Notes, draw: &mut ChaCha8Rng) -> Result<u32>;
}

impl<D: EpisodeAgent> Agent for D {
    fn act(&self, episodes: &Episodes, live: &[usize], draws: &mut [ChaCha8Rng]) -> Result<Vec<u32>> {
        let pick =
            |(&e, draw): (&usize, &mut ChaCha8Rng)| self.decide(&episodes.episode(e), &mut D::Notes::default(), draw);
        live.par_iter().zip(draws.par_iter_mut()).map(pick).collect()
    }

    fn play_out(&self, episodes: &mut Episodes, seed: u64) -> Result<()> {
        episodes.play_alone(|e| generator(seed, e), |episode, notes, draw| self.decide(episode, notes, draw))
    }
}

fn generator(seed: u64, episode: usize) -> ChaCha8Rng {
    rng(&[seed, 0xe915, episode as u64])
}

/// Plays one whole episode for each of `users`; the k-th draws from (`seed`, k).
pub fn play<'w>(world: &'w World, users: &[u32], agent: &dyn Agent, seed: u64) -> Result<Episodes<'w>> {
    let mut episodes = Episodes::new(world, users);
    agent.play_out(&mut episodes, seed)?;
    Ok(episodes)
}
