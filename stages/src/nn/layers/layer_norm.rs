//! Layer normalisation that keeps its gradient.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::Module;

use crate::nn::Params;
use crate::nn::kernels::layer_norm;

const EPSILON: f64 = 1e-5;

/// g ∘ (x − mean) / √(variance + 1e-5) + b over the last dimension (Ba, Kiros and Hinton 2016, eq. 4).
#[derive(Clone, Debug)]
pub struct LayerNorm {
    gain: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Over `width` numbers, declared as `<name>.gain` (1 at first) and `<name>.bias` (0).
    pub fn new(params: &mut Params, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            gain: params.add(&format!("{name}.gain"), &Tensor::ones(width, DType::F32, &Device::Cpu)?)?,
            bias: params.add(&format!("{name}.bias"), &Tensor::zeros(width, DType::F32, &Device::Cpu)?)?,
        })
    }
}

impl Module for LayerNorm {
    /// `x […, D]` → `[…, D]`.
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        layer_norm(x, &self.gain, &self.bias, EPSILON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Init;
    use crate::nn::optim::gradient_check::{
        assert_every_parameter_learns, assert_finite_differences, assert_parameters_are_exact,
    };

    #[test]
    fn rows_are_normalised_and_gradients_are_exact() {
        let mut params = Params::default();
        let norm = LayerNorm::new(&mut params, "n", 4).unwrap();
        let x = Tensor::new(&[[1.0_f32, 2.0, 3.0, 4.0], [-5.0, 5.0, -5.0, 5.0]], &Device::Cpu).unwrap();
        let found = norm.forward(&x).unwrap().to_vec2::<f32>().unwrap();
        // Means 2.5 and 0, variances 1.25 and 25.
        let first = [-1.5, -0.5, 0.5, 1.5].map(|d: f32| d / (1.25_f32 + 1e-5).sqrt());
        for (found, wanted) in found.concat().iter().zip(first.into_iter().chain([-1.0, 1.0, -1.0, 1.0])) {
            assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
        }
        let mut params = Params::in_f64();
        let norm = LayerNorm::new(&mut params, "n", 4).unwrap();
        let values = |seed| Init::new(seed).normal(&[2, 4], 1.0).unwrap().to_dtype(DType::F64).unwrap();
        let (x, weights) = (values(1), values(2));
        let loss = |x: &Tensor| (norm.forward(x)? * &weights)?.sqr()?.sum_all();
        assert_every_parameter_learns(&params, || loss(&x));
        assert_parameters_are_exact(&params, || loss(&x));
        assert_finite_differences(&x, loss);
    }
}
