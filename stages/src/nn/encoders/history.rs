//! What state encoders read.

use candle_core::Tensor;

/// The input of an encoder: the last W items of B states, newest first.
pub(in crate::nn) struct History<'t> {
    /// `[B, D]`, the users' vectors.
    pub users: &'t Tensor,
    /// `[B, W, D]`, the items' vectors; arbitrary where the mask is 0.
    pub items: &'t Tensor,
    /// `[B, W]`, their rewards.
    pub rewards: &'t Tensor,
    /// `[B, W]`: 1 where there is an item, else 0.
    pub mask: &'t Tensor,
}
