//! Batches of states as tensors, with their action masks.

use std::sync::Arc;

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};

use crate::nn::kernels::{ItemInputs, mask_logits};

/// Scale of the similarity features: a unit of their weights is this many units of logit.
pub(in crate::nn) const FEATURE_SCALE: f32 = 100.0;

/// A batch of B states as tensors; made by [`ActorCritic::states`](crate::nn::ActorCritic::states).
pub struct StateBatch {
    /// `[B]` of u32.
    pub(in crate::nn) user: Tensor,
    /// `[B, W]` of u32, newest first, I for padding.
    pub(in crate::nn) recent: Tensor,
    /// `[B, W]` of f32: rewards of the recent items, 0 for padding.
    pub(in crate::nn) rewards: Tensor,
    /// `[B, W]` of f32: 1 where there is an item, else 0.
    pub(in crate::nn) mask: Tensor,
    /// `[B, 1]` of f32: turns played over the horizon.
    pub(in crate::nn) progress: Tensor,
    /// What the output layer reads of each item in each state.
    pub(in crate::nn) of_items: OfItems,
}

/// What is known of each item in a state: whether and how often it is in `recent`, how similar it is to `recent` (see `item_similarity`),
/// and whether it may be shown (see [`StateBatch::mask_actions`]).
pub(in crate::nn) enum OfItems {
    /// As tensors.
    Dense {
        /// `[B·I, 2]` of f32, scaled by 100: the count of the item in `recent`, and the sum of its similarities to `recent`. One table, so
        /// that one product weighs both.
        similarity_features: Tensor,
        /// `[B, I]` of f32: 1 where an item may be shown, else 0; `None` where all may.
        action_mask: Option<Tensor>,
    },
    /// As lists of the items that differ from most.
    Lists(Arc<ItemInputs>),
}

impl StateBatch {
    /// Masks items, given as (row, item), such as repeats in a protocol without them: their logits become [`MASKED_LOGIT`], so
    /// that π is the distribution over the remaining items both in sampling and in learning.
    ///
    /// # Errors
    /// On a row or an item out of range, and where a state would have no item left.
    pub fn mask_actions(&mut self, forbidden: impl IntoIterator<Item = (usize, u32)>) -> Result<()> {
        let batch = self.user.dim(0)?;
        let items = match &self.of_items {
            OfItems::Dense { similarity_features, .. } => similarity_features.dim(0)? / batch.max(1),
            OfItems::Lists(inputs) => inputs.items(),
        };
        let check = |row: usize, item: u32| {
            ensure!(
                row < batch && (item as usize) < items,
                "item {item} cannot be masked in state {row}: there are {items} items and {batch} states"
            );
            Ok(())
        };
        let stuck = match &mut self.of_items {
            OfItems::Dense { action_mask, .. } => {
                let mut allowed = vec![1.0_f32; batch * items];
                for (row, item) in forbidden {
                    check(row, item)?;
                    allowed[row * items + item as usize] = 0.0;
                }
                let stuck = allowed.chunks_exact(items.max(1)).position(|row| row.iter().all(|&a| a == 0.0));
                *action_mask = Some(Tensor::from_vec(allowed, (batch, items), self.user.device())?);
                stuck
            }
            OfItems::Lists(inputs) => {
                let mut masked = vec![vec![]; batch];
                for (row, item) in forbidden {
                    check(row, item)?;
                    masked[row].push(item);
                }
                for masked in &mut masked {
                    masked.sort_unstable();
                    masked.dedup();
                }
                let stuck = masked.iter().position(|masked| masked.len() == items);
                *inputs = Arc::new(inputs.with_masks(masked));
                stuck
            }
        };
        ensure!(
            stuck.is_none(),
            "state {} has none of {items} items left to show\nhelp: lower `simulator.horizon` below the size of the catalogue, or \
             take `simulator.repeats: allowed`",
            stuck.unwrap_or(0)
        );
        Ok(())
    }

    /// B.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.user.dims().first().copied().unwrap_or(0)
    }

    /// `[B, I]` of f32: 1 where an item may be shown, else 0; `None` where all may.
    pub(in crate::nn) fn action_mask(&self) -> candle_core::Result<Option<Tensor>> {
        match &self.of_items {
            OfItems::Dense { action_mask, .. } => Ok(action_mask.clone()),
            OfItems::Lists(inputs) => {
                let shape = (inputs.rows(), inputs.items());
                inputs.action_mask().map(|allowed| Tensor::from_vec(allowed, shape, &Device::Cpu)).transpose()
            }
        }
    }

    /// `scores [B, I]`, with [`MASKED_LOGIT`] added where an item is masked.
    pub(in crate::nn) fn mask_logits(&self, scores: &Tensor) -> candle_core::Result<Tensor> {
        match self.action_mask()? {
            Some(allowed) => mask_logits(scores, &allowed),
            None => Ok(scores.clone()),
        }
    }
}
