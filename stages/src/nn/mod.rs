//! Trainable modules on candle, made so that equal seeds give equal bytes and no gradient is cut.
//!
//! Known traps are avoided here once: candle's CPU backend draws unseeded (so every initial weight comes from [`Init`]),
//! `softmax_last_dim`, `LayerNorm` and `RmsNorm` cut the gradient silently, and `bce_with_logit` overflows.

pub mod actor_critic;
mod adam_w;
pub mod adversarial;
mod attention;
mod caser;
pub mod categorical;
mod choice;
pub mod constrained;
pub mod device;
pub mod discriminator;
mod discriminator_settings;
mod embedding;
mod encoder;
mod fused;
mod gru;
mod init;
mod layer_norm;
mod likeness;
pub mod loss;
mod mlp;
mod opponent;
pub mod params;
mod reward_form;
pub mod sampled;
mod sasrec;
pub mod schedule;
pub mod served;
pub mod spectral;
pub mod states;
pub mod training;
pub mod weighting;

#[cfg(test)]
pub mod gradient_check;
#[cfg(test)]
pub mod on_a_card;

pub use actor_critic::ActorCritic;
pub use adam_w::AdamW;
pub use attention::{AttentionBlock, NOT_THERE};
pub use caser::Caser;
pub use choice::{Choice, choice};
pub use discriminator::Discriminator;
pub use discriminator_settings::DiscriminatorSettings;
pub use embedding::{Embedding, check_ids};
pub use encoder::{Average, Encoder, GruEncoder, Transformer};
pub use fused::{LANES, exp, mean_of, wide};
pub use gru::Gru;
pub use init::{Init, rng};
pub use layer_norm::LayerNorm;
pub use mlp::Mlp;
pub use opponent::{Opponent, Told};
pub use params::Params;
pub use reward_form::RewardForm;
pub use sasrec::SasRec;
pub use served::Scores;
pub use training::{State, Training};
