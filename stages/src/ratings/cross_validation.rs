//! Cross-validation inside a log, and weights of models by their error on it.
//!
//! Ratings are held out one by one where items that have ratings are to be ranked. Where items without any are, whole items are held out:
//! a mean of ratings looks excellent as long as other ratings of the item stay, and knows nothing of a new one.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::SliceRandom;

use crate::nn::rng;

/// What cross-validation holds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldOut {
    /// Ratings, each in a fold of its own.
    Ratings,
    /// Items, with all their ratings in one fold.
    Items,
}

impl HoldOut {
    /// The fold of each rating, of which `item` says the item: at most `count` folds of equal numbers of ratings or items, in an order
    /// of `seed`. Nothing where there are not two things to hold out: one cannot be held out from itself.
    #[must_use]
    pub fn folds(self, item: &[u32], count: usize, seed: u64) -> Vec<usize> {
        let folds_of = |things: usize| {
            let count = count.min(things);
            if count < 2 { Vec::new() } else { folds(things, count, seed) }
        };
        match self {
            Self::Ratings => folds_of(item.len()),
            Self::Items => {
                let distinct: BTreeSet<u32> = item.iter().copied().collect();
                let fold: BTreeMap<u32, usize> = distinct.iter().copied().zip(folds_of(distinct.len())).collect();
                if fold.is_empty() { Vec::new() } else { item.iter().map(|item| fold[item]).collect() }
            }
        }
    }
}

/// The fold of each of `rows`: `count` folds of equal size, in an order of `seed`.
fn folds(rows: usize, count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut rng(&[seed, 0xf01d]));
    let mut fold = vec![0; rows];
    for (place, row) in order.into_iter().enumerate() {
        fold[row] = place % count;
    }
    fold
}

/// w_m ∝ exp(−(SSE_m − min SSE) / 2σ²) with σ² = min SSE / N: pseudo-Bayesian model averaging by cross-validated likelihoods of a
/// normal model (Geisser and Eddy 1979). All models count alike where there is no error to compare, so that what a few ratings
/// cannot decide stays undecided.
#[must_use]
pub fn member_weights(squared_errors: &[f64], count: f64) -> Vec<f64> {
    let least = squared_errors.iter().copied().fold(f64::INFINITY, f64::min);
    if count == 0.0 || least <= 0.0 {
        let best = squared_errors.iter().filter(|&&error| error <= least).count() as f64;
        return squared_errors.iter().map(|&error| if error <= least { 1.0 / best } else { 0.0 }).collect();
    }
    let variance = least / count;
    let weights: Vec<f64> = squared_errors.iter().map(|error| (-(error - least) / (2.0 * variance)).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// w_m ∝ exp(−(D_m − min D)/2): the same by the deviances of models, which are −2 log-likelihoods.
#[must_use]
pub fn deviance_weights(deviances: &[f64]) -> Vec<f64> {
    let least = deviances.iter().copied().fold(f64::INFINITY, f64::min);
    let weights: Vec<f64> = deviances.iter().map(|deviance| (-(deviance - least) / 2.0).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

/// The deviance of whole items that were held out, up to a constant: N·ln Q + Σ_i ln(1 + n_i/λ) with
/// Q = Σ e² − Σ_i (Σ_{r of i} e)² / (n_i + λ), at the variance of the noise that fits best.
///
/// The errors e of one item are not independent: all have in common what the item deviates from its prior mean, which has 1/λ of the
/// variance of the noise (the compound-symmetric normal model). Without that, an item with 300 ratings would count as 300 items.
#[must_use]
pub fn item_deviance(square: f64, sums: &[f64], counts: &[f64], shrink: f64) -> f64 {
    let rated = || sums.iter().zip(counts).filter(|(_, count)| **count > 0.0);
    let own = rated().map(|(sum, count)| sum * sum / (count + shrink)).sum::<f64>();
    let spread = rated().map(|(_, count)| (1.0 + count / shrink).ln()).sum::<f64>();
    counts.iter().sum::<f64>() * (square - own).max(f64::MIN_POSITIVE).ln() + spread
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
    fn whole_items_share_a_fold() {
        let item: Vec<u32> = (0..60).map(|row| row % 12 + 3).collect();
        let fold = HoldOut::Items.folds(&item, 5, 1);
        assert!(fold.iter().zip(&item).all(|(fold, item)| *fold
            == HoldOut::Items.folds(&[3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 5, 1)[*item as usize - 3]));
        let items_of = |k: usize| item[..12].iter().zip(&fold).filter(|(_, fold)| **fold == k).count();
        assert_eq!([0, 1, 2, 3, 4].map(items_of), [3, 3, 2, 2, 2]);
        assert_eq!(HoldOut::Items.folds(&[8; 30], 5, 1), Vec::<usize>::new(), "one item");
        assert_eq!(HoldOut::Ratings.folds(&[8; 30], 5, 1), folds(30, 5, 1));
        assert_eq!(HoldOut::Ratings.folds(&[8], 5, 1), Vec::<usize>::new());
    }

    #[test]
    fn a_deviance_by_hand() {
        // Item 0 has the errors 1 and 3, item 2 has 2: Q = 14 − 16/(2 + 2) − 4/(1 + 2).
        let found = item_deviance(14.0, &[4.0, 0.0, 2.0], &[2.0, 0.0, 1.0], 2.0);
        let wanted = 3.0 * (14.0_f64 - 4.0 - 4.0 / 3.0).ln() + 2.0_f64.ln() + 1.5_f64.ln();
        assert!((found - wanted).abs() < 1e-12, "{found} for {wanted}");
        let weights = deviance_weights(&[7.0, 5.0]);
        assert!(
            (weights[0] / weights[1] - (-1.0_f64).exp()).abs() < 1e-12 && (weights[0] + weights[1] - 1.0).abs() < 1e-12
        );
        assert_eq!(deviance_weights(&[0.0, 0.0]), [0.5, 0.5]);
    }

    #[test]
    fn weights_by_hand() {
        // σ² = 8/4 = 2: exp(−(12 − 8)/4) = 1/e.
        let weights = member_weights(&[8.0, 12.0], 4.0);
        let other = (-1.0_f64).exp();
        assert!((weights[0] - 1.0 / (1.0 + other)).abs() < 1e-12 && (weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(member_weights(&[0.0, 0.0], 0.0), [0.5, 0.5], "no ratings, no preference");
        assert_eq!(member_weights(&[0.0, 1.0], 9.0), [1.0, 0.0]);
    }
}
