//! The settings of `evaluate.ranking`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `evaluate.ranking`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateRanking {
    /// The cut-offs k of the metrics, each from 1: only the first k items of a ranking count. 10 and 20 by default.
    pub top_k: Vec<usize>,
    /// Whether the items that a user has in `train` are left out of the user's rankings, and of what is relevant. On by default; off
    /// where users take items again.
    pub exclude_train: bool,
    /// A held-out interaction is relevant from this rating on; all are when absent.
    pub min_rating: Option<f64>,
    /// Number of the user's last interactions in `train` that a policy is told as the steps before, with their ratings as rewards; at
    /// most as many as its episodes have steps before the last one. 0 by default: a policy ranks as at the beginning of an episode,
    /// which is where a user of a simulator comes in.
    pub history_length: usize,
    /// Random rankings of each user, from 1; 5 by default.
    pub n_repeats: usize,
    /// Seed of the random rankings.
    pub seed: u64,
}

impl Default for EvaluateRanking {
    fn default() -> Self {
        Self { top_k: vec![10, 20], exclude_train: true, min_rating: None, history_length: 0, n_repeats: 5, seed: 0 }
    }
}
