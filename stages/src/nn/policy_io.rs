//! Networks as they are served: whatever they learned, they give scores of the whole catalogue, and the best item is the one of
//! the highest score.

use anyhow::Result;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::ActorCritic;
use super::actor_critic::ActorCriticConfig;
use super::bcq_policy::BcqPolicy;
use super::categorical::{Categorical, Support};
use super::state_batch::StateBatch;
use crate::artifact::TensorFile;

/// What a policy is asked.
pub trait PolicyNetwork: Send + Sync {
    /// The network that makes states of observations.
    fn backbone(&self) -> &ActorCritic;

    /// Scores of the whole catalogue, `[B, I]`; [`MASKED_LOGIT`](super::MASKED_LOGIT) or below where an item may not be taken.
    fn logits(&self, states: &StateBatch) -> Result<Tensor>;

    /// The shape of its states.
    fn config(&self) -> &ActorCriticConfig {
        self.backbone().config()
    }
}

impl PolicyNetwork for ActorCritic {
    fn backbone(&self) -> &ActorCritic {
        self
    }
    fn logits(&self, states: &StateBatch) -> Result<Tensor> {
        self.logits(states)
    }
}

impl PolicyNetwork for Box<dyn PolicyNetwork> {
    fn backbone(&self) -> &ActorCritic {
        self.as_ref().backbone()
    }
    fn logits(&self, states: &StateBatch) -> Result<Tensor> {
        self.as_ref().logits(states)
    }
}

/// How the scores come from what a policy's file holds; under `served` in its description.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Served {
    /// They are the network's own logits.
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
}

#[derive(Deserialize)]
struct About {
    #[serde(default)]
    served: Served,
}

/// The network of a policy's file.
///
/// # Errors
/// When its arrays do not fit its description.
pub fn load(file: &TensorFile) -> Result<Box<dyn PolicyNetwork>> {
    let About { served } = file.about()?;
    Ok(match served {
        Served::Logits => Box::new(ActorCritic::import(file)?),
        Served::Bcq { threshold } => Box::new(BcqPolicy::import(file, threshold)?),
        Served::Categorical(support) => Box::new(Categorical::import(file, support)?),
    })
}
