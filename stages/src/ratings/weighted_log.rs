//! Ratings that do not all count alike.

use super::NegativeSampler;
use crate::artifact::Interactions;
use crate::nn::rng;

/// Negatives are drawn until there are this many for each positive, and [`DRAWS_OF_ITEM`] for each item in the mean.
const DRAWS_OF_POSITIVE: usize = 4;
const DRAWS_OF_ITEM: usize = 10;

/// Ratings with weights above 0, one a row.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedLog {
    /// The ratings; drawn negatives come last.
    pub ratings: Interactions,
    /// How many rows are of the log itself.
    pub given: usize,
    /// How many ratings each row counts as.
    pub weights: Vec<f64>,
}

impl WeightedLog {
    /// Ratings that count alike.
    #[must_use]
    pub fn equal(ratings: Interactions) -> Self {
        Self { weights: vec![1.0; ratings.len()], given: ratings.len(), ratings }
    }

    /// `positives` and as many negatives: ratings of 0 for what `negatives` draws.
    ///
    /// One draw for each positive would say less of an item's popularity than its positives do. So more are drawn, and all those of an
    /// item count together as what one for each positive is in the mean.
    #[must_use]
    pub fn with_negatives(positives: Interactions, negatives: &NegativeSampler, items: usize, seed: u64) -> Self {
        let given = positives.len();
        let draws = DRAWS_OF_POSITIVE.max((DRAWS_OF_ITEM * items).div_ceil(given.max(1)));
        let expected = negatives.expected(&positives);
        let mut all = Self::equal(positives);
        let mut drawn = vec![0.0; items];
        for row in 0..given {
            let user = all.ratings.user[row];
            let mut draw = rng(&[seed, 0x4e67, row as u64]);
            for item in (0..draws).filter_map(|_| negatives.draw(user, &mut draw)) {
                all.ratings.user.push(user);
                all.ratings.item.push(item);
                all.ratings.rating.push(0.0);
                all.ratings.timestamp.push(all.ratings.timestamp[row]);
                drawn[item as usize] += 1.0;
            }
        }
        let of_item = |&item: &u32| expected[item as usize] / drawn[item as usize];
        all.weights.extend(all.ratings.item[given..].iter().map(of_item));
        all
    }

    /// These rows, ascending.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        Self {
            ratings: self.ratings.take(rows),
            given: rows.partition_point(|&row| row < self.given),
            weights: rows.iter().map(|&row| self.weights[row]).collect(),
        }
    }

    /// How many ratings all rows count as.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.weights.iter().sum()
    }

    /// The mean rating; 0 without any.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.rows().map(|(_, rating, weight)| weight * rating).sum();
        if sum == 0.0 { 0.0 } else { sum / self.total() }
    }

    /// The standard deviation of the ratings; 1 where there is none.
    #[must_use]
    pub fn deviation(&self) -> f64 {
        let mean = self.mean();
        let square: f64 = self.rows().map(|(_, rating, weight)| weight * (rating - mean).powi(2)).sum();
        if square > 0.0 { (square / self.total()).sqrt() } else { 1.0 }
    }

    /// How many ratings each of `items` items has.
    #[must_use]
    pub fn counts(&self, items: usize) -> Vec<f64> {
        let mut counts = vec![0.0; items];
        self.rows().for_each(|(item, _, weight)| counts[item] += weight);
        counts
    }

    /// Σ (r − `mean` − `prior`) of each item.
    #[must_use]
    pub fn sums(&self, mean: f64, prior: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; prior.len()];
        self.rows().for_each(|(item, rating, weight)| sums[item] += weight * (rating - mean - prior[item]));
        sums
    }

    /// Item, rating and weight of each row.
    fn rows(&self) -> impl Iterator<Item = (usize, f64, f64)> {
        let Interactions { item, rating, .. } = &self.ratings;
        let both = item.iter().zip(rating).zip(&self.weights);
        both.map(|((&item, &rating), &weight)| (item as usize, f64::from(rating), weight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_weight_2_is_two_rows() {
        let log = |item: &[u32], rating: &[f32], weights: &[f64]| WeightedLog {
            ratings: Interactions {
                user: vec![0; item.len()],
                item: item.to_vec(),
                rating: rating.to_vec(),
                timestamp: vec![0; item.len()],
            },
            given: item.len(),
            weights: weights.to_vec(),
        };
        let twice = log(&[0, 2], &[4.0, 1.0], &[2.0, 1.0]);
        let rows = log(&[0, 0, 2], &[4.0, 4.0, 1.0], &[1.0; 3]);
        assert_eq!((twice.mean(), twice.total(), twice.counts(3)), (3.0, 3.0, vec![2.0, 0.0, 1.0]));
        assert_eq!((twice.deviation(), twice.sums(3.0, &[0.5, 9.0, 0.0])), (2.0_f64.sqrt(), vec![1.0, 0.0, -2.0]));
        assert_eq!((rows.mean(), rows.deviation(), rows.counts(3)), (3.0, 2.0_f64.sqrt(), twice.counts(3)));
        assert_eq!(rows, WeightedLog::equal(rows.ratings.clone()));
        assert_eq!(twice.take(&[1]), log(&[2], &[1.0], &[1.0]));
        let none = log(&[], &[], &[]);
        assert_eq!((none.mean(), none.deviation()), (0.0, 1.0));
    }

    #[test]
    fn negatives_count_together_as_the_positives_and_each_item_as_expected() {
        // Item 0 is read by 30 of 40 users, item 1 by 10, the others by nobody.
        let positives = Interactions {
            user: (0..40).collect(),
            item: (0..40).map(|user| u32::from(user >= 30)).collect(),
            rating: vec![1.0; 40],
            timestamp: vec![0; 40],
        };
        let sampler = NegativeSampler::new(&positives, 40, 4);
        let log = WeightedLog::with_negatives(positives, &sampler, 4, 1);
        assert_eq!((log.given, log.ratings.len()), (40, 200));
        assert!((log.total() - 80.0).abs() < 1e-9 && (log.mean() - 0.5).abs() < 1e-9, "{} {}", log.total(), log.mean());
        // Those who did not read it draw one of three others.
        let wanted = [30.0 + 10.0 / 3.0, 10.0 + 30.0 / 3.0, 40.0 / 3.0, 40.0 / 3.0];
        let counts = log.counts(4);
        assert!(counts.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-9), "{counts:?}");
        let part = log.take(&[3, 39, 40, 41, 199]);
        assert_eq!((part.given, part.weights[2]), (2, log.weights[40]));
    }
}
