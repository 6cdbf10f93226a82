//! The policy's network as a setting of every learner.

use anyhow::Result;
use candle_core::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validation::{self, Validation};
use crate::artifact::World;
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::{ActorCritic, Encoder};

/// The shape of a policy's network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// How many of the last items the state holds.
    pub window: usize,
    /// Width of the hidden layer.
    pub hidden_size: usize,
    /// How the last items are read: `window` (their vectors side by side, ours), `average` (EasyRL4Rec's default), `gru`,
    /// `transformer` (IL-Rec's), `sasrec` or `caser`.
    pub encoder: Encoder,
    /// How strongly a new policy follows the training world's own vectors; 0 starts uniform.
    pub prior_scale: f64,
    /// How strongly a new policy avoids items alike to those it just showed; 0 leaves that to learning.
    pub similarity_penalty: f64,
    /// The share of item pairs, the closest by the training world's vectors, that the policy takes for alike.
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
