//! Trainable modules on candle, made so that equal seeds give equal bytes and no gradient is cut.
//!
//! Known traps are avoided here once: candle's CPU backend draws unseeded (so every initial weight comes from [`Init`]),
//! `softmax_last_dim`, `LayerNorm` and `RmsNorm` cut the gradient silently, and `bce_with_logit` overflows.

pub mod device;
pub mod discriminator;
pub mod encoders;
mod kernels;
pub mod layers;
pub mod optim;
pub mod policy;

#[cfg(test)]
pub mod cuda_tests;

pub use discriminator::discriminator_settings::DiscriminatorSettings;
pub use discriminator::discriminator_trainer::{DiscriminatorMetrics, DiscriminatorTrainer};
pub use discriminator::{Discriminator, adversarial, importance_weights};
pub use encoders::caser::Caser;
pub use encoders::encoder::{Average, Encoder, GruEncoder, Transformer};
pub use encoders::{state_batch, subspace};
pub use layers::attention::AttentionBlock;
pub use layers::embedding::{Embedding, check_ids};
pub use layers::gru::Gru;
pub use layers::init::{Init, rng};
pub use layers::{params, spectral};
pub use optim::adam_w::AdamW;

#[cfg(test)]
pub use optim::gradient_check;
pub use optim::{loss, row_table, schedule, training};
pub use policy::action_advantages::ActionAdvantages;
pub use policy::action_log_prob::{ActionLogProb, action_log_prob};
pub use policy::actor_critic::ActorCritic;
pub use policy::{
    actor_critic, bcq_policy, categorical, decision_transformer, item_values, mixture_policy, policy_io, policy_output,
    sampled_softmax, support,
};

pub use discriminator::reward_form::RewardForm;
#[cfg(test)]
pub(crate) use encoders::item_similarity::ItemSimilarity;
pub use encoders::item_similarity::{TABLE_ITEMS, item_bandwidth};
pub use encoders::sasrec::SasRec;
pub use kernels::{LANES, MASKED_LOGIT, embedding, exp, masked_mean, with_simd};
pub use layers::layer_norm::LayerNorm;
pub use layers::mlp::Mlp;
pub use layers::params::Params;
pub use optim::optimizer::{Optimizer, OptimizerDefaults};
pub use optim::schedule::Schedule;
pub use optim::training::{TrainingCheckpoints, TrainingState};
pub use policy::item_tables::{add_items, item_tables};
pub use policy::item_values::{Expectation, ItemValues, StreamedValues, expected};
pub use policy::policy_network::PolicyNetwork;
pub use policy::top_items::top_items;
