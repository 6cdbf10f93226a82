//! Inverse reinforcement learning: from demonstrations to a reward and to how much each demonstrated step counts.
//!
//! The one place where a stage folder uses another: adversarial methods need a generator, which is `rl`'s actor-critic.

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

use crate::artifact::{Curves, Demonstrations, Items, RewardModel, RewardPairs, Weights, World};

pipeline::ports! {
    /// What is learned from.
    pub struct Inputs {
        /// The training world.
        world: World,
        /// What the expert did in it.
        demonstrations: Demonstrations,
        /// The catalogue: with it the discriminator reads the items' titles and genres in the place of the world's vectors.
        items: Option<Items>,
        /// The true world, where it is known; for the picture `pairs` alone: nothing is learned from it, so it may be the judge.
        truth: Option<World>,
    }
}

pipeline::ports! {
    /// What comes out.
    pub struct Outputs {
        /// r_IRL.
        reward: RewardModel,
        /// How much each demonstrated step counts.
        weights: Weights,
        /// `discriminator_loss`, `accuracy`, `generator_return`, `generator_length`, `demonstrated_reward`, `generated_reward` and
        /// `reward_scale` a round.
        curves: Curves,
        /// The learned reward beside that of `truth`, or of `world` without, step by step.
        pairs: RewardPairs,
    }
}
