//! Simulated recommendation: episodes in a [`World`](crate::artifact::World), and who plays them.

mod agent;
mod controls;
mod episodes;
mod observation;

pub use agent::{Agent, play};
pub use controls::{GreedyOracle, Popular, Random, Ranked};
pub use episodes::Episodes;
pub use observation::{Observation, observe};
