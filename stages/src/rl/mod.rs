//! Learners: from a world, a learned reward and demonstrations to a policy.
//!
//! One algorithm, one file, always in the same order: what it is, its objective, its source, what is left out; the config;
//! the ports; the stage; the learner; pure losses; tests. Every learner reads observations, never quit distances, and all
//! that is random is drawn from (seed, purpose, iteration), so a training resumes exactly from any checkpoint.

pub mod a2c;
pub mod bc;
mod demonstrated;
mod network;

pub use a2c::A2c;
pub use bc::BehaviourCloning;
pub use demonstrated::Demonstrated;
pub use network::NetworkConfig;

use crate::artifact::{Curves, Policy};

pipeline::ports! {
    /// What every learner gives.
    pub struct Outputs {
        /// The trained policy.
        policy: Policy,
        /// What happened while it learned.
        curves: Curves,
    }
}
