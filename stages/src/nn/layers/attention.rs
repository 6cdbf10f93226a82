//! Transformer block.

use anyhow::Result;
use candle_core::{D, DType, Device, Tensor};
use candle_nn::Module;

use crate::nn::kernels::{Activation, linear};
use crate::nn::{Init, LayerNorm, Mlp, Params};

/// x ← x + Attention(LN(x)); x ← x + MLP(LN(x)), with Attention = softmax(QKᵀ/√d + mask)·V in several heads (Vaswani et al.
/// 2017, eq. 1; the norm before each part, as Xiong et al. 2020 recommend). Left out: dropout, which small networks on
/// unlimited simulated data do not need.
#[derive(Clone, Debug)]
pub struct AttentionBlock {
    heads: usize,
    first_norm: LayerNorm,
    /// Weight `[O, I]` and bias `[O]`, of each.
    queries_keys_values: (Tensor, Tensor),
    output: (Tensor, Tensor),
    second_norm: LayerNorm,
    feed_forward: Mlp,
}

impl AttentionBlock {
    /// Over tokens of `width` numbers, a multiple of `heads`; everything is declared below `name`.
    pub fn new(params: &mut Params, name: &str, width: usize, heads: usize, init: &mut Init) -> Result<Self> {
        anyhow::ensure!(heads > 0 && width.is_multiple_of(heads), "{heads} heads cannot share a width of {width}");
        let mut layer = |params: &mut Params, part: &str, to: usize| -> Result<(Tensor, Tensor)> {
            let weight = params.add(&format!("{name}.{part}.weight"), &init.glorot(to, width, 1.0)?)?;
            let bias = params.add(&format!("{name}.{part}.bias"), &Tensor::zeros(to, DType::F32, &Device::Cpu)?)?;
            Ok((weight, bias))
        };
        Ok(Self {
            heads,
            queries_keys_values: layer(params, "queries_keys_values", 3 * width)?,
            output: layer(params, "output", width)?,
            first_norm: LayerNorm::new(params, &format!("{name}.first_norm"), width)?,
            second_norm: LayerNorm::new(params, &format!("{name}.second_norm"), width)?,
            feed_forward: Mlp::new(params, &format!("{name}.feed_forward"), &[width, 2 * width, width], 1.0, init)?,
        })
    }

    /// `x [B, T, D]`, `mask [B, 1, 1, T]` of 0 or [`MASKED_LOGIT`] by key → `[B, T, D]`.
    pub fn forward(&self, x: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        let x = (x + self.attend(&self.first_norm.forward(x)?, mask)?)?;
        &x + self.feed_forward.forward(&self.second_norm.forward(&x)?)?
    }

    fn attend(&self, x: &Tensor, mask: &Tensor) -> candle_core::Result<Tensor> {
        let (batch, tokens, width) = x.dims3()?;
        let size = width / self.heads;
        let (weight, bias) = &self.queries_keys_values;
        let all = linear(x, weight, bias, Activation::None)?.reshape((batch, tokens, 3, self.heads, size))?;
        // `[B, heads, T, size]` each.
        let part = |k: usize| all.narrow(2, k, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let scores = (part(0)?.matmul(&part(1)?.t()?.contiguous()?)? / (size as f64).sqrt())?;
        let shares = candle_nn::ops::softmax(&scores.broadcast_add(mask)?, D::Minus1)?;
        let mixed = shares.matmul(&part(2)?)?.transpose(1, 2)?.reshape((batch, tokens, width))?;
        linear(&mixed, &self.output.0, &self.output.1, Activation::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::MASKED_LOGIT;
    use crate::nn::optim::gradient_check::{assert_every_parameter_learns, assert_parameters_are_exact};

    fn block() -> (Params, AttentionBlock) {
        let mut params = Params::in_f64();
        let block = AttentionBlock::new(&mut params, "b", 4, 2, &mut Init::new(1)).unwrap();
        (params, block)
    }

    fn tokens(seed: u64) -> Tensor {
        Init::new(seed).normal(&[2, 3, 4], 1.0).unwrap().to_dtype(DType::F64).unwrap()
    }

    /// The last token of the first row is masked.
    fn mask() -> Tensor {
        Tensor::new(&[[[[0.0, 0.0, MASKED_LOGIT]]], [[[0.0, 0.0, 0.0]]]], &Device::Cpu).unwrap()
    }

    #[test]
    fn every_parameter_learns_its_exact_gradient() {
        let (params, block) = block();
        let (x, weights) = (tokens(2), tokens(3));
        let loss = || (block.forward(&x, &mask())? * &weights)?.sum_all();
        assert_every_parameter_learns(&params, loss);
        assert_parameters_are_exact(&params, loss);
    }

    #[test]
    fn a_masked_key_is_not_attended_to() {
        let (_, block) = block();
        let x = tokens(2);
        let other = Tensor::cat(&[x.narrow(1, 0, 2).unwrap(), (x.narrow(1, 2, 1).unwrap() * 5.0).unwrap()], 1).unwrap();
        let encoded =
            |x: &Tensor| block.forward(x, &mask()).unwrap().narrow(1, 0, 2).unwrap().to_vec3::<f64>().unwrap();
        let (before, after) = (encoded(&x), encoded(&other));
        assert_eq!(before[0], after[0]);
        assert_ne!(before[1], after[1]);
    }

    #[test]
    fn heads_must_divide_the_width() {
        assert!(AttentionBlock::new(&mut Params::default(), "b", 4, 3, &mut Init::new(1)).is_err());
    }
}
