//! One layer: RMSNorm, rotary positions, grouped-query attention, SwiGLU, with low-rank terms where a model was tuned.
//!
//! The decoder and the tuning of a model share this forward, so that a tuned model computes what was trained.

use std::sync::Arc;

use super::crew::ForwardPass;
use super::low_rank::LayerMaps;
use super::matmul::{Inputs, shared_matmuls};
use super::model_config::ModelConfig;
use super::ops::{Rope, rms_norm, swiglu};
use super::packed::Packed;
use super::projection::Projection;

/// A linear map with an optional bias.
pub(super) struct Linear {
    pub(super) weights: Arc<Packed>,
    pub(super) bias: Option<Vec<f32>>,
}

/// The weights of a layer.
pub(super) struct Layer {
    pub(super) attention_norm: Vec<f32>,
    pub(super) forward_norm: Vec<f32>,
    /// In the order of [`Projection::ALL`].
    pub(super) maps: Vec<Linear>,
}

/// What all layers of a pass share.
pub(super) struct TokenPass<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) pass: &'a ForwardPass<'a>,
    pub(super) rotation: &'a Rope,
}

/// What the backward pass of a layer needs beside its input; each `[tokens, …]`.
pub(super) struct Activations {
    /// Rotated.
    pub(super) queries: Vec<f32>,
    /// Rotated.
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
    pub(super) attended: Vec<f32>,
    /// The residual stream between attention and feed-forward part.
    pub(super) middle: Vec<f32>,
    pub(super) gate: Vec<f32>,
    pub(super) up: Vec<f32>,
}

impl Layer {
    /// Adds the layer's output to the residual stream `x [tokens, width]`. `attend` makes attention from rotated queries, rotated
    /// keys and values. The activations come back where they are to be kept.
    pub(super) fn forward(
        &self,
        tokens: &TokenPass,
        low_rank: Option<&LayerMaps>,
        x: &mut [f32],
        attend: impl FnOnce(&[f32], &[f32], &[f32]) -> Vec<f32>,
        keep: bool,
    ) -> Option<Activations> {
        use Projection::{AttentionOut, Down, Gate, Keys, Queries, Up, Values};
        let epsilon = tokens.config.epsilon;
        let normed = rms_norm(x, &self.attention_norm, epsilon);
        let [mut queries, mut keys, values] = self.products(tokens, low_rank, [Queries, Keys, Values], &normed);
        tokens.rotation.apply(&mut queries);
        tokens.rotation.apply(&mut keys);
        let attended = attend(&queries, &keys, &values);
        let [out] = self.products(tokens, low_rank, [AttentionOut], &attended);
        add(x, &out);
        let normed = rms_norm(x, &self.forward_norm, epsilon);
        let [mut inner, up] = self.products(tokens, low_rank, [Gate, Up], &normed);
        let kept = keep.then(|| (x.to_vec(), inner.clone()));
        swiglu(&mut inner, &up);
        let [out] = self.products(tokens, low_rank, [Down], &inner);
        add(x, &out);
        kept.map(|(middle, gate)| Activations { queries, keys, values, attended, middle, gate, up })
    }

    /// Maps of the same `inputs [tokens, columns]`.
    fn products<const MAPS: usize>(
        &self,
        tokens: &TokenPass,
        low_rank: Option<&LayerMaps>,
        which: [Projection; MAPS],
        inputs: &[f32],
    ) -> [Vec<f32>; MAPS] {
        let maps = which.map(|projection| &self.maps[projection as usize]);
        let laid = Arc::new(Inputs::new(inputs, maps[0].weights.columns));
        let mut all = shared_matmuls(tokens.pass, maps.map(|map| &map.weights), &laid);
        for ((out, map), projection) in all.iter_mut().zip(maps).zip(which) {
            if let Some(bias) = &map.bias {
                out.chunks_exact_mut(bias.len()).for_each(|row| add(row, bias));
            }
            if let Some(term) = low_rank.and_then(|maps| maps.get(&projection)) {
                term.add(inputs, out);
            }
        }
        all
    }
}

pub(super) fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}
