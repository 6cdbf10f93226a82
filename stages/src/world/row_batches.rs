//! A log in batches, each with the rows of the tables that it looks up.

use pipeline::progress::Bar;

use super::rated_log::{Ratings, Sample};
use super::shuffled_log::Batch;

/// The batches of an epoch.
pub(super) struct Batches<'a> {
    pub samples: Vec<&'a [Sample]>,
    pub ratings: &'a Ratings<'a>,
    pub path: [u64; 2],
    pub bar: &'a Bar,
}

impl Batches<'_> {
    /// How many.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether the ratings have weights.
    pub fn weighted(&self) -> bool {
        self.ratings.weights.is_some()
    }

    /// Makes `batch` the one of that number.
    pub fn fill(&self, number: usize, batch: &mut Batch) {
        let [seed, epoch] = self.path;
        batch.fill(self.samples[number], self.ratings, [seed, epoch, number as u64]);
    }

    /// Tells that the step of that number is done.
    pub fn stepped(&self, number: usize) {
        self.bar.inc(self.samples[number].len() as u64);
    }
}
