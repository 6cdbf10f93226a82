//! Simulated recommendation: episodes in a [`World`](crate::artifact::World), and the agents that play them.

mod agent;
mod baselines;
mod best_first;
mod episode;
mod episodes;
mod fixed_ranking;
mod imagined_episode;
mod item_ranking;
mod learned_reward;
mod next_candidates;
mod observation;
mod plan;
mod policy_agent;
mod popular_cycle;
mod popularity;
#[cfg(test)]
mod protocol_tests;
mod similarity_mask;
mod text_embedding;

pub use agent::{Agent, EpisodeAgent, play};
pub use baselines::{GreedyOracle, Popular, Random, RetrieverAgent};
pub use episode::Episode;
pub use episodes::Episodes;
#[cfg(test)]
pub(crate) use episodes::tests::cluster_world;
pub use fixed_ranking::FixedRanking;
pub use imagined_episode::ImaginedEpisode;
pub use item_ranking::ItemRanking;
pub use learned_reward::{Features, LearnedReward, TEXTS, last_steps};
pub use next_candidates::next_candidates;
pub use observation::{Observation, observe};
pub use plan::{Plan, PlanAgent, planning_unsupported, plans};
pub use policy_agent::{PolicyAgent, WithoutRepeats, states, states_for_candidates};
pub use popular_cycle::PopularCycle;
pub use popularity::{Popularity, USUAL_PRIOR};
pub use text_embedding::embed_texts;
