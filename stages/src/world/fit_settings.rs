//! How a rating model is fitted.

use super::embedding_updates::EmbeddingUpdates;
use crate::nn::Optimizer;

/// How a rating model is fitted; each family has fields and defaults of its own for it.
pub(super) struct Fit {
    /// What the training is called among the checkpoints.
    pub name: String,
    /// Passes over the log.
    pub n_epochs: u64,
    /// Ratings per gradient step.
    pub batch_size: usize,
    /// Which rows of its tables a step changes.
    pub embedding_updates: EmbeddingUpdates,
    /// AdamW and its learning rate.
    pub optimizer: Optimizer<()>,
    /// λ of λ·|θ|² beside the sum of squared errors: a rating counts against it once, so that what few have rated stays near
    /// the mean. (A penalty for each rating would leave an item with one rating of 5 on top of every list.) With negatives the
    /// errors are averaged over twice as many rows while N stays that of the ratings, so that the same λ shrinks twice as much.
    pub l2: f64,
    /// Seed of the order of batches.
    pub seed: u64,
}
