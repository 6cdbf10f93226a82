//! What learners read that read the same.

use crate::artifact::{Demonstrations, RewardModel, Weights, World};

pipeline::ports! {
    /// Of a learner that plays in a world.
    pub struct Online {
        /// The training world; never the judging one.
        world: World,
        /// r_IRL, wanted where `omega` is above 0.
        reward: Option<RewardModel>,
    }
}

pipeline::ports! {
    /// Of a learner that plays in a world and imitates beside it.
    pub struct OnlineWithDemos {
        /// The training world; never the judging one.
        world: World,
        /// r_IRL, wanted where `omega` is above 0.
        reward: Option<RewardModel>,
        /// What to imitate, wanted where `bc_coef` is above 0.
        demonstrations: Option<Demonstrations>,
        /// How much each demonstrated step counts; 1 without.
        weights: Option<Weights>,
    }
}

pipeline::ports! {
    /// Of a learner that has a log, and never plays.
    pub struct Offline {
        /// The training world, for its vectors; it is never asked.
        world: World,
        /// The log: states, items and the rewards that were paid.
        demonstrations: Demonstrations,
    }
}
