//! Inverse reinforcement learning: a reward and weights of demonstrated steps from demonstrations.
//!
//! This is the only stage folder that uses another one: adversarial methods need a generator, which is the actor-critic of `rl`.

mod adversarial;
mod airl;
mod demo_advantage;
mod gail;
mod transitions;
mod weights;

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod cuda_tests;
#[cfg(test)]
mod tabular;

pub use airl::Airl;
pub use gail::Gail;
pub use weights::{Scheme, WeightingConfig};

use crate::artifact::{Curves, Demonstrations, ItemVectors, Items, RewardModel, RewardPairs, Weights, World};

pipeline::ports! {
    /// Inputs of inverse RL.
    pub struct Inputs {
        /// The training world.
        world: World,
        /// The expert's trajectories in that world.
        demonstrations: Demonstrations,
        /// The catalogue. With it the discriminator reads embeddings of titles and genres instead of the world's item vectors.
        items: Option<Items>,
        /// A vector for each item, such as that of its text by `embed`. The discriminator reads it instead of the world's item vectors.
        /// Not beside `items`.
        item_vectors: Option<ItemVectors>,
        /// The true world, where it is known. Only `pairs` reads it and nothing is trained on it, so it may be the evaluation world.
        true_world: Option<World>,
    }
}

pipeline::ports! {
    /// Outputs of inverse RL.
    pub struct Outputs {
        /// The learned reward r_IRL.
        reward: RewardModel,
        /// Weights of the demonstrated steps.
        weights: Weights,
        /// `discriminator_loss`, `accuracy`, `generator_return`, `generator_length`, `demonstrated_reward`, `generated_reward` and
        /// `reward_scale` of each round.
        curves: Curves,
        /// The learned reward of steps beside that of `true_world`, or of `world` where `true_world` is not connected.
        pairs: RewardPairs,
    }
}
