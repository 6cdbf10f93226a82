//! Demonstrations as training pairs.

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};

use crate::artifact::{Demonstrations, Weights, World};
use crate::env::{Observation, states};
use crate::nn::ActorCritic;
use crate::nn::loss::log_probability;

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
        Ok(pairs)
    }

    /// L_imit = −mean(w · log π(a|s)) over the pairs at `rows` (IL-Rec's imitation loss).
    pub fn imitation_loss(&self, network: &ActorCritic, rows: &[usize]) -> Result<Tensor> {
        let states = states(network, &self.observation.take(rows))?;
        let actions = Tensor::from_iter(rows.iter().map(|&row| self.actions[row]), &Device::Cpu)?;
        let weights = Tensor::from_iter(rows.iter().map(|&row| self.weights[row]), &Device::Cpu)?;
        Ok((log_probability(&network.logits(&states)?, &actions)? * weights)?.mean_all()?.neg()?)
    }
}
