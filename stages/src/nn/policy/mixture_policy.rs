//! A mixture of a frozen policy and one that learns.
//!
//! π(a|s) = w·π₀(a|s) + (1 − w)·π_θ(a|s),  w = 1/(1 + e^−ω), ω learned

use anyhow::Result;
use candle_core::{D, Device, Tensor};

use crate::artifact::TensorFile;
use crate::nn::encoders::state_batch::StateBatch;
use crate::nn::policy::action_log_prob::action_log_prob;
use crate::nn::policy::item_values::{ItemValues, StreamedValues};
use crate::nn::policy::policy_network::PolicyNetwork;
use crate::nn::policy::policy_output::{PolicyOutput, under};
use crate::nn::{ActionLogProb, ActorCritic, Expectation, Params};

/// Prefixes of the frozen policy's parameters and of ω in a file, beside those of the policy that learns.
pub(in crate::nn) const FROZEN: &str = "frozen.";
const WEIGHT: &str = "mixture.";

/// The least probability of an item that may be shown; its logarithm is finite.
const LEAST: f64 = 1e-30;

/// Both policies, of one shape and with the same frozen vectors.
pub struct MixturePolicy {
    /// π_θ.
    pub learned: ActorCritic,
    frozen: ActorCritic,
    weight: Params,
    logit: Tensor,
}

impl MixturePolicy {
    /// Two copies of the policy in a file of one network, of which one learns; `weight` is w, between 0 and 1.
    pub fn from_policy(file: &TensorFile, weight: f64, device: &Device) -> Result<Self> {
        let copy = || ActorCritic::import_on(device, file);
        Self::of(copy()?, copy()?, (weight / (1.0 - weight)).ln())
    }

    fn of(learned: ActorCritic, frozen: ActorCritic, logit: f64) -> Result<Self> {
        let mut weight = Params::on(learned.device());
        let logit = weight.add("logit", &Tensor::new(&[logit as f32], &Device::Cpu)?)?;
        Ok(Self { learned, frozen, weight, logit })
    }

    /// ω, by itself.
    #[must_use]
    pub fn weight_params(&self) -> &Params {
        &self.weight
    }

    /// w.
    pub fn weight(&self) -> Result<f64> {
        Ok(1.0 / (1.0 + (-f64::from(self.logit.to_vec1::<f32>()?[0])).exp()))
    }

    /// log π of `actions [B]` and the entropy, with gradients of θ and ω, and the critic's values `[B]`.
    pub fn evaluate_actions(&self, states: &StateBatch, actions: &[u32]) -> Result<(ActionLogProb, Tensor)> {
        let Some(frozen) = self.frozen.streamed_values(states)? else {
            let output = self.learned.forward(states)?;
            return Ok((action_log_prob(&self.log_probs(states, &output.logits)?, actions)?, output.values));
        };
        // H = Σ π·u with u = −log π. The gradient of H is that of the sum with u as a constant, because Σ π·∂ log π = 0.
        let surprise = self.item_values(states)?.divided(-1.0)?;
        let [of_frozen, _] = ItemValues::Streamed(frozen.clone()).expectation(&surprise)?;
        let Expectation { choice, expected } = self.learned.expectation(states, &surprise, actions)?;
        let frozen = frozen.log_softmax(1.0)?.of_actions(actions)?;
        let frozen = Tensor::from_vec(frozen, actions.len(), self.logit.device())?.exp()?;
        let log_prob = mixed(choice.log_prob.exp()?, &frozen, &self.logit)?.maximum(LEAST)?.log()?;
        let entropy = mixed(expected, &of_frozen, &self.logit)?;
        Ok((ActionLogProb { log_prob, entropy }, self.learned.values(states)?))
    }

    /// log π of the whole catalogue from the policy that learns, `[B, I]`, with gradients of θ and ω; masked as both are.
    pub(in crate::nn) fn log_probs(&self, states: &StateBatch, learned: &Tensor) -> Result<Tensor> {
        let frozen = self.frozen.logits(states)?.detach();
        Ok(states.mask_logits(&mixture(learned, &frozen, &self.logit)?)?)
    }

    /// The content of a file.
    pub fn export(&self) -> Result<TensorFile> {
        let mut file = self.learned.export()?;
        for (prefix, params) in [(FROZEN, self.frozen.params()), (WEIGHT, &self.weight)] {
            file.arrays.extend(params.export()?.into_iter().map(|(name, array)| (format!("{prefix}{name}"), array)));
        }
        file.tell("served", &PolicyOutput::Mixture)?;
        Ok(file)
    }

    /// Reads what [`MixturePolicy::export`] wrote.
    pub(in crate::nn) fn import(file: &TensorFile) -> Result<Self> {
        let (learned, frozen) = (ActorCritic::import(file)?, ActorCritic::import(file)?);
        frozen.params().import(&under(FROZEN, file))?;
        let policy = Self::of(learned, frozen, 0.0)?;
        policy.weight.import(&under(WEIGHT, file))?;
        Ok(policy)
    }
}

impl PolicyNetwork for MixturePolicy {
    fn backbone(&self) -> &ActorCritic {
        &self.learned
    }
    fn add_mean_user(&mut self) -> Result<()> {
        self.learned.add_mean_user()?;
        self.frozen.add_mean_user()
    }
    fn logits(&self, states: &StateBatch) -> Result<Tensor> {
        self.log_probs(states, &self.learned.logits(states)?)
    }
    fn item_values(&self, states: &StateBatch) -> Result<ItemValues> {
        let log = |network: &ActorCritic| -> Result<Option<StreamedValues>> {
            network.streamed_values(states)?.map(|scores| scores.log_softmax(1.0)).transpose()
        };
        Ok(match (log(&self.learned)?, log(&self.frozen)?) {
            (Some(learned), Some(frozen)) => {
                ItemValues::Streamed(learned.mixed_with(&frozen, self.weight()?, LEAST)?)
            }
            _ => ItemValues::Tensor(self.logits(states)?.detach()),
        })
    }
    fn streams(&self) -> bool {
        self.learned.streams()
    }
}

/// log(w·softmax(frozen) + (1 − w)·softmax(learned)): both `[B, I]`, `logit [1]` of w → `[B, I]`.
fn mixture(learned: &Tensor, frozen: &Tensor, logit: &Tensor) -> candle_core::Result<Tensor> {
    let [learned, frozen] = [learned, frozen].map(|logits| candle_nn::ops::softmax(logits, D::Minus1));
    mixed(learned?, &frozen?, logit)?.maximum(LEAST)?.log()
}

/// w·frozen + (1 − w)·learned: of equal shapes, `logit [1]` of w.
fn mixed(learned: Tensor, frozen: &Tensor, logit: &Tensor) -> candle_core::Result<Tensor> {
    let weight = candle_nn::ops::sigmoid(logit)?;
    let toward = (frozen - &learned)?.broadcast_mul(&weight)?;
    learned + toward
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;
    use crate::nn::optim::gradient_check::assert_finite_differences;
    use crate::nn::policy::actor_critic::ActorCriticConfig;
    use crate::nn::policy::policy_io::load;
    use crate::nn::{Encoder, MASKED_LOGIT};

    #[test]
    fn probabilities_are_mixed_as_computed_by_hand() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let learned = tensor(&[0.0, 3.0_f64.ln()]).unsqueeze(0).unwrap();
        let frozen = tensor(&[0.0, 0.0]).unsqueeze(0).unwrap();
        // w = ¼: ¼·½ + ¾·¼ = 5/16.
        let quarter = tensor(&[-(3.0_f64.ln())]);
        let found = mixture(&learned, &frozen, &quarter).unwrap().exp().unwrap().to_vec2::<f64>().unwrap();
        assert!((found[0][0] - 0.3125).abs() < 1e-12 && (found[0][1] - 0.6875).abs() < 1e-12, "{found:?}");
        let weights = tensor(&[1.0, -0.5]);
        assert_finite_differences(&learned, |x| mixture(x, &frozen, &quarter)?.broadcast_mul(&weights)?.sum_all());
        assert_finite_differences(&quarter, |x| mixture(&learned, &frozen, x)?.broadcast_mul(&weights)?.sum_all());
    }

    #[test]
    fn a_file_keeps_both_policies_and_what_is_masked_stays_masked() {
        let config = ActorCriticConfig {
            users: 1,
            items: 3,
            width: 2,
            window: 1,
            hidden_size: 2,
            encoder: Encoder::Window,
            prior_scale: 1.0,
            similarity_penalty: 0.0,
            similar_fraction: 0.5,
        };
        let (users, items) =
            (Array::new(&[1, 2], vec![1.0, 0.5]), Array::new(&[3, 2], vec![0.1, 0.9, -0.4, 0.3, 0.7, 0.2]));
        let network = ActorCritic::new(config, &users, &items, 4).unwrap();
        let policy = MixturePolicy::from_policy(&network.export().unwrap(), 0.25, &Device::Cpu).unwrap();
        assert!((policy.weight().unwrap() - 0.25).abs() < 1e-6);
        let mut states = network.states(&[0], &[3], &[0.0], &[0.0]).unwrap();
        let alone = candle_nn::ops::softmax(&network.logits(&states).unwrap(), D::Minus1).unwrap();
        let same = policy.logits(&states).unwrap().exp().unwrap();
        let difference = (alone - same).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(difference < 1e-6, "two equal policies mix to themselves, {difference} apart");
        let mut moved = policy.learned.params().export().unwrap();
        moved.get_mut("bias").unwrap().data = vec![0.0, 2.0, 0.0];
        policy.learned.params().import(&moved).unwrap();
        let read = load(&policy.export().unwrap()).unwrap();
        let scores = |network: &dyn PolicyNetwork, states: &StateBatch| {
            network.logits(states).unwrap().to_vec2::<f32>().unwrap()
        };
        assert_eq!(scores(read.as_ref(), &states), scores(&policy, &states));
        states.mask_actions([(0, 1)]).unwrap();
        let masked = scores(&policy, &states);
        assert!(f64::from(masked[0][1]) <= MASKED_LOGIT && masked[0][0] > -5.0, "{masked:?}");
    }
}
