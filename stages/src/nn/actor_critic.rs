//! The student: a small network that scores the whole catalogue for a state, and a critic beside it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
use candle_nn::Module;
use serde::{Deserialize, Serialize};

use super::params::{to_array, to_tensor};
use super::{Init, Mlp, Params};
use crate::artifact::{Array, TensorFile};

/// The shape of an [`ActorCritic`]; stored in the policy's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// U.
    pub users: usize,
    /// I.
    pub items: usize,
    /// D, the width of user and item vectors.
    pub width: usize,
    /// W, how many of the last items the state holds.
    pub window: usize,
    /// Width of the hidden layer.
    pub hidden: usize,
    /// How strongly a new policy follows the world's own vectors; 0 starts uniform.
    pub prior: f64,
}

/// A batch of B states as tensors.
pub struct States {
    /// `[B]` of u32.
    pub user: Tensor,
    /// `[B, W]` of u32, newest first, I where the episode is younger.
    pub recent: Tensor,
    /// `[B, 1]` of f32: turns played over the horizon.
    pub progress: Tensor,
    /// `[B, I]` of f32: how often each item stands in `recent`. A constant, so it costs no gradient.
    pub shown: Tensor,
}

impl States {
    /// States from flat arrays: `user [B]`, `recent [B·W]`, `progress [B]`, for a catalogue of `items`.
    pub fn new(user: &[u32], recent: &[u32], progress: &[f32], items: usize) -> Result<Self> {
        let batch = user.len();
        ensure!(batch > 0 && recent.len().is_multiple_of(batch), "{} recent items for {batch} states", recent.len());
        let window = recent.len() / batch;
        let mut shown = vec![0.0_f32; batch * items];
        for (row, recent) in recent.chunks_exact(window.max(1)).enumerate() {
            for &item in recent {
                if (item as usize) < items {
                    shown[row * items + item as usize] += 1.0;
                } else {
                    // candle answers some indices beyond a table with zeros instead of an error.
                    ensure!(item as usize == items, "item {item} is not in a catalogue of {items}");
                }
            }
        }
        Ok(Self {
            user: Tensor::from_slice(user, batch, &Device::Cpu)?,
            recent: Tensor::from_slice(recent, (batch, window), &Device::Cpu)?,
            progress: Tensor::from_slice(progress, (batch, 1), &Device::Cpu)?,
            shown: Tensor::from_vec(shown, (batch, items), &Device::Cpu)?,
        })
    }
}

/// logits = E_out · (MLP(x) + p·v_u) + b + c·shown, value = MLP'(x), with x = [v_u, E_in(recent), progress].
///
/// v_u are the training world's user vectors, frozen; E_in and E_out start at its item vectors, so that a new policy already
/// knows what the world knows (p = `prior`) and learns the rest: what the demonstrations add, and when people leave. c is
/// one learned number for items that were just shown.
pub struct ActorCritic {
    shape: Shape,
    params: Params,
    user_vectors: Tensor,
    item_in: Tensor,
    item_out: Tensor,
    bias: Tensor,
    prior: Tensor,
    shown: Tensor,
    actor: Mlp,
    critic: Mlp,
}

impl ActorCritic {
    /// A new network from the world's `user_vectors [U, D]` and `item_vectors [I, D]`.
    pub fn new(shape: Shape, user_vectors: &Array, item_vectors: &Array, seed: u64) -> Result<Self> {
        ensure!(user_vectors.shape == [shape.users, shape.width], "user vectors are {:?}", user_vectors.shape);
        ensure!(item_vectors.shape == [shape.items, shape.width], "item vectors are {:?}", item_vectors.shape);
        let mut init = Init::new(seed);
        let mut params = Params::default();
        let items = to_tensor(item_vectors)?;
        let padding = Tensor::zeros((1, shape.width), DType::F32, &Device::Cpu)?;
        let scalar = |value: f64| Tensor::new(&[value as f32], &Device::Cpu);
        let inputs = shape.width * (1 + shape.window) + 1;
        Ok(Self {
            user_vectors: to_tensor(user_vectors)?,
            item_in: params.add("item_in", &Tensor::cat(&[&items, &padding], 0)?)?,
            item_out: params.add("item_out", &items)?,
            bias: params.add("bias", &Tensor::zeros(shape.items, DType::F32, &Device::Cpu)?)?,
            prior: params.add("prior", &scalar(shape.prior)?)?,
            shown: params.add("shown", &scalar(0.0)?)?,
            actor: Mlp::new(&mut params, "actor", &[inputs, shape.hidden, shape.width], 0.1, &mut init)?,
            critic: Mlp::new(&mut params, "critic", &[inputs, shape.hidden, 1], 1.0, &mut init)?,
            params,
            shape,
        })
    }

    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// x `[B, D·(1 + W) + 1]`.
    fn inputs(&self, states: &States) -> Result<Tensor> {
        let batch = states.user.dim(0)?;
        let users = self.user_vectors.index_select(&states.user, 0)?;
        let recent = self.item_in.index_select(&states.recent.flatten_all()?, 0)?.reshape((batch, ()))?;
        Ok(Tensor::cat(&[&users, &recent, &states.progress], 1)?)
    }

    /// Scores of the whole catalogue, `[B, I]`.
    pub fn logits(&self, states: &States) -> Result<Tensor> {
        let users = self.user_vectors.index_select(&states.user, 0)?;
        let query = (self.actor.forward(&self.inputs(states)?)? + users.broadcast_mul(&self.prior)?)?;
        let scores = query.matmul(&self.item_out.t()?)?.broadcast_add(&self.bias)?;
        Ok((scores + states.shown.broadcast_mul(&self.shown)?)?)
    }

    /// The critic's value of each state, `[B]`.
    pub fn values(&self, states: &States) -> Result<Tensor> {
        Ok(self.critic.forward(&self.inputs(states)?)?.squeeze(1)?)
    }

    /// The network as a file's content, the frozen table included, so that a policy can be served by itself.
    pub fn export(&self) -> Result<TensorFile> {
        let mut file = TensorFile::new(&self.shape)?;
        file.arrays = self.params.export()?;
        file.arrays.insert("table.user_vectors".to_owned(), to_array(&self.user_vectors)?);
        Ok(file)
    }

    /// The network of a file.
    pub fn import(file: &TensorFile) -> Result<Self> {
        let shape: Shape = file.about()?;
        let mut arrays: BTreeMap<String, Array> = file.arrays.clone();
        let users = arrays.remove("table.user_vectors").unwrap_or_default();
        let blank = Array::new(&[shape.items, shape.width], vec![0.0; shape.items * shape.width]);
        let network = Self::new(shape, &users, &blank, 0)?;
        network.params.import(&arrays)?;
        Ok(network)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::nn::gradient_check::assert_every_parameter_learns;
    use crate::nn::loss::log_probability;

    pub(crate) fn small() -> ActorCritic {
        let shape = Shape { users: 2, items: 3, width: 2, window: 2, hidden: 4, prior: 1.0 };
        let users = Array::new(&[2, 2], vec![1.0, 0.5, -0.5, 2.0]);
        let items = Array::new(&[3, 2], vec![1.0, 0.0, 0.0, 1.0, 0.5, 0.5]);
        ActorCritic::new(shape, &users, &items, 3).unwrap()
    }

    #[test]
    fn every_parameter_learns() {
        let network = small();
        // The padding row of E_in, an item just shown, and both users take part.
        let states = States::new(&[0, 1], &[2, 0, 1, 3], &[0.5, 0.25], 3).unwrap();
        let action = Tensor::new(&[1_u32, 2], &Device::Cpu).unwrap();
        assert_every_parameter_learns(network.params(), || {
            let actor = log_probability(&network.logits(&states).unwrap(), &action)?.sum_all()?;
            actor + network.values(&states).unwrap().sqr()?.sum_all()?
        });
    }

    #[test]
    fn a_file_gives_the_same_network_and_a_foreign_item_is_refused() {
        let network = small();
        let states = States::new(&[0, 1], &[2, 0, 1, 3], &[0.5, 0.25], 3).unwrap();
        let again = ActorCritic::import(&network.export().unwrap()).unwrap();
        let logits = |n: &ActorCritic| n.logits(&states).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(logits(&network), logits(&again));
        assert!(States::new(&[0], &[4, 3], &[0.0], 3).is_err());
    }
}
