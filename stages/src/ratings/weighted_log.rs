//! Ratings that do not all count alike.

use crate::artifact::Interactions;

/// Ratings with weights above 0, one a row.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedLog {
    /// The ratings.
    pub ratings: Interactions,
    /// How many ratings each row counts as.
    pub weights: Vec<f64>,
}

impl WeightedLog {
    /// Ratings that count alike.
    #[must_use]
    pub fn equal(ratings: Interactions) -> Self {
        Self { weights: vec![1.0; ratings.len()], ratings }
    }

    /// These rows.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        Self { ratings: self.ratings.take(rows), weights: rows.iter().map(|&row| self.weights[row]).collect() }
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
}
