//! Tells the expert's choices from a policy's.

use anyhow::Result;
use candle_core::Tensor;
use candle_nn::Module;
use serde::{Deserialize, Serialize};

use super::{Init, Mlp, Params};
use crate::artifact::TensorFile;

/// The shape of a [`Discriminator`]; stored in the reward model's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Numbers in the features of one state and action.
    pub inputs: usize,
    /// How many of the last items the state of those features held.
    pub window: usize,
    /// Which vectors those features were made of: [`World::vectors_digest`](crate::artifact::World::vectors_digest).
    pub vectors: String,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Logits are cut to ±this, so that one sure answer does not drown the others.
    pub clip: f64,
}

/// `logits_expert_is_high`: clip(MLP(features)), D_E = P(expert) = σ(logit).
pub struct Discriminator {
    shape: Shape,
    params: Params,
    network: Mlp,
}

impl Discriminator {
    /// A new network.
    pub fn new(shape: Shape, seed: u64) -> Result<Self> {
        let mut params = Params::default();
        let network = Mlp::new(&mut params, "network", &[shape.inputs, shape.hidden, 1], 1.0, &mut Init::new(seed))?;
        Ok(Self { shape, params, network })
    }

    /// What it was made for.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// `features [B, F]` → logits `[B]`, high where the expert is likely.
    pub fn logits_expert_is_high(&self, features: &Tensor) -> Result<Tensor> {
        Ok(self.network.forward(features)?.squeeze(1)?.clamp(-self.shape.clip, self.shape.clip)?)
    }

    /// The network as a file's content.
    pub fn export(&self) -> Result<TensorFile> {
        let mut file = TensorFile::new(&self.shape)?;
        file.arrays = self.params.export()?;
        Ok(file)
    }

    /// The network of a file.
    pub fn import(file: &TensorFile) -> Result<Self> {
        let discriminator = Self::new(file.about()?, 0)?;
        discriminator.params.import(&file.arrays)?;
        Ok(discriminator)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::gradient_check::assert_every_parameter_learns;
    use crate::nn::loss::bce_with_logits;

    #[test]
    fn every_parameter_learns() {
        let shape = Shape { inputs: 3, window: 1, vectors: String::new(), hidden: 4, clip: 10.0 };
        let discriminator = Discriminator::new(shape, 1).unwrap();
        let features = Init::new(2).normal(&[4, 3], 1.0).unwrap();
        let expert = Tensor::new(&[1.0_f32, 0.0, 1.0, 0.0], &Device::Cpu).unwrap();
        assert_every_parameter_learns(discriminator.params(), || {
            bce_with_logits(&discriminator.logits_expert_is_high(&features).unwrap(), &expert)?.sum_all()
        });
    }
}
