//! The gradient of one layer: of its input, and of its low-rank terms.

use super::super::layer::{Activations, Layer, add};
use super::super::low_rank::LayerMaps;
use super::super::model_config::ModelConfig;
use super::super::ops::{Rope, rms_norm, swiglu};
use super::super::projection::Projection;
use super::super::transposed_product::transposed_product;
use super::attention_gradient::attention_gradient;
use crate::nn::{exp, with_simd};

/// A layer on the way back.
pub(super) struct LayerGradient<'a> {
    pub(super) config: &'a ModelConfig,
    pub(super) layer: &'a Layer,
    pub(super) low_rank: &'a LayerMaps,
    /// The opposite of the positions' rotations.
    pub(super) inverse: &'a Rope,
}

impl LayerGradient<'_> {
    /// From the layer's input `x [tokens, width]`, what it computed and the gradient `d_out` of its output → that of `x`. Adds the
    /// gradients of the low-rank terms to `gradient`.
    pub(super) fn backward(
        &self,
        x: &[f32],
        activations: &Activations,
        d_out: Vec<f32>,
        gradient: &mut LayerMaps,
    ) -> Vec<f32> {
        use Projection::{AttentionOut, Down, Gate, Keys, Queries, Up, Values};
        let Activations { queries, keys, values, attended, middle, gate, up } = activations;
        let (layer, epsilon) = (self.layer, self.config.epsilon);
        let mut inner = gate.clone();
        swiglu(&mut inner, up);
        let d_inner = self.through(Down, &inner, &d_out, gradient);
        let (d_gate, d_up) = swiglu_gradient(gate, up, &d_inner);
        let normed = rms_norm(middle, &layer.forward_norm, epsilon);
        let mut d_normed = self.through(Gate, &normed, &d_gate, gradient);
        add(&mut d_normed, &self.through(Up, &normed, &d_up, gradient));
        let mut d_x = d_out;
        add(&mut d_x, &rms_norm_gradient(middle, &layer.forward_norm, epsilon, &d_normed));
        let d_attended = self.through(AttentionOut, attended, &d_x, gradient);
        let mut d = attention_gradient(self.config, queries, keys, values, &d_attended);
        self.inverse.apply(&mut d.queries);
        self.inverse.apply(&mut d.keys);
        let normed = rms_norm(x, &layer.attention_norm, epsilon);
        let mut d_normed = self.through(Queries, &normed, &d.queries, gradient);
        add(&mut d_normed, &self.through(Keys, &normed, &d.keys, gradient));
        add(&mut d_normed, &self.through(Values, &normed, &d.values, gradient));
        add(&mut d_x, &rms_norm_gradient(x, &layer.attention_norm, epsilon, &d_normed));
        d_x
    }

    /// The gradient of a map's inputs `[tokens, columns]` from that of its outputs.
    fn through(&self, projection: Projection, inputs: &[f32], d_out: &[f32], gradient: &mut LayerMaps) -> Vec<f32> {
        let mut d_inputs = transposed_product(&self.layer.maps[projection as usize].weights, d_out);
        if let (Some(term), Some(gradient)) = (self.low_rank.get(&projection), gradient.get_mut(&projection)) {
            term.backward(inputs, d_out, &mut d_inputs, gradient);
        }
        d_inputs
    }
}

/// Of gate and up, from that of gate·σ(gate)·up.
fn swiglu_gradient(gate: &[f32], up: &[f32], d_out: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut d_gate, mut d_up) = (gate.to_vec(), d_out.to_vec());
    with_simd(
        #[inline(always)]
        || {
            for ((d_gate, d_up), up) in d_gate.iter_mut().zip(&mut d_up).zip(up) {
                let (gate, d_out) = (*d_gate, *d_up);
                let sigmoid = 1.0 / (1.0 + exp(-gate));
                *d_gate = d_out * up * sigmoid * (1.0 + gate * (1.0 - sigmoid));
                *d_up = d_out * gate * sigmoid;
            }
        },
    );
    (d_gate, d_up)
}

/// Of `x`, from that of y = r·x∘gain with r = (mean x² + ε)^−½: r·gain∘d − r³·x·mean(x·gain·d).
pub(super) fn rms_norm_gradient(x: &[f32], gain: &[f32], epsilon: f32, d_out: &[f32]) -> Vec<f32> {
    let width = gain.len();
    let mut out = d_out.to_vec();
    for (x, d) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
        let (mut squares, mut along) = (0.0_f64, 0.0_f64);
        for ((x, d), gain) in x.iter().zip(d.iter_mut()).zip(gain) {
            *d *= gain;
            squares += f64::from(*x) * f64::from(*x);
            along += f64::from(*x) * f64::from(*d);
        }
        let root = (squares / width as f64 + f64::from(epsilon)).powf(-0.5);
        let (root, less) = (root as f32, (root.powi(3) * along / width as f64) as f32);
        d.iter_mut().zip(x).for_each(|(d, x)| *d = root * *d - less * x);
    }
    out
}
