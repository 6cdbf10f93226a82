//! Every trained policy gives scores of all items, and the best item has the highest score.

use anyhow::Result;
use candle_core::Tensor;

use crate::nn::ActorCritic;
use crate::nn::encoders::state_batch::StateBatch;
use crate::nn::policy::actor_critic::ActorCriticConfig;
use crate::nn::policy::item_values::ItemValues;

/// A trained policy.
pub trait PolicyNetwork: Send + Sync {
    /// The network that builds states from observations.
    fn backbone(&self) -> &ActorCritic;

    /// Adds a user behind all others whose vector is the mean of theirs: somebody who is not in the log.
    ///
    /// # Errors
    /// When there is no memory for the table.
    fn add_mean_user(&mut self) -> Result<()>;

    /// Scores of the whole catalogue, `[B, I]`; [`MASKED_LOGIT`](crate::nn::MASKED_LOGIT) or below where an item is masked.
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
