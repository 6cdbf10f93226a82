//! What a masked item or key gets added to its score.

use candle_core::Tensor;

/// Added to logits and attention scores that are masked: e^−1e9 is 0, and unlike −∞ it keeps gradients finite.
pub const MASKED_LOGIT: f64 = -1e9;

/// `scores [B, I]`, with [`MASKED_LOGIT`] added where `allowed [B, I]` is 0.
pub fn mask_logits(scores: &Tensor, allowed: &Tensor) -> candle_core::Result<Tensor> {
    // A finite number, and not −∞: gradients stay finite.
    scores + ((allowed - 1.0)? * -MASKED_LOGIT)?
}
