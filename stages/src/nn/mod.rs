//! Trainable modules on candle, made so that equal seeds give equal bytes and no gradient is cut.
//!
//! Known traps are avoided here once: candle's CPU backend draws unseeded (so every initial weight comes from [`Init`]),
//! `softmax_last_dim`, `LayerNorm` and `RmsNorm` cut the gradient silently, and `bce_with_logit` overflows.

mod adam_w;
mod init;
pub mod loss;
mod mlp;
mod params;

#[cfg(test)]
pub mod gradient_check;

pub use adam_w::AdamW;
pub use init::{Init, rng};
pub use mlp::Mlp;
pub use params::Params;
