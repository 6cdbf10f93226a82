//! The ratings that a model is fitted to, and the unrated pairs beside them.

use crate::artifact::Interactions;
use crate::ratings::NegativeSampler;

/// What a rating model is fitted on.
pub(super) struct Ratings<'a> {
    /// The ratings.
    pub log: &'a Interactions,
    /// How many users and items there are.
    pub shape: [usize; 2],
    /// How much each counts, on average 1; all alike without.
    pub weights: Option<&'a [f64]>,
    /// Where an item that the user did not rate is fitted to 0 beside each rating.
    pub negatives: Option<&'a NegativeSampler>,
    /// Ratings that are only scored.
    pub holdout: Option<&'a Interactions>,
}

impl Ratings<'_> {
    /// One of them, as a step reads it.
    pub(super) fn sample(&self, row: usize) -> Sample {
        let weight = self.weights.map_or(1.0, |weights| weights[row] as f32);
        Sample { user: self.log.user[row], item: self.log.item[row], rating: self.log.rating[row], weight }
    }
}

/// One rating as a step reads it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    pub user: u32,
    pub item: u32,
    pub rating: f32,
    /// How much it counts; 1 without weights.
    pub weight: f32,
}
