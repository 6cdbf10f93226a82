//! A gated recurrent unit over a short sequence.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};

use crate::nn::kernels::{Activation, gru, linear};
use crate::nn::{Init, Params};

/// r = σ(W_r x + U_r h + b_r), z = σ(W_z x + U_z h + b_z), n = tanh(W_n x + b_n + r ∘ (U_n h + c_n)),
/// h ← (1 − z) ∘ n + z ∘ h, from h = 0 (Cho et al. 2014, eqs. 5 to 8, with the reset gate applied after U_n as is usual now).
#[derive(Clone, Debug)]
pub struct Gru {
    /// `[D, 3H]`: r, z, n.
    input: Tensor,
    /// `[3H]`.
    input_bias: Tensor,
    /// `[H, 3H]`.
    hidden: Tensor,
    /// c_n, `[H]`; the gates need no second bias.
    hidden_bias: Tensor,
}

impl Gru {
    /// From `inputs` numbers a step to `width`, declared as `<name>.input`, `.input_bias`, `.hidden` and `.hidden_bias`.
    pub fn new(params: &mut Params, name: &str, inputs: usize, width: usize, init: &mut Init) -> Result<Self> {
        let mut gates = |from: usize| -> Result<Tensor> {
            let parts = (0..3).map(|_| Ok(init.glorot(width, from, 1.0)?.t()?)).collect::<Result<Vec<_>>>()?;
            Ok(Tensor::cat(&parts, 1)?)
        };
        let zeros = |count: usize| Tensor::zeros(count, DType::F32, &Device::Cpu);
        Ok(Self {
            input: params.add(&format!("{name}.input"), &gates(inputs)?)?,
            input_bias: params.add(&format!("{name}.input_bias"), &zeros(3 * width)?)?,
            hidden: params.add(&format!("{name}.hidden"), &gates(width)?)?,
            hidden_bias: params.add(&format!("{name}.hidden_bias"), &zeros(width)?)?,
        })
    }

    /// The last h: `x [B, T, D]` newest first, `mask [B, T]` 0 where a step is padding and h stays → `[B, H]`.
    pub fn forward(&self, x: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        // One matrix product for all steps.
        let x = linear(x, &self.input.t()?, &self.input_bias, Activation::None)?;
        gru(&x, &self.hidden, &self.hidden_bias, mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::optim::gradient_check::{
        assert_every_parameter_learns, assert_finite_differences, assert_parameters_are_exact,
    };

    #[test]
    fn a_step_agrees_with_hand_computed_values() {
        // D = H = 1, all weights 1, no biases: from h = 0 with x = 1: z = σ(1), n = tanh(1).
        let (ones, zeros) = (Tensor::ones((1, 3), DType::F64, &Device::Cpu).unwrap(), [0.0_f64; 3]);
        let gru = Gru {
            input: ones.clone(),
            input_bias: Tensor::new(&zeros, &Device::Cpu).unwrap(),
            hidden: ones,
            hidden_bias: Tensor::new(&zeros[..1], &Device::Cpu).unwrap(),
        };
        let x = Tensor::ones((1, 2, 1), DType::F64, &Device::Cpu).unwrap();
        let both = Tensor::ones((1, 2), DType::F64, &Device::Cpu).unwrap();
        let gate = |v: f64| 1.0 / (1.0 + (-v).exp());
        let first = (1.0 - gate(1.0)) * 1.0_f64.tanh();
        let (z, n) = (gate(1.0 + first), (1.0 + gate(1.0 + first) * first).tanh());
        let second = (1.0 - z) * n + z * first;
        let found = gru.forward(&x, &both).unwrap().to_vec2::<f64>().unwrap()[0][0];
        assert!((found - second).abs() < 1e-12, "{found} {second}");
        // The older step is missing: h stays 0 there.
        let newest = Tensor::new(&[[1.0_f64, 0.0]], &Device::Cpu).unwrap();
        let found = gru.forward(&x, &newest).unwrap().to_vec2::<f64>().unwrap()[0][0];
        assert!((found - first).abs() < 1e-12, "{found} {first}");
    }

    #[test]
    fn every_parameter_learns_its_exact_gradient() {
        let mut params = Params::in_f64();
        let gru = Gru::new(&mut params, "g", 3, 2, &mut Init::new(4)).unwrap();
        let x = Init::new(5).normal(&[2, 3, 3], 1.0).unwrap().to_dtype(DType::F64).unwrap();
        let mask = Tensor::new(&[[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]], &Device::Cpu).unwrap();
        let loss = |x: &Tensor| gru.forward(x, &mask)?.sqr()?.sum_all();
        assert_every_parameter_learns(&params, || loss(&x));
        assert_parameters_are_exact(&params, || loss(&x));
        assert_finite_differences(&x, loss);
    }
}
