//! Whole episodes as training rows.

use anyhow::{Result, ensure};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::artifact::World;
use crate::env::{Agent, Observation, play};

/// Whole episodes, flat: S steps in all.
pub struct Batch {
    /// `[S]` states.
    pub observation: Observation,
    /// `[S]` items.
    pub actions: Vec<u32>,
    /// `[S]` rewards of the world.
    pub rewards: Vec<f32>,
    /// `[S]`, the same with the rules' penalty for leaving, if they have one: what is learned from.
    pub training_rewards: Vec<f32>,
    /// Steps of each episode, in order; sums to S.
    pub lengths: Vec<usize>,
}

impl Batch {
    /// Episodes of users drawn evenly, played by `agent`; states of the last `window` items.
    pub fn play(
        world: &World,
        agent: &dyn Agent,
        episodes: usize,
        window: usize,
        mut draw: ChaCha8Rng,
    ) -> Result<Self> {
        let users: Vec<u32> = (0..episodes).map(|_| draw.random_range(0..world.users() as u32)).collect();
        Self::play_for(&users, world, agent, window, draw)
    }

    /// One episode of each of `users`, in their order.
    pub fn play_for(
        users: &[u32],
        world: &World,
        agent: &dyn Agent,
        window: usize,
        mut draw: ChaCha8Rng,
    ) -> Result<Self> {
        let episodes = play(world, users, agent, draw.random())?;
        let mut batch = Self::empty(world, window);
        for e in 0..episodes.len() {
            batch.push(episodes.user(e), episodes.items(e), episodes.rewards(e), &episodes.training_rewards(e), world);
        }
        Ok(batch)
    }

    /// No episode, for states of the last `window` items in that world.
    #[must_use]
    pub fn empty(world: &World, window: usize) -> Self {
        let observation = Observation::of(world, window);
        Self { observation, actions: vec![], rewards: vec![], training_rewards: vec![], lengths: vec![] }
    }

    /// Adds an episode of that world.
    pub fn push(&mut self, user: u32, items: &[u32], rewards: &[f32], training_rewards: &[f32], world: &World) {
        let (horizon, padding) = (world.rules.horizon, world.items() as u32);
        for step in 0..items.len() {
            self.observation.push(user, &items[..step], &rewards[..step], horizon, padding);
        }
        self.actions.extend_from_slice(items);
        self.rewards.extend_from_slice(rewards);
        self.training_rewards.extend_from_slice(training_rewards);
        self.lengths.push(items.len());
    }

    /// S.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.actions.len()
    }

    /// Mean undiscounted world return of an episode.
    #[must_use]
    pub fn episode_return(&self) -> f64 {
        self.rewards.iter().map(|&r| f64::from(r)).sum::<f64>() / self.lengths.len().max(1) as f64
    }

    /// Mean steps of an episode.
    #[must_use]
    pub fn length(&self) -> f64 {
        self.steps() as f64 / self.lengths.len().max(1) as f64
    }

    /// `rewards [S]`, of the world or a learned one, if each is a number.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn finite(&self, rewards: Vec<f32>) -> Result<Vec<f32>> {
        ensure!(rewards.len() == self.steps(), "{} rewards for {} steps", rewards.len(), self.steps());
        if let Some(row) = rewards.iter().position(|r| !r.is_finite()) {
            anyhow::bail!(
                "the reward of user {} for item {} is {}, which is not finite\nhelp: look at the world, and at the learned \
                 reward where one is connected",
                self.observation.user[row],
                self.actions[row],
                rewards[row]
            );
        }
        Ok(rewards)
    }
}

/// Discounted return of an episode of mean reward: the unit in which critics learn.
#[must_use]
pub fn value_unit(world: &World, gamma: f64) -> f64 {
    let turns: f64 = (0..world.rules.horizon).map(|t| gamma.powi(t as i32)).sum();
    (world.rewards().mean_abs() * turns).max(1e-6)
}
