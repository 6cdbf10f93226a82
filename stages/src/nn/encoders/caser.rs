//! Caser's encoder: convolutions over the matrix of the last items' vectors.
//!
//! o_h = max_t relu(F_h · [e_t … e_{t+h−1}] + b_h) for each height h from 1 to W;  õ_v = Σ_t g_{v,t}·e_t;
//! z = relu(M·[o_1 … o_W, õ_1 … õ_V] + c)
//!
//! Tang and Wang 2018 (*Personalized top-N sequential recommendation via convolutional sequence embedding*, arXiv 1809.07426,
//! §3). Horizontal filters look for what was shown in h turns on end, wherever in the window; vertical ones weigh the turns.
//! In the authors' release, for MovieLens-1M: W 5, 16 horizontal filters of each height, 4 vertical ones, width 50, dropout
//! 0.5. Where a session is younger than the window its items are 0, as in the paper. Left out: dropout, and the user's vector
//! beside z, which the policy network reads anyway.

use anyhow::Result;
use candle_core::Tensor;
use candle_nn::{Linear, Module};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nn::encoders::history::History;
use crate::nn::{Init, Params};

/// Settings of the encoder `caser`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Caser {
    /// Horizontal filters of each height, at least 1; the authors' release: 16.
    pub n_horizontal: usize,
    /// Vertical filters, at least 1; the authors' release: 4.
    pub n_vertical: usize,
    /// Size of the encoding, at least 1; the authors' release: 50.
    pub hidden_size: usize,
}

impl Default for Caser {
    fn default() -> Self {
        Self { n_horizontal: 16, n_vertical: 4, hidden_size: 32 }
    }
}

/// The parameters.
pub(in crate::nn) struct CaserNet {
    /// Of height 1, 2, …: `[H, height·D]` each.
    horizontal: Vec<Linear>,
    /// `[V, W]`.
    vertical: Tensor,
    output: Linear,
}

impl CaserNet {
    /// New parameters below `encoder`, for windows of `window` items with vectors of `vector` numbers.
    pub fn new(shape: &Caser, vector: usize, window: usize, params: &mut Params, init: &mut Init) -> Result<Self> {
        let mut linear = |params: &mut Params, name: &str, to: usize, from: usize| -> Result<Linear> {
            let weight = params.add(&format!("encoder.{name}.weight"), &init.glorot(to, from, 1.0)?)?;
            // Not 0: where a session has no item, the bias is all that relu sees, and at 0 it has no slope.
            let bias = params.add(&format!("encoder.{name}.bias"), &init.normal(&[to], 0.1)?)?;
            Ok(Linear::new(weight, Some(bias)))
        };
        let horizontal = (1..=window)
            .map(|height| linear(params, &format!("horizontal.{height}"), shape.n_horizontal, height * vector))
            .collect::<Result<_>>()?;
        let output =
            linear(params, "output", shape.hidden_size, shape.n_horizontal * window + shape.n_vertical * vector)?;
        let vertical = params.add("encoder.vertical", &init.glorot(shape.n_vertical, window, 1.0)?)?;
        Ok(Self { horizontal, vertical, output })
    }

    /// `[B, width]`.
    pub fn forward(&self, recent: &History) -> candle_core::Result<Tensor> {
        let (batch, window, vector) = recent.items.dims3()?;
        let image = recent.items.broadcast_mul(&recent.mask.unsqueeze(2)?)?;
        let mut found = Vec::with_capacity(window + 1);
        for (filter, height) in self.horizontal.iter().zip(1..) {
            let slices = (0..=window - height)
                .map(|first| image.narrow(1, first, height)?.reshape((batch, 1, height * vector)))
                .collect::<candle_core::Result<Vec<_>>>()?;
            let all = filter.forward(&Tensor::cat(&slices, 1)?)?;
            // Gathered at the argmax: `max` gives the whole gradient to each of several equal maxima, such as padding.
            let largest = all.gather(&all.argmax_keepdim(1)?, 1)?.squeeze(1)?;
            found.push(largest.relu()?);
        }
        let weighed = self.vertical.broadcast_left(batch)?.contiguous()?.matmul(&image)?;
        found.push(weighed.flatten_from(1)?);
        self.output.forward(&Tensor::cat(&found, 1)?)?.relu()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Device;

    use super::*;
    use crate::artifact::Array;

    #[test]
    fn filters_agree_with_hand_computed_values() {
        let mut params = Params::default();
        let shape = Caser { n_horizontal: 1, n_vertical: 1, hidden_size: 2 };
        let filters = CaserNet::new(&shape, 1, 2, &mut params, &mut Init::new(1)).unwrap();
        let array = |shape: &[usize], data: &[f32]| Array::new(shape, data.to_vec());
        params
            .import(&BTreeMap::from([
                ("encoder.horizontal.1.weight".to_owned(), array(&[1, 1], &[2.0])),
                ("encoder.horizontal.1.bias".to_owned(), array(&[1], &[-1.0])),
                ("encoder.horizontal.2.weight".to_owned(), array(&[1, 2], &[1.0, -1.0])),
                ("encoder.horizontal.2.bias".to_owned(), array(&[1], &[0.5])),
                ("encoder.vertical".to_owned(), array(&[1, 2], &[0.5, 0.25])),
                ("encoder.output.weight".to_owned(), array(&[2, 3], &[1.0, 1.0, 1.0, -1.0, 0.0, 0.0])),
                ("encoder.output.bias".to_owned(), array(&[2], &[0.25, 0.0])),
            ]))
            .unwrap();
        let tensor = |values: &[[f32; 2]; 2]| Tensor::new(values, &Device::Cpu).unwrap();
        let (users, rewards) = (tensor(&[[0.0, 0.0]; 2]), tensor(&[[0.0, 0.0]; 2]));
        // Newest first: 3 after 1, and 4 alone, before which anything may stand.
        let items = tensor(&[[3.0, 1.0], [4.0, 9.0]]).unsqueeze(2).unwrap();
        let mask = tensor(&[[1.0, 1.0], [1.0, 0.0]]);
        let recent = History { users: &users, items: &items, rewards: &rewards, mask: &mask };
        let found = filters.forward(&recent).unwrap().to_vec2::<f32>().unwrap();
        // max(2·3 − 1, 2·1 − 1) = 5; 3 − 1 + ½ = 2½; 1½ + ¼ = 1¾; and 7, 4½, 2.
        assert_eq!(found, [[9.5, 0.0], [13.75, 0.0]]);
    }
}
