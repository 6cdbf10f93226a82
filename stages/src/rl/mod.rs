//! Learners: from a world, a learned reward and demonstrations to a policy.
//!
//! One algorithm, one file, always in the same order: what it is, its objective, its source, what is left out; the config;
//! the ports; the stage; the learner; pure losses; tests. Each is a [`PolicyLearner`], runs in the loop of [`learner`] and
//! keeps the same conformance suite. Every learner reads observations, never quit distances, and all that is random is
//! drawn from (seed, purpose, update), so a training resumes exactly from any checkpoint.

pub mod a2c;
mod advantage;
mod advantage_weighted;
mod batch;
pub mod bc;
mod bc_dataset;
mod bcq;
mod c51;
#[cfg(test)]
mod conformance;
mod correlation;
mod cql;
mod crr;
#[cfg(test)]
mod cuda_tests;
mod dataset;
mod decision_transformer;
mod dpo;
mod dqn;
mod entropy;
mod epsilon_greedy;
mod group;
mod ilrec;
mod ilrec_discriminator;
pub mod inputs;
mod iql;
mod kl_config;
#[cfg(test)]
mod large_tests;
pub mod learner;
mod learner_memory;
mod memory;
pub mod mixed_reward;
mod mixture;
mod network;
mod policy_kinds;
mod ppo;
mod q_values;
mod reference;
mod reinforce;
mod replay_buffer;
mod sac;
mod settings;
mod shaping;
mod sqn;
mod target_network;
mod validation;
mod warm_start;

pub use a2c::A2c;
pub use bc::BehaviourCloning;
pub use bc_dataset::BcDataset;
pub use bcq::Bcq;
pub use c51::C51;
pub use cql::Cql;
pub use crr::Crr;
pub use decision_transformer::DecisionTransformer;
pub use dpo::Dpo;
pub use dqn::Dqn;
pub use entropy::EntropyBy;
pub use group::Group;
pub use ilrec::IlRec;
pub use iql::Iql;
pub use learner::PolicyLearner;
pub use mixture::Mixture;
pub use network::NetworkConfig;
pub use policy_kinds::{is_value_based, value_based};
pub use ppo::Ppo;
pub use reinforce::Reinforce;
pub use sac::Sac;
pub use shaping::Shaping;
pub use sqn::Sqn;

use crate::artifact::{Curves, PolicyFile};

pipeline::ports! {
    /// What every learner gives.
    pub struct Outputs {
        /// The trained policy.
        policy: PolicyFile,
        /// What happened while it learned.
        curves: Curves,
    }
}
