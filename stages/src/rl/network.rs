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
    pub hidden: usize,
    /// How the last items are read: `window` (their vectors side by side, ours), `average` (EasyRL4Rec's default), `gru`,
    /// `transformer` (IL-Rec's), `sasrec` or `caser`.
    pub encoder: Encoder,
    /// How strongly a new policy follows the training world's own vectors; 0 starts uniform.
    pub prior: f64,
    /// How strongly a new policy avoids items alike to those it just showed; 0 leaves that to learning.
    pub avoid: f64,
    /// The share of item pairs, the closest by the training world's vectors, that the policy takes for alike.
    pub alike_share: f64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { window: 7, hidden: 64, encoder: Encoder::Window, prior: 16.0, avoid: 0.0, alike_share: 0.02 }
    }
}

impl NetworkConfig {
    /// What no type can say.
    pub fn check(&self) -> Validation {
        validation::at_least_one("window", self.window, "a state holds at least the last item")?;
        validation::at_least_one("hidden", self.hidden, "a layer has at least one unit")?;
        validation::fraction("alike_share", self.alike_share)?;
        validation::finite("prior", self.prior)?;
        validation::finite("avoid", self.avoid)?;
        validation::nested("encoder", self.encoder.check())
    }

    /// A new network for that world, on that device.
    pub fn build(&self, world: &World, seed: u64, device: &Device) -> Result<ActorCritic> {
        let config = ActorCriticConfig {
            users: world.users(),
            items: world.items(),
            width: world.user_vectors.shape[1],
            window: self.window,
            hidden: self.hidden,
            encoder: self.encoder.clone(),
            prior: self.prior,
            avoid: self.avoid,
            alike_share: self.alike_share,
        };
        ActorCritic::new_on(device, config, &world.user_vectors, &world.item_vectors, seed)
    }
}
