//! State encoders: they map the last items of an episode to one vector.

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nn::encoders::caser::{Caser, CaserNet};
use crate::nn::encoders::history::History;
use crate::nn::encoders::sasrec::{SasRec, SasRecNet};
use crate::nn::kernels::{Activation, linear, masked_mean};
use crate::nn::{AttentionBlock, Gru, Init, LayerNorm, MASKED_LOGIT, Params};

/// The state encoder: how a policy reads the last items.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Encoder {
    /// Concatenation of their vectors, W·D numbers. It sees the order of items, but no reward.
    #[default]
    Window,
    /// Mean of the vectors of the last few items, the default of EasyRL4Rec. It sees neither order nor reward.
    Average(Average),
    /// Gated recurrent unit over vectors and rewards, oldest first.
    Gru(GruEncoder),
    /// IL-Rec's transformer over one token of the user and one of each item with its reward.
    Transformer(Transformer),
    /// SASRec's causal transformer over the items. It sees their order, but no reward.
    Sasrec(SasRec),
    /// Caser's convolutions over the window. It sees the order of items, but no reward.
    Caser(Caser),
}

/// Settings of the encoder `average`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Average {
    /// Number of last items that are averaged, at least 1; EasyRL4Rec: 3.
    pub n_recent: usize,
}

impl Default for Average {
    fn default() -> Self {
        Self { n_recent: 3 }
    }
}

/// Settings of the encoder `gru`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GruEncoder {
    /// Size of the hidden state, at least 1; default 32, as in the transformer.
    pub hidden_size: usize,
}

impl Default for GruEncoder {
    fn default() -> Self {
        Self { hidden_size: 32 }
    }
}

/// Settings of the encoder `transformer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Transformer {
    /// Number of blocks, at least 1; IL-Rec: 2.
    pub n_layers: usize,
    /// Size of a token, a multiple of `n_heads`; IL-Rec: 32.
    pub hidden_size: usize,
    /// Attention heads of each block, at least 1; default 2.
    pub n_heads: usize,
}

impl Default for Transformer {
    fn default() -> Self {
        Self { n_layers: 2, hidden_size: 32, n_heads: 2 }
    }
}

impl Encoder {
    /// Whether it reads the rewards of the last items.
    #[must_use]
    pub fn reads_rewards(&self) -> bool {
        matches!(self, Self::Gru(_) | Self::Transformer(_))
    }

    /// Checks what the types do not.
    pub fn check(&self) -> Result<(), (String, String)> {
        let wrong = |path: &str, message: &str| Err((path.to_owned(), message.to_owned()));
        match self {
            Self::Average(Average { n_recent: 0 }) => wrong("average.n_recent", "a mean needs at least one item"),
            Self::Gru(GruEncoder { hidden_size: 0 }) => {
                wrong("gru.hidden_size", "the hidden state has at least one number")
            }
            Self::Transformer(Transformer { n_layers: 0, .. }) => wrong("transformer.n_layers", "at least one block"),
            Self::Transformer(Transformer { n_heads: 0, .. }) => wrong("transformer.n_heads", "at least one head"),
            Self::Transformer(Transformer { hidden_size, n_heads, .. })
                if *hidden_size == 0 || !hidden_size.is_multiple_of(*n_heads) =>
            {
                wrong("transformer.hidden_size", "a multiple of `n_heads`, above 0")
            }
            Self::Sasrec(SasRec { n_layers: 0, .. }) => wrong("sasrec.n_layers", "at least one block"),
            Self::Sasrec(SasRec { n_heads: 0, .. }) => wrong("sasrec.n_heads", "at least one head"),
            Self::Sasrec(SasRec { hidden_size, n_heads, .. })
                if *hidden_size == 0 || !hidden_size.is_multiple_of(*n_heads) =>
            {
                wrong("sasrec.hidden_size", "a multiple of `n_heads`, above 0")
            }
            Self::Caser(Caser { n_horizontal: 0, .. }) => {
                wrong("caser.n_horizontal", "at least one filter of each height")
            }
            Self::Caser(Caser { n_vertical: 0, .. }) => wrong("caser.n_vertical", "at least one filter"),
            Self::Caser(Caser { hidden_size: 0, .. }) => wrong("caser.hidden_size", "at least one number comes out"),
            _ => Ok(()),
        }
    }

    /// Size of the encoding, for a window of `window` items with vectors of `vector` numbers.
    pub(in crate::nn) fn width(&self, vector: usize, window: usize) -> usize {
        match self {
            Self::Window => vector * window,
            Self::Average(_) => vector,
            Self::Gru(gru) => gru.hidden_size,
            Self::Transformer(transformer) => transformer.hidden_size,
            Self::Sasrec(sasrec) => sasrec.hidden_size,
            Self::Caser(caser) => caser.hidden_size,
        }
    }
}

/// An [`Encoder`] with its parameters.
pub(in crate::nn) enum EncoderNet {
    Window,
    Average { n_recent: usize },
    Gru(Gru),
    Transformer(Box<TransformerNet>),
    Sasrec(Box<SasRecNet>),
    Caser(Box<CaserNet>),
}

/// The parameters of [`Encoder::Transformer`].
pub(in crate::nn) struct TransformerNet {
    /// Weight `[width, I]` and bias `[width]`, of each.
    user: (Tensor, Tensor),
    item: (Tensor, Tensor),
    reward: (Tensor, Tensor),
    /// `[1 + W, width]`: the user's place, then the items'.
    place: Tensor,
    blocks: Vec<AttentionBlock>,
    norm: LayerNorm,
}

impl EncoderNet {
    /// New parameters below `encoder`.
    pub fn new(shape: &Encoder, vector: usize, window: usize, params: &mut Params, init: &mut Init) -> Result<Self> {
        Ok(match shape {
            Encoder::Window => Self::Window,
            Encoder::Average(Average { n_recent }) => Self::Average { n_recent: *n_recent },
            Encoder::Gru(gru) => Self::Gru(Gru::new(params, "encoder", vector + 1, gru.hidden_size, init)?),
            Encoder::Transformer(shape) => {
                Self::Transformer(Box::new(TransformerNet::new(shape, vector, window, params, init)?))
            }
            Encoder::Sasrec(shape) => Self::Sasrec(Box::new(SasRecNet::new(shape, vector, window, params, init)?)),
            Encoder::Caser(shape) => Self::Caser(Box::new(CaserNet::new(shape, vector, window, params, init)?)),
        })
    }

    /// `[B, X]` with X = [`Encoder::width`].
    pub fn forward(&self, recent: &History) -> candle_core::Result<Tensor> {
        let (batch, window, vector) = recent.items.dims3()?;
        match self {
            Self::Window => recent.items.reshape((batch, window * vector)),
            Self::Average { n_recent } => {
                let last = window.min(*n_recent);
                masked_mean(&recent.items.narrow(1, 0, last)?, &recent.mask.narrow(1, 0, last)?)
            }
            Self::Gru(gru) => {
                gru.forward(&Tensor::cat(&[recent.items, &recent.rewards.unsqueeze(2)?], 2)?, recent.mask)
            }
            Self::Transformer(tokens) => tokens.forward(recent),
            Self::Sasrec(causal) => causal.forward(recent),
            Self::Caser(filters) => filters.forward(recent),
        }
    }
}

impl TransformerNet {
    fn new(shape: &Transformer, vector: usize, window: usize, params: &mut Params, init: &mut Init) -> Result<Self> {
        let width = shape.hidden_size;
        let mut layer = |params: &mut Params, name: &str, from: usize| -> Result<(Tensor, Tensor)> {
            let weight = params.add(&format!("encoder.{name}.weight"), &init.glorot(width, from, 1.0)?)?;
            let bias = params.add(&format!("encoder.{name}.bias"), &Tensor::zeros(width, DType::F32, &Device::Cpu)?)?;
            Ok((weight, bias))
        };
        Ok(Self {
            user: layer(params, "user", vector)?,
            item: layer(params, "item", vector)?,
            reward: layer(params, "reward", 1)?,
            place: params.add("encoder.place", &init.normal(&[1 + window, width], 0.1)?)?,
            blocks: (0..shape.n_layers)
                .map(|k| AttentionBlock::new(params, &format!("encoder.block.{k}"), width, shape.n_heads, init))
                .collect::<Result<_>>()?,
            norm: LayerNorm::new(params, "encoder.norm", width)?,
        })
    }

    /// relu(LN(·)) of the user's token after the blocks, `[B, width]`.
    fn forward(&self, recent: &History) -> candle_core::Result<Tensor> {
        let of = |x: &Tensor, (weight, bias): &(Tensor, Tensor)| linear(x, weight, bias, Activation::None);
        let items = (of(recent.items, &self.item)? + of(&recent.rewards.unsqueeze(2)?, &self.reward)?)?;
        let user = of(recent.users, &self.user)?.unsqueeze(1)?;
        let mut x = Tensor::cat(&[&user, &items], 1)?.broadcast_add(&self.place)?;
        // 0 for the user and for items, MASKED_LOGIT for padding.
        let absent = ((recent.mask - 1.0)? * -MASKED_LOGIT)?;
        let mask = absent.pad_with_zeros(1, 1, 0)?.unsqueeze(1)?.unsqueeze(1)?;
        for block in &self.blocks {
            x = block.forward(&x, &mask)?;
        }
        self.norm.forward(&x.narrow(1, 0, 1)?.squeeze(1)?)?.relu()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::optim::gradient_check::{assert_every_parameter_learns, assert_parameters_are_exact};

    fn normal(seed: u64, shape: &[usize]) -> Tensor {
        Init::new(seed).normal(shape, 1.0).unwrap().to_dtype(DType::F64).unwrap()
    }

    /// Two states of three items with vectors of two numbers; the second state has one item.
    fn encode(encoding: &EncoderNet, items: &Tensor) -> Tensor {
        let (users, rewards) = (normal(1, &[2, 2]), normal(3, &[2, 3]));
        let mask = Tensor::new(&[[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]], &Device::Cpu).unwrap();
        let recent = History { users: &users, items, rewards: &rewards, mask: &mask };
        encoding.forward(&recent).unwrap()
    }

    fn all() -> [Encoder; 6] {
        [
            Encoder::Window,
            Encoder::Average(Average { n_recent: 2 }),
            Encoder::Gru(GruEncoder { hidden_size: 3 }),
            Encoder::Transformer(Transformer { n_layers: 2, hidden_size: 4, n_heads: 2 }),
            Encoder::Sasrec(SasRec { n_layers: 2, hidden_size: 4, n_heads: 2 }),
            Encoder::Caser(Caser { n_horizontal: 3, n_vertical: 2, hidden_size: 4 }),
        ]
    }

    #[test]
    fn every_parameter_of_each_learns_its_exact_gradient() {
        for shape in all() {
            let mut params = Params::in_f64();
            let encoding = EncoderNet::new(&shape, 2, 3, &mut params, &mut Init::new(4)).unwrap();
            let items = normal(2, &[2, 3, 2]);
            let width = shape.width(2, 3);
            let weights = normal(5, &[2, width]);
            assert_eq!(encode(&encoding, &items).dims(), [2, width], "{shape:?}");
            let loss = || (encode(&encoding, &items) * &weights)?.sqr()?.sum_all();
            if params.iter().next().is_some() {
                assert_every_parameter_learns(&params, loss);
                assert_parameters_are_exact(&params, loss);
            }
        }
    }

    #[test]
    fn an_average_agrees_with_hand_computed_values() {
        let encoding = EncoderNet::Average { n_recent: 2 };
        let items =
            Tensor::new(&[[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]], [[5.0, 7.0], [9.0, 9.0], [9.0, 9.0]]], &Device::Cpu);
        assert_eq!(encode(&encoding, &items.unwrap()).to_vec2::<f64>().unwrap(), [[2.0, 4.0], [5.0, 7.0]]);
    }

    #[test]
    fn padding_does_not_change_the_encoding() {
        for shape in &all()[1..] {
            let encoding = EncoderNet::new(shape, 2, 3, &mut Params::in_f64(), &mut Init::new(4)).unwrap();
            let items = normal(2, &[2, 3, 2]);
            let other = Tensor::cat(&[items.narrow(1, 0, 1).unwrap(), normal(9, &[2, 2, 2])], 1).unwrap();
            let rows = |items: &Tensor| encode(&encoding, items).to_vec2::<f64>().unwrap();
            assert_eq!(rows(&items)[1], rows(&other)[1], "{shape:?}: one item old");
            assert_ne!(rows(&items)[0], rows(&other)[0], "{shape:?}: three items old");
        }
    }

    #[test]
    fn impossible_shapes_are_refused_by_name() {
        let refused = |shape: Encoder| shape.check().unwrap_err().0;
        assert_eq!(refused(Encoder::Average(Average { n_recent: 0 })), "average.n_recent");
        assert_eq!(refused(Encoder::Gru(GruEncoder { hidden_size: 0 })), "gru.hidden_size");
        let shape = Transformer { hidden_size: 33, ..Transformer::default() };
        assert_eq!(refused(Encoder::Transformer(shape)), "transformer.hidden_size");
        assert_eq!(refused(Encoder::Sasrec(SasRec { n_heads: 3, ..SasRec::default() })), "sasrec.hidden_size");
        assert_eq!(refused(Encoder::Caser(Caser { n_vertical: 0, ..Caser::default() })), "caser.n_vertical");
        all().into_iter().for_each(|shape| shape.check().unwrap());
    }
}
