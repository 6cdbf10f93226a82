//! What a policy's file says of its scores.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::artifact::{Array, TensorFile};
use crate::nn::policy::support::Support;

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

/// The returns-to-go that a policy asks for when it is served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Returns {
    /// The unit of returns in the network.
    pub unit: f64,
    /// One for each turn, the horizon's number; without it the critic's value of the state.
    pub by_turn: Option<Vec<f32>>,
}

/// The arrays of a file under a prefix, by their names without it.
pub(in crate::nn) fn under(prefix: &str, file: &TensorFile) -> BTreeMap<String, Array> {
    let of = |(name, array): (&String, &Array)| Some((name.strip_prefix(prefix)?.to_owned(), array.clone()));
    file.arrays.iter().filter_map(of).collect()
}
