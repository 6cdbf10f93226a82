//! A multilayer perceptron.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::Module;

use crate::nn::kernels::{ActionScores, Activation, HeadInputs, chain, output_layer};
use crate::nn::layers::spectral;
use crate::nn::{Init, Params};

/// Linear layers with tanh between them; the last layer is linear.
///
/// tanh and not relu: the networks here are two small layers deep, and a smooth function makes finite differences exact
/// enough to prove each gradient.
#[derive(Clone, Debug)]
pub struct Mlp {
    /// `[O, I]` and `[O]` of each.
    layers: Vec<(Tensor, Tensor)>,
    spectral_norm: bool,
}

impl Mlp {
    /// Layers of the given `widths` (input first), declared as `<name>.<k>.weight` and `.bias`. `last_gain` scales the last
    /// layer's initial weights: 0.01 keeps a new policy near its prior.
    pub fn new(params: &mut Params, name: &str, widths: &[usize], last_gain: f64, init: &mut Init) -> Result<Self> {
        let mut layers = Vec::new();
        for (k, pair) in widths.windows(2).enumerate() {
            let gain = if k + 2 == widths.len() { last_gain } else { 1.0 };
            let weight = params.add(&format!("{name}.{k}.weight"), &init.glorot(pair[1], pair[0], gain)?)?;
            let bias = params.add(&format!("{name}.{k}.bias"), &Tensor::zeros(pair[1], DType::F32, &Device::Cpu)?)?;
            layers.push((weight, bias));
        }
        Ok(Self { layers, spectral_norm: false })
    }

    /// The softmax over the outputs at `items [B]`, without storing the outputs: `x [B, widths[0]]`.
    ///
    /// # Errors
    /// When an item is out of range.
    pub fn action_scores(&self, x: &Tensor, items: &[u32]) -> candle_core::Result<ActionScores> {
        let last = self.layers.len() - 1;
        let (weight, bias) = self.layer(last)?;
        output_layer(&self.through(x, last)?, &weight, bias, HeadInputs::default(), items)
    }

    /// The effective weight `[O, I]` and bias `[O]` of each layer.
    ///
    /// # Errors
    /// Only those of candle.
    pub fn layers(&self) -> candle_core::Result<Vec<(Tensor, Tensor)>> {
        (0..self.layers.len()).map(|k| self.layer(k).map(|(weight, bias)| (weight, bias.clone()))).collect()
    }

    /// The first `count` layers, with tanh after each but the network's last.
    fn through(&self, x: &Tensor, count: usize) -> candle_core::Result<Tensor> {
        let layer = |k: usize| {
            let (weight, bias) = self.layer(k)?;
            Ok((weight, bias, if k + 1 < self.layers.len() { Activation::Tanh } else { Activation::None }))
        };
        chain(x, &(0..count).map(layer).collect::<candle_core::Result<Vec<_>>>()?)
    }

    /// The effective weight of a layer, and its bias.
    fn layer(&self, k: usize) -> candle_core::Result<(Tensor, &Tensor)> {
        let (weight, bias) = &self.layers[k];
        Ok((if self.spectral_norm { spectral::normalised(weight)? } else { weight.clone() }, bias))
    }

    /// The same, each weight divided by its largest singular value in every forward pass.
    #[must_use]
    pub fn with_spectral_norm(self) -> Self {
        Self { spectral_norm: true, ..self }
    }
}

impl Module for Mlp {
    /// `x [B, widths[0]]` → `[B, widths.last()]`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        self.through(x, self.layers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::optim::gradient_check::{assert_every_parameter_learns, assert_finite_differences};

    #[test]
    fn gradients_are_exact_and_reach_every_parameter() {
        let mut params = Params::default();
        let mlp = Mlp::new(&mut params, "m", &[3, 5, 2], 1.0, &mut Init::new(1)).unwrap();
        let x = Init::new(2).normal(&[4, 3], 1.0).unwrap();
        assert_every_parameter_learns(&params, || mlp.forward(&x)?.sqr()?.sum_all());
        // Through a softmax over the outputs, too.
        assert_every_parameter_learns(&params, || mlp.action_scores(&x, &[0, 1, 1, 0])?.log_prob.sum_all());
        let log = crate::nn::optim::loss::log_prob(
            &mlp.forward(&x).unwrap(),
            &Tensor::new(&[0_u32, 1, 1, 0], &Device::Cpu).unwrap(),
        );
        let kernel = mlp.action_scores(&x, &[0, 1, 1, 0]).unwrap().log_prob.to_vec1::<f32>().unwrap();
        for (a, b) in kernel.iter().zip(log.unwrap().to_vec1::<f32>().unwrap()) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        assert_finite_differences(&Init::new(3).normal(&[4, 3], 1.0).unwrap(), |x| x.tanh()?.sqr()?.sum_all());
    }
}
