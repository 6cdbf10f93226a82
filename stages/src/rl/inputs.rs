//! Inputs that several learners share.

use crate::artifact::{Demonstrations, MemoryGraph, PolicyFile, RewardModel, Weights, World};

pipeline::ports! {
    /// Of a learner that plays in a world.
    pub struct Online {
        /// The training world, never the evaluation world.
        world: World,
        /// r_IRL, required where `omega` is above 0.
        reward: Option<RewardModel>,
        /// The policy to begin from; a new network without.
        init: Option<PolicyFile>,
    }
}

impl Online {
    /// In that world, without anything optional.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self { world, reward: None, init: None }
    }
}

pipeline::ports! {
    /// Of a learner of values that plays in a world and may be held near another policy.
    pub struct OnlineWithReference {
        /// The training world, never the evaluation world.
        world: World,
        /// r_IRL, required where `omega` is above 0.
        reward: Option<RewardModel>,
        /// The policy to begin from; a new network without.
        init: Option<PolicyFile>,
        /// π₀, the policy to stay near, required where `kl.coef` is above 0.
        reference: Option<PolicyFile>,
    }
}

impl OnlineWithReference {
    /// In that world, without anything optional.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self { world, reward: None, init: None, reference: None }
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
        /// The policy to begin from; a new network without.
        init: Option<PolicyFile>,
        /// π₀, the policy to stay near, required where `kl.coef` is above 0.
        reference: Option<PolicyFile>,
        /// The memory that shapes the advantages, see `shaping`.
        memory: Option<MemoryGraph>,
    }
}

impl OnlineWithDemos {
    /// In that world, without anything optional.
    #[must_use]
    pub fn new(world: World) -> Self {
        Self { world, reward: None, demonstrations: None, weights: None, init: None, reference: None, memory: None }
    }
}

pipeline::ports! {
    /// Of a learner that has a log, and never plays.
    pub struct Offline {
        /// The training world, for its vectors and rules.
        world: World,
        /// The log: states, items and rewards.
        demonstrations: Demonstrations,
        /// The policy to begin from; a new network without.
        init: Option<PolicyFile>,
    }
}

impl Offline {
    /// From that log, with a new network.
    #[must_use]
    pub fn new(world: World, demonstrations: Demonstrations) -> Self {
        Self { world, demonstrations, init: None }
    }
}
