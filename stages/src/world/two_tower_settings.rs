//! The settings of `world.two_tower`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{UserSimulator, WorldForm};
use crate::features::Features;
use crate::nn::{Optimizer, OptimizerDefaults, Schedule};

/// `world.two_tower`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TwoTower {
    /// Dimension of the vectors of both towers.
    pub embedding: usize,
    /// The columns of items and of users whose embeddings are added to an item's or a user's own vector, and what each is read as. No other
    /// column is read; the run notes them.
    #[serde(skip_serializing_if = "Features::is_default")]
    pub features: Features,
    /// The least rating of an interaction that is fitted. Without a value all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_rating: Option<f64>,
    /// Passes over the log.
    pub n_epochs: u64,
    /// Interactions per gradient step. The items of a batch are candidates of each of its users.
    pub batch_size: usize,
    /// Items that are drawn uniformly from the catalogue at each step, as further candidates (mixed negative sampling, Yang et al. 2020), so
    /// that items that nobody chose are also compared. 0 is the in-batch softmax of Yi et al.
    pub n_uniform_negatives: usize,
    /// Whether ln Q of a candidate, the number of times that it is expected among the candidates, is subtracted from its score. Without it
    /// popular items are compared more often than others and score too low.
    pub log_q_correction: bool,
    /// AdamW and its learning rate, which changes from epoch to epoch. A step changes the rows of its batch alone (lazy Adam).
    pub optimizer: Optimizer<TwoTower>,
    /// λ of λ·(|p|² + |q|²) beside the sum of the interactions' losses, over all users and items; biases are not penalised.
    pub l2: f64,
    /// The lowest and the highest reward.
    pub reward_range: [f64; 2],
    /// Seed of the initial vectors, of the order of batches and of the negatives.
    pub seed: u64,
    /// Whether the world stores a reward for each user and item, or the vectors of both towers: `auto`, `dense` or `factored`.
    #[serde(skip_serializing_if = "WorldForm::is_auto")]
    pub form: WorldForm,
    /// How simulated users behave in the completed world.
    pub simulator: UserSimulator,
}

impl OptimizerDefaults for TwoTower {
    const LEARNING_RATE: f64 = 0.01;
    const WEIGHT_DECAY: f64 = 0.0;
    const MAX_GRAD_NORM: Option<f64> = None;
    const SCHEDULE: Schedule = Schedule::Linear;
}

impl Default for TwoTower {
    fn default() -> Self {
        // Chosen on a held-out split of MovieLens-100K.
        Self {
            embedding: 32,
            features: Features::default(),
            min_rating: None,
            n_epochs: 5,
            batch_size: 512,
            n_uniform_negatives: 256,
            log_q_correction: true,
            optimizer: Optimizer::default(),
            l2: 3.0,
            reward_range: [0.0, 1.0],
            seed: 0,
            form: WorldForm::Auto,
            simulator: UserSimulator::default(),
        }
    }
}
