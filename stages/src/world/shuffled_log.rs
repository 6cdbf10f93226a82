//! The ratings of a log in a new order each epoch, batch after batch, without a search through the log at each step.

use rand::RngExt;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::rated_log::{Ratings, Sample};
use crate::nn::rng;

/// Ratings of a bucket, about: what a core's cache holds.
const BUCKET: usize = 1 << 15;
/// The most buckets: so many streams of writes run side by side.
const MOST_BUCKETS: usize = 1 << 10;

/// The ratings of a log in the order of one epoch.
#[derive(Default)]
pub(super) struct ShuffledLog {
    samples: Vec<Sample>,
}

impl ShuffledLog {
    /// Draws the order of an epoch: every order is equally likely. Each rating draws a bucket, and then each bucket is shuffled by
    /// itself (Rao 1961, Sandelius 1962), so that all accesses to memory but those in cache are in order.
    pub fn shuffle(&mut self, ratings: &Ratings<'_>, [seed, epoch]: [u64; 2]) {
        let rows = ratings.log.len();
        let buckets = rows.div_ceil(BUCKET).clamp(1, MOST_BUCKETS);
        let draws = || {
            let mut draw = rng(&[seed, 0x5f1e, epoch]);
            (0..rows).map(move |_| draw.random_range(0..buckets))
        };
        let mut sizes = vec![0_usize; buckets];
        draws().for_each(|bucket| sizes[bucket] += 1);
        let starts = sizes.iter().scan(0, |sum, size| Some(std::mem::replace(sum, *sum + size)));
        let mut next: Vec<usize> = starts.collect();
        self.samples.resize(rows, Sample::default());
        for (row, bucket) in draws().enumerate() {
            self.samples[next[bucket]] = ratings.sample(row);
            next[bucket] += 1;
        }
        let mut rest = self.samples.as_mut_slice();
        let mut parts = Vec::with_capacity(buckets);
        for size in sizes {
            let (part, others) = rest.split_at_mut(size);
            parts.push(part);
            rest = others;
        }
        parts.into_par_iter().enumerate().for_each(|(bucket, part)| {
            part.shuffle(&mut rng(&[seed, 0x5f1e, epoch, bucket as u64]));
        });
    }

    /// The batches of the epoch, of `size` ratings each but the last.
    pub fn batches(&self, size: usize) -> std::slice::Chunks<'_, Sample> {
        self.samples.chunks(size)
    }
}

/// The pairs of one step.
#[derive(Default)]
pub(super) struct Batch {
    /// The ratings, then what is fitted to 0 beside them.
    pub pairs: Vec<Sample>,
    /// How many of them are ratings.
    pub ratings: usize,
}

impl Batch {
    /// Becomes the batch `number` of an epoch, with negatives where they are drawn.
    pub fn fill(&mut self, samples: &[Sample], ratings: &Ratings<'_>, [seed, epoch, number]: [u64; 3]) {
        self.ratings = samples.len();
        self.pairs.clear();
        self.pairs.extend_from_slice(samples);
        let Some(negatives) = ratings.negatives else { return };
        let mut draw = rng(&[seed, 0x4e6, epoch, number]);
        let drawn = samples.iter().filter_map(|&Sample { user, .. }| {
            let item = negatives.draw(user, &mut draw)?;
            Some(Sample { user, item, rating: 0.0, weight: 1.0 })
        });
        self.pairs.extend(drawn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Interactions;
    use crate::ratings::NegativeSampler;

    fn log(rows: u32) -> Interactions {
        Interactions {
            user: (0..rows).collect(),
            item: (0..rows).map(|row| row % 7).collect(),
            rating: (0..rows).map(|row| row as f32).collect(),
            timestamp: vec![0; rows as usize],
        }
    }

    fn ratings(log: &Interactions) -> Ratings<'_> {
        Ratings { log, shape: [log.len(), 7], weights: None, negatives: None, holdout: None }
    }

    #[test]
    fn an_epoch_holds_each_rating_once_in_an_order_of_its_own_on_any_number_of_threads() {
        let log = log(3 * BUCKET as u32 + 5);
        let users = |epoch: u64, threads: usize| -> Vec<u32> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut shuffled = ShuffledLog::default();
            pool.install(|| shuffled.shuffle(&ratings(&log), [1, epoch]));
            let samples = shuffled.batches(1000).flatten().copied().collect::<Vec<_>>();
            assert!(samples.iter().all(|s| s.item == s.user % 7 && s.rating == s.user as f32 && s.weight == 1.0));
            samples.into_iter().map(|sample| sample.user).collect()
        };
        let (first, other) = (users(0, 1), users(1, 1));
        assert!(first != other && first == users(0, 3) && first == users(0, 16));
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, log.user);
        // The mean place of each third of the log is the middle, up to 5 standard errors.
        let third = first.len() / 3;
        for part in 0..3 {
            let own = |user: &u32| *user as usize / third == part;
            let places = first.iter().enumerate().filter(|(_, user)| own(user)).map(|(place, _)| place as f64);
            let mean = places.sum::<f64>() / third as f64 / first.len() as f64;
            assert!((mean - 0.5).abs() < 5.0 * (1.0 / 12.0_f64 / third as f64).sqrt(), "{part}: {mean}");
        }
    }

    #[test]
    fn orders_of_three_are_equally_likely() {
        let log = log(3);
        let mut counts = std::collections::BTreeMap::<Vec<u32>, u32>::new();
        let mut shuffled = ShuffledLog::default();
        for epoch in 0..1200 {
            shuffled.shuffle(&ratings(&log), [5, epoch]);
            *counts.entry(shuffled.batches(3).flatten().map(|sample| sample.user).collect()).or_default() += 1;
        }
        assert!(counts.len() == 6 && counts.values().all(|&count| (140..260).contains(&count)), "{counts:?}");
    }

    #[test]
    fn beside_each_rating_stands_what_its_user_did_not_rate() {
        let log = log(20);
        let negatives = NegativeSampler::new(&log, 20, 7);
        let ratings = Ratings { negatives: Some(&negatives), weights: Some(&[0.5; 20]), ..ratings(&log) };
        let mut shuffled = ShuffledLog::default();
        shuffled.shuffle(&ratings, [1, 0]);
        let mut batch = Batch::default();
        batch.fill(shuffled.batches(8).next().unwrap(), &ratings, [1, 0, 0]);
        assert_eq!((batch.ratings, batch.pairs.len()), (8, 16));
        let (rated, drawn) = batch.pairs.split_at(8);
        for (rated, drawn) in rated.iter().zip(drawn) {
            assert!(rated.user == drawn.user && rated.item != drawn.item && rated.weight == 0.5);
            assert_eq!((drawn.rating, drawn.weight), (0.0, 1.0));
        }
    }
}
