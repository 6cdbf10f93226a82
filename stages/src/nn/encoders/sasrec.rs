//! SASRec's encoder: a transformer in which each item of a session sees itself and what came before it.
//!
//! x_p = W·e_p + c + place_p; attention blocks with a causal mask: the item of p turns ago attends to items of p or more turns ago; the
//! state is LN(x_0), the last item's token.
//!
//! Kang and McAuley 2018 (*Self-attentive sequential recommendation*, arXiv 1808.09781, §3). Places are counted from the last
//! item on, so that a short session needs no padding in front. Published: 2 blocks, one head, width 50, the 50 or 200 last
//! items, dropout 0.2 to 0.5. A session without an item is 0. Left out: dropout, and the shared weights of input and output
//! (the policy network has separate item vectors for each). The feed-forward part is that of
//! [`AttentionBlock`]: twice as wide, with tanh instead of relu.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Linear, Module};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nn::encoders::history::History;
use crate::nn::{AttentionBlock, Init, LayerNorm, MASKED_LOGIT, Params};

/// Settings of the encoder `sasrec`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SasRec {
    /// Number of blocks, at least 1; the paper: 2.
    pub n_layers: usize,
    /// Size of an item's token, a multiple of `n_heads`; the paper: 50.
    pub hidden_size: usize,
    /// Attention heads of each block, at least 1; the paper: 1.
    pub n_heads: usize,
}

impl Default for SasRec {
    fn default() -> Self {
        Self { n_layers: 2, hidden_size: 32, n_heads: 1 }
    }
}

/// The parameters.
pub(in crate::nn) struct SasRecNet {
    item: Linear,
    /// `[W, width]`, the last item's first.
    place: Tensor,
    /// `[1, 1, W, W]` of 0 where the column is as old as the row or older, and else [`MASKED_LOGIT`].
    past: Tensor,
    blocks: Vec<AttentionBlock>,
    norm: LayerNorm,
}

impl SasRecNet {
    /// New parameters below `encoder`, for windows of `window` items with vectors of `vector` numbers.
    pub fn new(shape: &SasRec, vector: usize, window: usize, params: &mut Params, init: &mut Init) -> Result<Self> {
        let width = shape.hidden_size;
        let weight = params.add("encoder.item.weight", &init.glorot(width, vector, 1.0)?)?;
        let bias = params.add("encoder.item.bias", &Tensor::zeros(width, DType::F32, &Device::Cpu)?)?;
        let younger = |k: usize| if k % window < k / window { MASKED_LOGIT } else { 0.0 };
        let past = Tensor::from_iter((0..window * window).map(younger), params.device())?;
        Ok(Self {
            item: Linear::new(weight, Some(bias)),
            place: params.add("encoder.place", &init.normal(&[window, width], 0.1)?)?,
            past: past.reshape((1, 1, window, window))?,
            blocks: (0..shape.n_layers)
                .map(|k| AttentionBlock::new(params, &format!("encoder.block.{k}"), width, shape.n_heads, init))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(params, "encoder.norm", width)?,
        })
    }

    /// `[B, width]`.
    pub fn forward(&self, recent: &History) -> candle_core::Result<Tensor> {
        let mut x = self.item.forward(recent.items)?.broadcast_add(&self.place)?;
        let absent = ((recent.mask - 1.0)? * -MASKED_LOGIT)?.unsqueeze(1)?.unsqueeze(1)?;
        let mask = absent.broadcast_add(&self.past.to_dtype(x.dtype())?)?;
        for block in &self.blocks {
            x = block.forward(&x, &mask)?;
        }
        let last = self.norm.forward(&x.narrow(1, 0, 1)?.squeeze(1)?)?;
        last.broadcast_mul(&recent.mask.narrow(1, 0, 1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one state of three items, newest first, is encoded as, and what the older ones of them are before the last item came.
    #[test]
    fn an_item_sees_nothing_that_came_after_it() {
        let shape = SasRec { n_layers: 2, hidden_size: 4, n_heads: 2 };
        let mut init = Init::new(4);
        let causal = SasRecNet::new(&shape, 2, 3, &mut Params::in_f64(), &mut init).unwrap();
        let items = init.normal(&[1, 3, 2], 1.0).unwrap().to_dtype(DType::F64).unwrap();
        let newer = init.normal(&[1, 1, 2], 1.0).unwrap().to_dtype(DType::F64).unwrap();
        let other = Tensor::cat(&[&newer, &items.narrow(1, 1, 2).unwrap()], 1).unwrap();
        let inside = |items: &Tensor| {
            let mut x = causal.item.forward(items).unwrap().broadcast_add(&causal.place).unwrap();
            for block in &causal.blocks {
                x = block.forward(&x, &causal.past).unwrap();
            }
            x.to_vec3::<f64>().unwrap().remove(0)
        };
        let (with, without) = (inside(&items), inside(&other));
        assert_eq!(with[1..], without[1..], "the older items do not see the last one");
        assert_ne!(with[0], without[0]);
        assert_ne!(inside(&items.narrow(1, 0, 3).unwrap()), inside(&items.flip(&[1]).unwrap()), "order is seen");
    }

    #[test]
    fn a_session_without_an_item_is_nothing() {
        let causal = SasRecNet::new(&SasRec::default(), 2, 3, &mut Params::default(), &mut Init::new(4)).unwrap();
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let (users, items, none) = (zeros(&[1, 2]), zeros(&[1, 3, 2]), zeros(&[1, 3]));
        let recent = History { users: &users, items: &items, rewards: &none, mask: &none };
        assert_eq!(causal.forward(&recent).unwrap().to_vec2::<f32>().unwrap(), [[0.0; 32]]);
    }
}
