//! Trainable modules on candle, made so that equal seeds give equal bytes and no gradient is cut.
//!
//! Known traps are avoided here once: candle's CPU backend draws unseeded (so every initial weight comes from [`Init`]),
//! `softmax_last_dim`, `LayerNorm` and `RmsNorm` cut the gradient silently, and `bce_with_logit` overflows.

mod action_advantages;
mod action_choice;
mod action_log_prob;
pub mod actor_critic;
mod adam_w;
pub mod adversarial;
mod attention;
pub mod bcq_policy;
mod caser;
pub mod categorical;
pub mod decision_transformer;
pub mod device;
pub mod discriminator;
mod discriminator_settings;
mod discriminator_trainer;
mod embedding;
mod encoder;
mod gru;
mod history;
pub mod importance_weights;
mod init;
mod item_features;
mod item_similarity;
mod item_tables;
pub mod item_values;
mod kernels;
mod layer_norm;
pub mod loss;
pub mod mixture_policy;
mod mlp;
mod optimizer;
pub mod params;
pub mod policy_io;
mod policy_network;
pub mod policy_output;
mod reward_form;
pub mod row_table;
pub mod sampled_softmax;
mod sasrec;
pub mod schedule;
mod similarity_vectors;
pub mod spectral;
pub mod state_batch;
mod state_features;
pub mod subspace;
pub mod support;

mod top_items;
pub mod training;

#[cfg(test)]
mod actor_critic_tests;
#[cfg(test)]
pub mod cuda_tests;
#[cfg(test)]
pub mod gradient_check;

pub use action_advantages::ActionAdvantages;
pub use action_log_prob::{ActionLogProb, action_log_prob};
pub use actor_critic::ActorCritic;
pub use adam_w::AdamW;
pub use attention::AttentionBlock;
pub use caser::Caser;
pub use discriminator::Discriminator;
pub use discriminator_settings::DiscriminatorSettings;
pub use discriminator_trainer::{DiscriminatorMetrics, DiscriminatorTrainer};
pub use embedding::{Embedding, check_ids};
pub use encoder::{Average, Encoder, GruEncoder, Transformer};
pub use gru::Gru;
pub use init::{Init, rng};

#[cfg(test)]
pub(crate) use item_similarity::ItemSimilarity;
pub use item_similarity::{TABLE_ITEMS, item_bandwidth};
pub use item_tables::{add_items, item_tables};
pub use item_values::{Expectation, ItemValues, StreamedValues, expected};
pub use kernels::{LANES, MASKED_LOGIT, embedding, exp, masked_mean, with_simd};
pub use layer_norm::LayerNorm;
pub use mlp::Mlp;
pub use optimizer::{Optimizer, OptimizerDefaults};
pub use params::Params;
pub use policy_network::PolicyNetwork;
pub use reward_form::RewardForm;
pub use sasrec::SasRec;
pub use schedule::Schedule;
pub use top_items::top_items;
pub use training::{TrainingCheckpoints, TrainingState};
