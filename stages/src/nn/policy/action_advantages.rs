//! Advantages of single actions over a catalogue without a table of scores: what value learners read of Q.

use anyhow::Result;
use candle_core::Tensor;

use crate::nn::encoders::state_batch::StateBatch;
use crate::nn::kernels::Wanted;
use crate::nn::{ActionLogProb, ActorCritic};

/// Of actions in B states.
pub struct ActionAdvantages {
    /// Their scores less the mean of what may be shown, `[B]`.
    pub advantages: Tensor,
    /// log π, `[B]`; 0 where it was not asked for.
    pub log_prob: Tensor,
    /// The critic's value, `[B]`.
    pub values: Tensor,
}

impl ActorCritic {
    /// Of `actions [B]`, with log π where `softmax` says so, in one pass over the catalogue; `None` where it
    /// [streams](ActorCritic::streams) nothing.
    pub fn action_advantages(
        &self,
        states: &StateBatch,
        actions: &[u32],
        softmax: bool,
    ) -> Result<Option<ActionAdvantages>> {
        let (users, inputs) = self.inputs(states)?;
        self.action_advantages_of(states, (&users, &inputs), actions, softmax)
    }

    /// log π by this network and advantages by another with the same configuration, both on this network's encoding of the states.
    pub fn action_advantages_with_shared_encoder(
        &self,
        other: &Self,
        states: &StateBatch,
        actions: &[u32],
    ) -> Result<Option<(ActionLogProb, ActionAdvantages)>> {
        let (users, inputs) = self.inputs(states)?;
        let Some(advantages) = other.action_advantages_of(states, (&users, &inputs), actions, false)? else {
            return Ok(None);
        };
        Ok(Some((self.action_log_prob_of(states, &users, &inputs, actions)?, advantages)))
    }

    /// The best items by another network with the same configuration on this network's encoding of the states, `[B]`.
    pub fn best_with_shared_encoder(&self, other: &Self, states: &StateBatch) -> Result<Vec<u32>> {
        let (users, inputs) = self.inputs(states)?;
        other.choose_of(states, &users, &inputs, None)
    }

    fn action_advantages_of(
        &self,
        states: &StateBatch,
        (users, inputs): (&Tensor, &Tensor),
        actions: &[u32],
        softmax: bool,
    ) -> Result<Option<ActionAdvantages>> {
        let wanted = Wanted { softmax, mean: true, ..Wanted::default() };
        let Some(found) = self.streamed_scores(states, (users, inputs), actions, wanted)? else { return Ok(None) };
        let (advantages, log_prob) = ((found.logit - found.mean)?, found.log_prob);
        Ok(Some(ActionAdvantages { advantages, log_prob, values: self.values_of(inputs)? }))
    }
}
