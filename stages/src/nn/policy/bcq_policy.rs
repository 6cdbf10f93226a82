//! The policy of discrete BCQ: the item of the highest value among those that the behaviour policy is likely to choose.

use anyhow::Result;
use candle_core::{D, Device, Tensor};

use crate::artifact::TensorFile;
use crate::nn::ActorCritic;
use crate::nn::encoders::state_batch::StateBatch;
use crate::nn::kernels::{Paired, Pairing, counts_from, highest, mask_logits};
use crate::nn::policy::item_values::{ItemValues, StreamedValues};
use crate::nn::policy::policy_network::PolicyNetwork;
use crate::nn::policy::policy_output::{PolicyOutput, under};

/// Prefix of the behaviour network's parameters in a file, beside those of the value network.
pub(in crate::nn) const PREFIX: &str = "behaviour.";

/// Scores are the values' advantages where G(a|s) ≥ τ·max_b G(b|s), with G the softmax of the behaviour, and
/// [`MASKED_LOGIT`](crate::nn::MASKED_LOGIT) elsewhere (Fujimoto et al. 2019, arXiv 1910.01708, algorithm 1).
pub struct BcqPolicy {
    values: ActorCritic,
    behaviour: ActorCritic,
    threshold: f64,
}

impl BcqPolicy {
    /// The content of a file from both networks, of one shape and for one world.
    pub fn export(values: &ActorCritic, behaviour: &ActorCritic, threshold: f64) -> Result<TensorFile> {
        let mut file = values.export()?;
        // The frozen vectors are stored once, with the value network.
        let named = |(name, array)| (format!("{PREFIX}{name}"), array);
        file.arrays.extend(behaviour.params().export()?.into_iter().map(named));
        file.tell("served", &PolicyOutput::Bcq { threshold })?;
        Ok(file)
    }

    /// Reads what [`BcqPolicy::export`] wrote.
    pub(in crate::nn) fn import(file: &TensorFile, threshold: f64) -> Result<Self> {
        let (values, behaviour) = (ActorCritic::import(file)?, Self::behaviour(&Device::Cpu, file)?);
        Ok(Self { values, behaviour, threshold })
    }

    /// The behaviour network of what [`BcqPolicy::export`] wrote, on that device.
    pub fn behaviour(device: &Device, file: &TensorFile) -> Result<ActorCritic> {
        let behaviour = ActorCritic::import_on(device, file)?;
        behaviour.params().import(&under(PREFIX, file))?;
        Ok(behaviour)
    }
}

impl PolicyNetwork for BcqPolicy {
    fn backbone(&self) -> &ActorCritic {
        &self.values
    }
    fn add_mean_user(&mut self) -> Result<()> {
        self.values.add_mean_user()?;
        self.behaviour.add_mean_user()
    }
    fn logits(&self, states: &StateBatch) -> Result<Tensor> {
        let usual = likely_actions(&self.behaviour.logits(states)?, self.threshold)?;
        Ok(mask_logits(&self.values.logits(states)?, &usual)?)
    }
    fn item_values(&self, states: &StateBatch) -> Result<ItemValues> {
        let [values, behaviour] = [&self.values, &self.behaviour].map(|network| network.item_values(states));
        Likely::new(&behaviour?, self.threshold)?.restrict(&values?)
    }
    fn streams(&self) -> bool {
        self.values.streams()
    }
}

/// The items with G(a|s) ≥ τ·max_b G(b|s) in B states.
pub enum Likely {
    /// 1 where an item is, else 0, `[B, I]`.
    Tensor(Tensor),
    /// The logits of G, and the least of each state that counts.
    Streamed(StreamedValues, Vec<f32>),
}

impl Likely {
    /// By the logits of G, and τ in [0, 1].
    ///
    /// # Errors
    /// When they cannot be computed.
    pub fn new(behaviour: &ItemValues, threshold: f64) -> candle_core::Result<Self> {
        Ok(match behaviour {
            ItemValues::Tensor(logits) => Self::Tensor(likely_actions(logits, threshold)?),
            ItemValues::Streamed(logits) => {
                let least = highest(logits.0.as_ref())?.into_iter().map(|high| high + threshold.ln() as f32);
                Self::Streamed(logits.clone(), least.collect())
            }
        })
    }

    /// `values` of these, and [`MASKED_LOGIT`](crate::nn::MASKED_LOGIT) less elsewhere.
    ///
    /// # Errors
    /// When they are of other states or items.
    pub fn restrict(&self, values: &ItemValues) -> Result<ItemValues> {
        Ok(match (self, values) {
            (Self::Streamed(logits, least), ItemValues::Streamed(values)) => {
                let by = Pairing::Likely(least.clone());
                ItemValues::streamed(Paired::new([values.0.clone(), logits.0.clone()], by)?)
            }
            (Self::Tensor(usual), values) => ItemValues::Tensor(mask_logits(&values.tensor(usual.device())?, usual)?),
            (Self::Streamed(..), ItemValues::Tensor(_)) => {
                anyhow::bail!("values in a tensor, and a behaviour in blocks")
            }
        })
    }

    /// How many these are, the mean of the states.
    ///
    /// # Errors
    /// When they cannot be counted.
    pub fn mean_count(&self) -> Result<f64> {
        Ok(match self {
            Self::Tensor(usual) => f64::from(usual.mean_all()?.to_scalar::<f32>()?) * usual.dim(D::Minus1)? as f64,
            Self::Streamed(logits, least) => {
                counts_from(logits.0.as_ref(), least)?.into_iter().sum::<usize>() as f64 / least.len().max(1) as f64
            }
        })
    }
}

/// 1 where G(a|s) ≥ τ·max_b G(b|s), else 0: `logits [B, I]` of G → `[B, I]`. At τ = 0 these are all items, and at τ = 1 the most likely one.
pub fn likely_actions(logits: &Tensor, threshold: f64) -> candle_core::Result<Tensor> {
    let least = (logits.max_keepdim(D::Minus1)? + threshold.ln())?;
    logits.broadcast_ge(&least)?.to_dtype(logits.dtype())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;
    use crate::nn::policy::actor_critic::ActorCriticConfig;
    use crate::nn::policy::policy_io::load;
    use crate::nn::{Encoder, MASKED_LOGIT};

    #[test]
    fn what_is_usual_agrees_with_hand_computed_values() {
        // Shares 1/8, 2/8, 5/8: of the largest a fifth, two fifths and all.
        let logits = Tensor::new(&[[0.0, 2.0_f64.ln(), 5.0_f64.ln()]], &Device::Cpu).unwrap();
        let at = |threshold: f64| likely_actions(&logits, threshold).unwrap().to_vec2::<f64>().unwrap().remove(0);
        assert_eq!(at(0.0), [1.0, 1.0, 1.0]);
        assert_eq!(at(0.19), [1.0, 1.0, 1.0]);
        assert_eq!(at(0.21), [0.0, 1.0, 1.0]);
        assert_eq!(at(0.41), [0.0, 0.0, 1.0]);
        assert_eq!(at(1.0), [0.0, 0.0, 1.0]);
        let scores = Tensor::new(&[[9.0, 1.0, 2.0]], &Device::Cpu).unwrap();
        let found = mask_logits(&scores, &likely_actions(&logits, 0.3).unwrap()).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(found, [[9.0 + MASKED_LOGIT, 1.0, 2.0]]);
    }

    #[test]
    fn a_file_serves_the_best_of_what_is_usual() {
        let config = ActorCriticConfig {
            users: 2,
            items: 3,
            width: 2,
            window: 2,
            hidden_size: 4,
            encoder: Encoder::Window,
            prior_scale: 1.0,
            similarity_penalty: 0.0,
            similar_fraction: 0.5,
        };
        let users = Array::new(&[2, 2], vec![1.0, 0.5, -0.5, 2.0]);
        let items = Array::new(&[3, 2], vec![1.0, 0.0, 0.0, 1.0, 0.5, 0.5]);
        let network = |bias: [f32; 3]| {
            let network = ActorCritic::new(config.clone(), &users, &items, 3).unwrap();
            let mut arrays = network.params().export().unwrap();
            arrays.get_mut("bias").unwrap().data = bias.to_vec();
            network.params().import(&arrays).unwrap();
            network
        };
        // Item 0 is worth most, and nobody takes it.
        let (values, behaviour) = (network([50.0, 20.0, 0.0]), network([-50.0, 0.0, 0.0]));
        let file = BcqPolicy::export(&values, &behaviour, 0.001).unwrap();
        let served = load(&file).unwrap();
        let states = served.backbone().states(&[0], &[3, 3], &[0.0; 2], &[0.0]).unwrap();
        let best = |logits: Tensor| logits.argmax(1).unwrap().to_vec1::<u32>().unwrap()[0];
        assert_eq!(best(served.logits(&states).unwrap()), 1);
        let reference = load(&values.export().unwrap()).unwrap();
        assert_eq!(best(reference.logits(&states).unwrap()), 0);
        assert_eq!((served.config(), reference.config()), (&config, &config));
    }
}
