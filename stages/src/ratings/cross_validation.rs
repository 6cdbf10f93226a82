//! Cross-validation inside a log, and weights of models by their error on it.

use rand::seq::SliceRandom;

use crate::nn::rng;

/// The fold of each of `rows`: at most `count` folds of equal size, in an order of `seed`.
#[must_use]
pub fn folds(rows: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut rng(&[seed, 0xf01d]));
    let mut fold = vec![0; rows];
    for (place, row) in order.into_iter().enumerate() {
        fold[row] = place % count;
    }
    fold
}

/// w_m ∝ exp(−(SSE_m − min SSE) / 2σ²) with σ² = min SSE / `rows`: pseudo-Bayesian model averaging by cross-validated likelihoods of a
/// normal model (Geisser and Eddy 1979). All models count alike where there is no error to compare, so that what a few ratings
/// cannot decide stays undecided.
#[must_use]
pub fn member_weights(squared_errors: &[f64], rows: usize) -> Vec<f64> {
    let least = squared_errors.iter().copied().fold(f64::INFINITY, f64::min);
    if rows == 0 || least <= 0.0 {
        let best = squared_errors.iter().filter(|&&error| error <= least).count() as f64;
        return squared_errors.iter().map(|&error| if error <= least { 1.0 / best } else { 0.0 }).collect();
    }
    let variance = least / rows as f64;
    let weights: Vec<f64> = squared_errors.iter().map(|error| (-(error - least) / (2.0 * variance)).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_equal_in_size_and_of_their_seed() {
        let fold = folds(23, 5, 1);
        let sizes: Vec<usize> = (0..5).map(|k| fold.iter().filter(|&&f| f == k).count()).collect();
        assert_eq!(sizes, [5, 5, 5, 4, 4]);
        assert_eq!(fold, folds(23, 5, 1));
        assert_ne!(fold, folds(23, 5, 2));
    }

    #[test]
    fn weights_by_hand() {
        // σ² = 8/4 = 2: exp(−(12 − 8)/4) = 1/e.
        let weights = member_weights(&[8.0, 12.0], 4);
        let other = (-1.0_f64).exp();
        assert!((weights[0] - 1.0 / (1.0 + other)).abs() < 1e-12 && (weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(member_weights(&[0.0, 0.0], 0), [0.5, 0.5], "no ratings, no preference");
        assert_eq!(member_weights(&[0.0, 1.0], 9), [1.0, 0.0]);
    }
}
