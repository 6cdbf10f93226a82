//! Demonstrations as training pairs.

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::artifact::{Demonstrations, Weights, World};
use crate::env::{Observation, states};
use crate::nn::{ActorCritic, choice};

/// What the expert did in each state, in the order of the demonstrations: N pairs.
pub struct Demonstrated {
    /// `[N]` states.
    pub observation: Observation,
    /// `[N]` items.
    pub actions: Vec<u32>,
    /// `[N]`, mean 1.
    pub weights: Vec<f32>,
}

impl Demonstrated {
    /// Pairs with states of the last `window` items. Without weights each counts 1.
    pub fn new(
        demonstrations: &Demonstrations,
        weights: Option<&Weights>,
        world: &World,
        window: usize,
    ) -> Result<Self> {
        let mut pairs = Self { observation: Observation::of(world, window), actions: vec![], weights: vec![] };
        for trajectory in &demonstrations.trajectories {
            ensure!((trajectory.user as usize) < world.users(), "user {} is not in the world", trajectory.user);
            let items: Vec<u32> = trajectory.steps.iter().map(|step| step.item).collect();
            let rewards: Vec<f32> = trajectory.steps.iter().map(|step| step.reward).collect();
            let (horizon, padding) = (world.rules.horizon, world.items() as u32);
            for (step, &item) in items.iter().enumerate() {
                ensure!((item as usize) < world.items(), "item {item} is not in the world");
                pairs.observation.push(trajectory.user, &items[..step], &rewards[..step], horizon, padding);
                pairs.actions.push(item);
            }
        }
        pairs.weights = match weights {
            Some(weights) => weights.weight.clone(),
            None => vec![1.0; pairs.actions.len()],
        };
        ensure!(
            pairs.weights.len() == pairs.actions.len(),
            "{} weights for {} demonstrated steps: they come from other demonstrations",
            pairs.weights.len(),
            pairs.actions.len()
        );
        ensure!(!pairs.actions.is_empty(), "no demonstrated step to imitate");
        if let Some(row) = pairs.weights.iter().position(|w| !w.is_finite()) {
            anyhow::bail!("the weight of demonstrated step {row} is {}, which is not finite", pairs.weights[row]);
        }
        Ok(pairs)
    }

    /// Pairs for a learner that imitates beside learning: those of [`Demonstrated::new`] where `imitation` is above 0.
    ///
    /// # Errors
    /// When there is something to imitate by, but nothing to imitate.
    pub fn wanted(
        imitation: f64,
        demonstrations: Option<&Demonstrations>,
        weights: Option<&Weights>,
        world: &World,
        window: usize,
    ) -> Result<Option<Self>> {
        match demonstrations {
            Some(demonstrations) if imitation > 0.0 => Ok(Some(Self::new(demonstrations, weights, world, window)?)),
            None if imitation > 0.0 => anyhow::bail!(
                "imitation is {imitation}, but no `demonstrations` are connected. help: connect them, or set `imitation: 0`"
            ),
            _ => Ok(None),
        }
    }

    /// Up to `count` different rows.
    #[must_use]
    pub fn draw(&self, count: usize, mut draw: ChaCha8Rng) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.actions.len()).collect();
        rows.shuffle(&mut draw);
        rows.truncate(count);
        rows
    }

    /// L_imit = −mean(w · log π(a|s)) over the pairs at `rows` (IL-Rec's imitation loss).
    pub fn imitation_loss(&self, network: &ActorCritic, rows: &[usize]) -> Result<Tensor> {
        let states = states(network, &self.observation.take(rows))?;
        let actions: Vec<u32> = rows.iter().map(|&row| self.actions[row]).collect();
        let weights = Tensor::from_iter(rows.iter().map(|&row| self.weights[row]), &Device::Cpu)?;
        Ok((choice(&network.logits(&states)?, &actions)?.log_probability * weights)?.mean_all()?.neg()?)
    }
}
