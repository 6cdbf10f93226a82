//! Batches of states as tensors, with their action masks.

use anyhow::{Result, ensure};
use candle_core::Tensor;

use super::MASKED_LOGIT;

/// A batch of B states as tensors; made by [`ActorCritic::states`](super::ActorCritic::states).
pub struct StateBatch {
    /// `[B]` of u32.
    pub(super) user: Tensor,
    /// `[B, W]` of u32, newest first, I for padding.
    pub(super) recent: Tensor,
    /// `[B, W]` of f32: rewards of the recent items, 0 for padding.
    pub(super) rewards: Tensor,
    /// `[B, W]` of f32: 1 where there is an item, else 0.
    pub(super) mask: Tensor,
    /// `[B, 1]` of f32: turns played over the horizon.
    pub(super) progress: Tensor,
    /// `[B·I, 2]` of f32, scaled by 100: the count of the item in `recent`, and the sum of its similarities to `recent` (see
    /// `item_similarity`). One table, so that one product weighs both.
    pub(super) similarity_features: Tensor,
    /// `[B, I]` of f32: 1 where an item may be shown, else 0; `None` where all may. See [`StateBatch::mask_actions`].
    pub(super) action_mask: Option<Tensor>,
}

impl StateBatch {
    /// Masks items, given as (row, item), such as repeats in a protocol without them: their logits become [`MASKED_LOGIT`], so
    /// that π is the distribution over the remaining items both in sampling and in learning.
    ///
    /// # Errors
    /// On a row or an item out of range, and where a state would have no item left.
    pub fn mask_actions(&mut self, forbidden: impl IntoIterator<Item = (usize, u32)>) -> Result<()> {
        let batch = self.user.dim(0)?;
        let items = self.similarity_features.dim(0)? / batch.max(1);
        let mut allowed = vec![1.0_f32; batch * items];
        for (row, item) in forbidden {
            ensure!(
                row < batch && (item as usize) < items,
                "item {item} cannot be masked in state {row}: there are {items} items and {batch} states"
            );
            allowed[row * items + item as usize] = 0.0;
        }
        let stuck = allowed.chunks_exact(items.max(1)).position(|row| row.iter().all(|&a| a == 0.0));
        ensure!(
            stuck.is_none(),
            "state {} has none of {items} items left to show\nhelp: lower `simulator.horizon` below the size of the catalogue, or \
             take `simulator.repeats: allowed`",
            stuck.unwrap_or(0)
        );
        self.action_mask = Some(Tensor::from_vec(allowed, (batch, items), self.user.device())?);
        Ok(())
    }

    /// `scores [B, I]`, with [`MASKED_LOGIT`] added where an item is masked.
    pub(super) fn mask_logits(&self, scores: &Tensor) -> candle_core::Result<Tensor> {
        match &self.action_mask {
            Some(allowed) => mask_logits(scores, allowed),
            None => Ok(scores.clone()),
        }
    }
}

/// `scores [B, I]`, with [`MASKED_LOGIT`] added where `allowed [B, I]` is 0.
pub fn mask_logits(scores: &Tensor, allowed: &Tensor) -> candle_core::Result<Tensor> {
    // A finite number, and not −∞: gradients stay finite.
    scores + ((allowed - 1.0)? * -MASKED_LOGIT)?
}
