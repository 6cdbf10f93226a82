//! What the operators take and give, for the fused implementation and for its reference.

use candle_core::Tensor;

/// The activation of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// The identity.
    None,
    /// tanh.
    Tanh,
}

/// Scores of the actions in B states.
pub struct ActionScores {
    /// Logits of the actions, `[B]`.
    pub logit: Tensor,
    /// log π of the actions, `[B]`.
    pub log_prob: Tensor,
    /// −Σ π log π, `[B]`, nats.
    pub entropy: Tensor,
}

/// Further inputs of the scores, constants.
#[derive(Clone, Copy, Default)]
pub struct HeadInputs<'t> {
    /// `[B·A, E]`: E features of each item in each state, whose weights are the last E of `rest`.
    pub features: Option<&'t Tensor>,
    /// `[B, A]`: 1 where an item may be chosen, else 0.
    pub action_mask: Option<&'t Tensor>,
}

/// K atoms, constants.
pub struct Atoms {
    /// `[K]`, factors of the tilt.
    pub places: Tensor,
    /// `[K]`, returns.
    pub values: Tensor,
}
