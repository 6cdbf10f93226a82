//! The policy's network as a setting of every learner.

use anyhow::Result;
use candle_core::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validation::{self, Validation};
use crate::artifact::World;
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::{ActorCritic, Encoder};

/// The network of a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Number of last items in the state.
    pub window: usize,
    /// Units of the hidden layer.
    pub hidden_size: usize,
    /// State encoder of the last items: `window` (concatenation of their vectors, the default), `average` (EasyRL4Rec's default), `gru`,
    /// `transformer` (IL-Rec's), `sasrec` or `caser`.
    pub encoder: Encoder,
    /// Initial weight of the training world's ratings in the logits; 0 starts with a uniform policy.
    pub prior_scale: f64,
    /// Initial penalty of items similar to the last ones, in logits; 0 for none. It is learned further.
    pub similarity_penalty: f64,
    /// Share of item pairs, the closest by the training world's vectors, that count as similar.
    pub similar_fraction: f64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            window: 7,
            hidden_size: 64,
            encoder: Encoder::Window,
            prior_scale: 16.0,
            similarity_penalty: 0.0,
            similar_fraction: 0.02,
        }
    }
}

impl NetworkConfig {
    /// What no type can say.
    pub fn check(&self) -> Validation {
        validation::at_least_one("window", self.window, "a state holds at least the last item")?;
        validation::at_least_one("hidden_size", self.hidden_size, "a layer has at least one unit")?;
        validation::fraction("similar_fraction", self.similar_fraction)?;
        validation::finite("prior_scale", self.prior_scale)?;
        validation::finite("similarity_penalty", self.similarity_penalty)?;
        validation::nested("encoder", self.encoder.check())
    }

    /// A new network for that world, on that device.
    pub fn build(&self, world: &World, seed: u64, device: &Device) -> Result<ActorCritic> {
        let config = ActorCriticConfig {
            users: world.users(),
            items: world.items(),
            width: world.user_vectors.shape[1],
            window: self.window,
            hidden_size: self.hidden_size,
            encoder: self.encoder.clone(),
            prior_scale: self.prior_scale,
            similarity_penalty: self.similarity_penalty,
            similar_fraction: self.similar_fraction,
        };
        ActorCritic::new_on(device, config, &world.user_vectors, &world.item_vectors, seed)
    }
}
