//! r_IRL: what an inverse-RL stage learned from the demonstrations, as a function of state and action.

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::Observation;
use crate::artifact::{RewardModel, World};
use crate::nn::Discriminator;
use crate::nn::loss::softplus;

/// What a discriminator sees of a state and an action: `[v_u, mean of the window's v_i, v_a, v_u ∘ v_a, progress]`, all from
/// the training world's vectors.
pub struct Features<'w> {
    world: &'w World,
}

impl<'w> Features<'w> {
    /// Features from that world's vectors.
    #[must_use]
    pub fn new(world: &'w World) -> Self {
        Self { world }
    }

    /// F = 4·D + 1.
    #[must_use]
    pub fn width(&self) -> usize {
        4 * self.world.user_vectors.shape[1] + 1
    }

    /// B states and `actions [B]` → `[B, F]`.
    pub fn compute(&self, observation: &Observation, actions: &[u32]) -> Result<Tensor> {
        ensure!(observation.len() == actions.len(), "{} states, {} actions", observation.len(), actions.len());
        let width = self.world.user_vectors.shape[1];
        let features = |(row, &action): (usize, &u32)| {
            let user = self.world.user_vectors.row(observation.user[row] as usize);
            let item = self.world.item_vectors.row(action as usize);
            let recent = &observation.recent[row * observation.window..(row + 1) * observation.window];
            let shown: Vec<u32> = recent.iter().copied().filter(|&i| (i as usize) < self.world.items()).collect();
            let mean = (0..width).map(|d| {
                let sum: f32 = shown.iter().map(|&i| self.world.item_vectors.row(i as usize)[d]).sum();
                sum / shown.len().max(1) as f32
            });
            let mut features = Vec::with_capacity(self.width());
            features.extend_from_slice(user);
            features.extend(mean);
            features.extend_from_slice(item);
            features.extend(user.iter().zip(item).map(|(u, i)| u * i));
            features.push(observation.progress[row]);
            features
        };
        let rows: Vec<Vec<f32>> = actions.par_iter().enumerate().with_min_len(64).map(features).collect();
        let data = rows.concat();
        Ok(Tensor::from_vec(data, (actions.len(), self.width()), &Device::Cpu)?)
    }
}

/// A learned reward, ready to be asked.
pub struct LearnedReward<'w> {
    features: Features<'w>,
    discriminator: Discriminator,
}

impl<'w> LearnedReward<'w> {
    /// The reward of a file, over the vectors of the world that it was learned in, for states of the last `window` items.
    ///
    /// # Errors
    /// When it was learned from other states or in another world: the numbers would fit and mean nothing.
    pub fn load(model: &RewardModel, world: &'w World, window: usize) -> Result<Self> {
        let discriminator = Discriminator::import(&model.0)?;
        let shape = discriminator.shape();
        ensure!(
            shape.window == window,
            "the reward was learned from states of {} items, the policy's hold {window}. help: give both stages the same \
             `network.window` (in irl.gail it is `policy.network.window`)",
            shape.window
        );
        ensure!(
            shape.vectors == world.vectors_digest(),
            "the reward was learned in another world. help: connect the `world` of the stage that learned it"
        );
        Ok(Self { features: Features::new(world), discriminator })
    }

    /// r_IRL = −log(1 − D_E) = softplus(logit) ≥ 0, as IL-Rec has it, of B states and `actions [B]` → `[B]`.
    pub fn rewards(&self, observation: &Observation, actions: &[u32]) -> Result<Vec<f32>> {
        let logits = self.discriminator.logits_expert_is_high(&self.features.compute(observation, actions)?)?;
        Ok(softplus(&logits)?.to_vec1()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;
    use crate::nn::discriminator::Shape;

    #[test]
    fn a_reward_of_other_states_or_of_another_world_is_refused() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 4, 3);
        let features = Features::new(&world);
        let shape =
            Shape { inputs: features.width(), window: 2, vectors: world.vectors_digest(), hidden: 4, clip: 10.0 };
        let model = RewardModel(Discriminator::new(shape, 1).unwrap().export().unwrap());
        let error = |world: &World, window| LearnedReward::load(&model, world, window).err().map(|e| e.to_string());
        assert_eq!(error(&world, 2), None);
        assert!(error(&world, 3).unwrap().contains("states of 2 items, the policy's hold 3"));
        let mut other = world.clone();
        other.user_vectors.data[0] += 0.5;
        assert!(error(&other, 2).unwrap().contains("in another world"));
    }
}
