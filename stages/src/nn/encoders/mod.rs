//! What a policy sees: states from observations, the encoders of histories, and how alike items are.
//!
//! In: a user, the recent items and rewards, which items are free. Out: a vector of each state, and what the output layer reads of each item.

pub(in crate::nn) mod caser;
pub(in crate::nn) mod encoder;
pub(in crate::nn) mod history;
pub(in crate::nn) mod item_features;
pub(in crate::nn) mod item_similarity;
pub(in crate::nn) mod sasrec;
pub(in crate::nn) mod similarity_vectors;
pub mod state_batch;
pub mod subspace;
