//! Inverse reinforcement learning: from demonstrations to a reward and to how much each demonstrated step counts.
//!
//! The one place where a stage folder uses another: adversarial methods need a generator, which is `rl`'s actor-critic.

mod advantage;
mod gail;

pub use gail::Gail;
