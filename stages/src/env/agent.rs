//! Who recommends: one contract for controls, networks and language models' students.

use anyhow::Result;
use rand_chacha::ChaCha8Rng;

use super::Episodes;
use crate::artifact::World;
use crate::nn::rng;

/// Chooses an item for each of many episodes.
pub trait Agent: Sync {
    /// One action for each episode in `live`. `draws[k]` is the generator of episode `live[k]` and the only source of
    /// chance, so that what an episode draws depends neither on the others nor on the thread count.
    fn act(&self, episodes: &Episodes, live: &[usize], draws: &mut [ChaCha8Rng]) -> Result<Vec<u32>>;
}

/// Plays one whole episode for each of `users`; the k-th draws from (`seed`, k).
pub fn play<'w>(world: &'w World, users: &[u32], agent: &dyn Agent, seed: u64) -> Result<Episodes<'w>> {
    let mut episodes = Episodes::new(world, users);
    let mut generators: Vec<ChaCha8Rng> = (0..users.len()).map(|k| rng(&[seed, 0xe915, k as u64])).collect();
    for _ in 0..world.rules.horizon {
        let live = episodes.live();
        if live.is_empty() {
            break;
        }
        let mut draws: Vec<ChaCha8Rng> = live.iter().map(|&e| generators[e].clone()).collect();
        let actions = agent.act(&episodes, &live, &mut draws)?;
        for (&e, draw) in live.iter().zip(draws) {
            generators[e] = draw;
        }
        episodes.step(&live, &actions);
    }
    Ok(episodes)
}
