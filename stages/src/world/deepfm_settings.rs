//! The settings of `world.deepfm`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::embedding_updates::EmbeddingUpdates;
use super::{Ips, UserSimulator, WorldForm};
use crate::features::Features;
use crate::nn::{Optimizer, OptimizerDefaults, Schedule};

/// `world.deepfm`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeepFm {
    /// Width of a field's embedding; 8 as in EasyRL4Rec.
    pub embedding: usize,
    /// Widths of the network's hidden layers.
    pub hidden: Vec<usize>,
    /// Features of users or items with more distinct values than this are ignored (a zip code describes few others), and the run notes
    /// them. It is for a table of which `features` declares no column.
    pub max_cardinality: usize,
    /// The columns of items and of users that are fields, and what each is read as. Without any of a table, its columns of at most
    /// `max_cardinality` values are categorical, and a catalogue's year (by decade) and genres are fields. With some, exactly these are.
    #[serde(skip_serializing_if = "Features::is_default")]
    pub features: Features,
    /// Number of models, each fitted with its own seed. The world holds their mean, which suppresses errors of single models on
    /// rarely rated items, and their standard deviation. 5 as in EasyRL4Rec.
    pub ensemble_size: u64,
    /// Whether each model also predicts the variance of each rating: the loss is then err²·e^{−s} + s with s = ln σ² (EasyRL4Rec's
    /// optional head), which weights ratings by their predicted precision. Off by default.
    pub predict_variance: bool,
    /// Passes over the log.
    pub n_epochs: u64,
    /// Ratings per gradient step.
    pub batch_size: usize,
    /// AdamW and its learning rate, which changes from epoch to epoch.
    pub optimizer: Optimizer<DeepFm>,
    /// Which rows of the table of users, items and features a step changes: `auto` is `lazy` beyond 50,000 users and items. The network
    /// is always stepped as a whole.
    #[serde(skip_serializing_if = "EmbeddingUpdates::is_auto")]
    pub embedding_updates: EmbeddingUpdates,
    /// λ of λ·|θ|² beside the sum of squared errors; a rating counts against it once.
    pub l2: f64,
    /// Seed of the initial weights and of the order of batches; each member takes the next one.
    pub seed: u64,
    /// Whether each rating is paired with an item that the user did not rate, drawn anew each epoch and fitted to 0, as in
    /// EasyRL4Rec: unrated items then count as bad. Off by default.
    pub sample_negatives: bool,
    /// Inverse propensity weighting; only with the input `propensities`.
    pub ips: Ips,
    /// Whether the world stores a reward for each user and item, or holds the factors of its models and their networks.
    #[serde(skip_serializing_if = "WorldForm::is_auto")]
    pub form: WorldForm,
    /// How simulated users behave in the completed world.
    pub simulator: UserSimulator,
}

impl OptimizerDefaults for DeepFm {
    const LEARNING_RATE: f64 = 0.01;
    const WEIGHT_DECAY: f64 = 0.0;
    const MAX_GRAD_NORM: Option<f64> = None;
    const SCHEDULE: Schedule = Schedule::Constant;
}

impl Default for DeepFm {
    fn default() -> Self {
        // Chosen on a held-out split of MovieLens-100K.
        Self {
            embedding: 8,
            hidden: vec![64, 64],
            max_cardinality: 100,
            features: Features::default(),
            ensemble_size: 5,
            predict_variance: false,
            n_epochs: 8,
            batch_size: 1024,
            optimizer: Optimizer::default(),
            embedding_updates: EmbeddingUpdates::Auto,
            l2: 8.0,
            seed: 0,
            sample_negatives: false,
            ips: Ips::default(),
            form: WorldForm::Auto,
            simulator: UserSimulator::default(),
        }
    }
}
