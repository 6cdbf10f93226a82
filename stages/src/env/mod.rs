//! Simulated recommendation: episodes in a [`World`](crate::artifact::World), and who plays them.

mod agent;
mod candidates;
mod controls;
mod cycle;
mod episode;
mod episodes;
mod learned_reward;
mod near;
mod observation;
mod plan;
mod popularity;
#[cfg(test)]
mod protocols;
mod student;
mod texts;

pub use agent::{Agent, Decide, play};
pub use candidates::candidates;
pub use controls::{GreedyOracle, Popular, Random, Ranked};
pub use cycle::Cycle;
pub use episode::Episode;
pub use episodes::Episodes;
#[cfg(test)]
pub(crate) use episodes::tests::cluster_world;
pub use learned_reward::{Features, LearnedReward, TEXTS, last_steps};
pub use observation::{Observation, observe};
pub use plan::{Follow, Plan, plans, unplanned};
pub use popularity::{Popularity, USUAL_PRIOR};
pub use student::{Student, WithoutRepeats, states, states_for_candidates};
pub use texts::text_vectors;
