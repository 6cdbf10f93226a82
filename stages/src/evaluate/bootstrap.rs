//! Where a mean may lie: the percentile bootstrap over training seeds and users (Efron and Tibshirani 1993, ch. 13).
//!
//! Seeds and users are crossed (every seed plays with every user), so seeds are drawn with replacement, users are drawn
//! with replacement, and a drawn user counts with every drawn seed (Owen 2007). Drawing episodes instead would take five
//! answers of one user for five users. All rows of a table share the draws of users, which pairs their differences.

use rand::RngExt;
use rayon::prelude::*;

use crate::nn::rng;

/// How often to draw, and from which seed.
pub(super) struct Bootstrap {
    pub seed: u64,
    pub resamples: usize,
}

/// A mean and where it may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// One number for each cell and user, `[S][N]`.
pub(super) type Grid = Vec<Vec<f64>>;

/// Σ top / Σ bottom over cells and users; a mean where `bottom` is `None`.
pub(super) struct Quantity {
    pub top: Grid,
    pub bottom: Option<Grid>,
}

/// How often each cell and each user counts.
struct Draw {
    cells: Vec<u32>,
    users: Vec<u32>,
}

impl Draw {
    fn counts(seed: u64, purpose: u64, resample: usize, of: usize) -> Vec<u32> {
        let mut draw = rng(&[seed, purpose, resample as u64]);
        let mut counts = vec![0; of];
        for _ in 0..of {
            counts[draw.random_range(0..of)] += 1;
        }
        counts
    }

    fn sum(&self, grid: &Grid) -> f64 {
        let user_sum = |row: &Vec<f64>| row.iter().zip(&self.users).map(|(x, &n)| x * f64::from(n)).sum::<f64>();
        let drawn = grid.iter().zip(&self.cells).filter(|(_, count)| **count > 0);
        drawn.map(|(row, &count)| user_sum(row) * f64::from(count)).sum()
    }

    fn value(&self, quantity: &Quantity) -> f64 {
        let bottom = match &quantity.bottom {
            Some(grid) => self.sum(grid),
            // As many cells and users are drawn as there are.
            None => (self.cells.len() * self.users.len()) as f64,
        };
        self.sum(&quantity.top) / bottom
    }
}

impl Bootstrap {
    /// The mean and 95 % interval of each quantity; all have the same cells and users, at least one of each. Equal on any
    /// thread count: only whole resamples are spread over threads.
    pub fn intervals(&self, quantities: &[&Quantity]) -> Vec<Interval> {
        let Some(first) = quantities.first() else { return Vec::new() };
        let (cells, users) = (first.top.len(), first.top[0].len());
        let whole = Draw { cells: vec![1; cells], users: vec![1; users] };
        let resample = |b| {
            let draw = Draw {
                cells: Draw::counts(self.seed, 0xce11, b, cells),
                users: Draw::counts(self.seed, 0x05e5, b, users),
            };
            quantities.iter().map(|quantity| draw.value(quantity)).collect()
        };
        let drawn: Vec<Vec<f64>> = (0..self.resamples).into_par_iter().map(resample).collect();
        let interval = |(k, quantity): (usize, &&Quantity)| {
            let mut values: Vec<f64> = drawn.iter().map(|values| values[k]).collect();
            values.sort_by(f64::total_cmp);
            let mean = whole.value(quantity);
            // Sums of equal numbers differ in their last digits when they are grouped differently: that is no variation.
            let end = |at: f64| if (at - mean).abs() <= 1e-9 * mean.abs() { mean } else { at };
            Interval { mean, low: end(quantile(&values, 0.025)), high: end(quantile(&values, 0.975)) }
        };
        quantities.iter().enumerate().map(interval).collect()
    }
}

/// The quantile of sorted values, between neighbours by a straight line (Hyndman and Fan 1996, definition 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(top: Grid) -> Interval {
        Bootstrap { seed: 1, resamples: 2000 }.intervals(&[&Quantity { top, bottom: None }])[0]
    }

    #[test]
    fn the_interval_holds_the_mean_has_the_normal_width_and_shrinks_with_users() {
        // Half zeros, half ones: the deviation of the mean of n users is 1/(2√n).
        let width = |users: usize| {
            let found = mean(vec![(0..users).map(|u| (u % 2) as f64).collect()]);
            assert_eq!(found.mean, 0.5);
            assert!(found.low < 0.5 && found.high > 0.5, "{found:?}");
            found.high - found.low
        };
        for users in [100, 1600] {
            let normal = 2.0 * 1.96 * 0.5 / (users as f64).sqrt();
            assert!((width(users) / normal - 1.0).abs() < 0.1, "{users}: {} for {normal}", width(users));
        }
    }

    #[test]
    fn seeds_that_disagree_widen_it_and_users_count_once_for_all_seeds() {
        // Every user alike: only seeds vary. Five seeds of deviation √2 around 3: about 2·1.96·√2/√5.
        let seeds = mean((1..=5).map(|k| vec![f64::from(k); 50]).collect());
        assert_eq!(seeds.mean, 3.0);
        assert!((seeds.high - seeds.low - 2.48).abs() < 0.25, "{seeds:?}");
        // Five seeds that agree tell no more of users than one does.
        let row: Vec<f64> = (0..100).map(|u| f64::from(u % 10)).collect();
        let (one, five) = (mean(vec![row.clone()]), mean(vec![row; 5]));
        assert!((one.low - five.low).abs() < 1e-9 && (one.high - five.high).abs() < 1e-9);
    }

    #[test]
    fn where_nothing_varies_the_ends_are_the_mean_itself() {
        let found = mean(vec![vec![0.1; 943]; 3]);
        assert_eq!((found.low, found.high), (found.mean, found.mean));
    }

    #[test]
    fn a_ratio_is_of_sums_and_quantiles_are_by_a_line() {
        let quantity = Quantity { top: vec![vec![1.0, 9.0]], bottom: Some(vec![vec![1.0, 3.0]]) };
        let found = Bootstrap { seed: 0, resamples: 400 }.intervals(&[&quantity])[0];
        assert_eq!((found.mean, found.low, found.high), (2.5, 1.0, 3.0));
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 3.0, 4.0], 0.625), 2.5);
    }
}
