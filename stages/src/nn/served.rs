//! Networks as they are served: whatever they learned, they give scores of the whole catalogue, and the best item is the one of
//! the highest score.

use anyhow::Result;
use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::ActorCritic;
use super::actor_critic::Shape;
use super::categorical::{Categorical, Support};
use super::constrained::Constrained;
use super::states::States;
use crate::artifact::TensorFile;

/// What a policy is asked.
pub trait Scores: Send + Sync {
    /// The network that makes states of observations.
    fn reader(&self) -> &ActorCritic;

    /// Scores of the whole catalogue, `[B, I]`; [`NOT_THERE`](super::NOT_THERE) or below where an item may not be taken.
    fn logits(&self, states: &States) -> Result<Tensor>;

    /// The shape of its states.
    fn shape(&self) -> &Shape {
        self.reader().shape()
    }
}

impl Scores for ActorCritic {
    fn reader(&self) -> &ActorCritic {
        self
    }
    fn logits(&self, states: &States) -> Result<Tensor> {
        self.logits(states)
    }
}

impl Scores for Box<dyn Scores> {
    fn reader(&self) -> &ActorCritic {
        self.as_ref().reader()
    }
    fn logits(&self, states: &States) -> Result<Tensor> {
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
    /// See [`Constrained`].
    Constrained {
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
pub fn load(file: &TensorFile) -> Result<Box<dyn Scores>> {
    let About { served } = file.about()?;
    Ok(match served {
        Served::Logits => Box::new(ActorCritic::import(file)?),
        Served::Constrained { threshold } => Box::new(Constrained::import(file, threshold)?),
        Served::Categorical(support) => Box::new(Categorical::import(file, support)?),
    })
}
