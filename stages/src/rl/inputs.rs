//! Inputs that several learners share.

use crate::artifact::{Demonstrations, RewardModel, Weights, World};

pipeline::ports! {
    /// Of a learner that plays in a world.
    pub struct Online {
        /// The training world, never the evaluation world.
        world: World,
        /// r_IRL, required where `omega` is above 0.
        reward: Option<RewardModel>,
    }
}

pipeline::ports! {
    /// Of a learner that plays in a world and has a behaviour-cloning loss.
    pub struct OnlineWithDemos {
        /// The training world, never the evaluation world.
        world: World,
        /// r_IRL, required where `omega` is above 0.
        reward: Option<RewardModel>,
        /// Of the behaviour-cloning loss, required where `bc_coef` is above 0.
        demonstrations: Option<Demonstrations>,
        /// How much each demonstrated step counts; 1 without.
        weights: Option<Weights>,
    }
}

pipeline::ports! {
    /// Of a learner that has a log, and never plays.
    pub struct Offline {
        /// The training world, for its user and item vectors only.
        world: World,
        /// The log: states, items and rewards.
        demonstrations: Demonstrations,
    }
}
