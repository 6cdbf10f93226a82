//! Policies in files: every trained policy gives scores of all items, and the best item has the highest score.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::ActorCritic;
use super::actor_critic::ActorCriticConfig;
use super::bcq_policy::BcqPolicy;
use super::categorical::{Categorical, Support};
use super::decision_transformer::{DecisionTransformer, Returns};
use super::item_values::ItemValues;
use super::mixture_policy::MixturePolicy;
use super::state_batch::StateBatch;
use crate::artifact::{Array, TensorFile};

/// A trained policy.
pub trait PolicyNetwork: Send + Sync {
    /// The network that builds states from observations.
    fn backbone(&self) -> &ActorCritic;

    /// Adds a user behind all others whose vector is the mean of theirs: somebody who is not in the log.
    ///
    /// # Errors
    /// When there is no memory for the table.
    fn add_mean_user(&mut self) -> Result<()>;

    /// Scores of the whole catalogue, `[B, I]`; [`MASKED_LOGIT`](super::MASKED_LOGIT) or below where an item is masked.
    fn logits(&self, states: &StateBatch) -> Result<Tensor>;

    /// The same as constants, without a tensor where it [streams](Self::streams).
    fn item_values(&self, states: &StateBatch) -> Result<ItemValues> {
        Ok(ItemValues::Tensor(self.logits(states)?.detach()))
    }

    /// Of each state the first item of the highest score, or with `uniforms [B]` in [0, 1) one drawn from the softmax of the scores.
    fn choose(&self, states: &StateBatch, uniforms: Option<&[f64]>) -> Result<Vec<u32>> {
        self.item_values(states)?.choose(uniforms)
    }

    /// Whether [`choose`](Self::choose) and [`item_values`](Self::item_values) need no scores of all items at once.
    fn streams(&self) -> bool {
        false
    }

    /// The configuration of its backbone.
    fn config(&self) -> &ActorCriticConfig {
        self.backbone().config()
    }
}

impl PolicyNetwork for ActorCritic {
    fn backbone(&self) -> &ActorCritic {
        self
    }
    fn add_mean_user(&mut self) -> Result<()> {
        self.add_mean_user()
    }
    fn logits(&self, states: &StateBatch) -> Result<Tensor> {
        self.logits(states)
    }
    fn item_values(&self, states: &StateBatch) -> Result<ItemValues> {
        self.item_values(states)
    }
    fn choose(&self, states: &StateBatch, uniforms: Option<&[f64]>) -> Result<Vec<u32>> {
        self.choose(states, uniforms)
    }
    fn streams(&self) -> bool {
        self.streams()
    }
}

impl PolicyNetwork for Box<dyn PolicyNetwork> {
    fn backbone(&self) -> &ActorCritic {
        self.as_ref().backbone()
    }
    fn add_mean_user(&mut self) -> Result<()> {
        self.as_mut().add_mean_user()
    }
    fn logits(&self, states: &StateBatch) -> Result<Tensor> {
        self.as_ref().logits(states)
    }
    fn item_values(&self, states: &StateBatch) -> Result<ItemValues> {
        self.as_ref().item_values(states)
    }
    fn choose(&self, states: &StateBatch, uniforms: Option<&[f64]>) -> Result<Vec<u32>> {
        self.as_ref().choose(states, uniforms)
    }
    fn streams(&self) -> bool {
        self.as_ref().streams()
    }
}

/// How scores are computed from a policy's file; the `served` of its header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyOutput {
    /// The logits of an [`ActorCritic`].
    #[default]
    Logits,
    /// See [`BcqPolicy`].
    #[serde(rename = "constrained")]
    Bcq {
        /// τ.
        threshold: f64,
    },
    /// See [`Categorical`].
    Categorical(Support),
    /// See [`DecisionTransformer`].
    Decision(Returns),
    /// See [`MixturePolicy`].
    Mixture,
}

#[derive(Deserialize)]
struct PolicyHeader {
    #[serde(default)]
    served: PolicyOutput,
}

/// How the scores of a policy's file are computed.
///
/// # Errors
/// When its header does not say so in a known way.
pub fn output_of(file: &TensorFile) -> Result<PolicyOutput> {
    Ok(file.about::<PolicyHeader>()?.served)
}

/// The arrays of a file under a prefix, by their names without it.
pub(super) fn under(prefix: &str, file: &TensorFile) -> BTreeMap<String, Array> {
    let of = |(name, array): (&String, &Array)| Some((name.strip_prefix(prefix)?.to_owned(), array.clone()));
    file.arrays.iter().filter_map(of).collect()
}

/// Loads the policy of a file.
///
/// # Errors
/// When its arrays do not fit its header.
pub fn load(file: &TensorFile) -> Result<Box<dyn PolicyNetwork>> {
    Ok(match output_of(file)? {
        PolicyOutput::Logits => Box::new(ActorCritic::import(file)?),
        PolicyOutput::Bcq { threshold } => Box::new(BcqPolicy::import(file, threshold)?),
        PolicyOutput::Mixture => Box::new(MixturePolicy::import(file)?),
        PolicyOutput::Categorical(support) => Box::new(Categorical::import_on(&Device::Cpu, file, support)?),
        PolicyOutput::Decision(returns) => Box::new(DecisionTransformer::import_on(&Device::Cpu, file, returns)?),
    })
}
