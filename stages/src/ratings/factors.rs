//! Factorisation of what biases leave: e(u, i) ≈ p_u·q_i, by alternating least squares (Zhou et al. 2008, eq. 5, with one λ for all).

use rayon::prelude::*;

use super::ridge::solve;
use crate::nn::rng;
use rand::RngExt;

/// Alternations of users and items.
const SWEEPS: usize = 6;

/// The factors, `[U][K]` and `[I][K]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// p, one vector a user.
    pub user: Vec<Vec<f64>>,
    /// q, one vector an item.
    pub item: Vec<Vec<f64>>,
}

impl Factors {
    /// Fits `rank` factors to the residuals `rest` of (`user`, `item`), one a row, which counts as often as `weights` says;
    /// λ = `regularization`, above 0. Items begin at small numbers of `seed`.
    #[must_use]
    pub fn fit(
        [user, item]: [&[u32]; 2],
        rest: &[f64],
        weights: &[f64],
        [users, items]: [usize; 2],
        rank: usize,
        regularization: f64,
        seed: u64,
    ) -> Self {
        let of_users = Ratings::by(user, item, rest, weights, users);
        let of_items = Ratings::by(item, user, rest, weights, items);
        let mut draw = rng(&[seed, 0xa15]);
        let mut q: Vec<Vec<f64>> =
            (0..items).map(|_| (0..rank).map(|_| draw.random_range(-0.1..0.1)).collect()).collect();
        let mut p = Vec::new();
        for _ in 0..SWEEPS {
            p = of_users.solved(&q, regularization);
            q = of_items.solved(&p, regularization);
        }
        Self { user: p, item: q }
    }

    /// p_u·q_i.
    #[must_use]
    pub fn predict(&self, user: u32, item: u32) -> f64 {
        self.user[user as usize].iter().zip(&self.item[item as usize]).map(|(p, q)| p * q).sum()
    }
}

/// Residuals grouped by one side: of each group, the other side, the value and the weight.
struct Ratings(Vec<Vec<(u32, f64, f64)>>);

impl Ratings {
    fn by(group: &[u32], other: &[u32], values: &[f64], weights: &[f64], count: usize) -> Self {
        let mut groups = vec![Vec::new(); count];
        for (((&group, &other), &value), &weight) in group.iter().zip(other).zip(values).zip(weights) {
            groups[group as usize].push((other, value, weight));
        }
        Self(groups)
    }

    /// The ridge solution of every group, given the vectors of the other side; 0 for a group without ratings.
    fn solved(&self, other: &[Vec<f64>], ridge: f64) -> Vec<Vec<f64>> {
        let d = other.first().map_or(0, Vec::len);
        let one = |ratings: &Vec<(u32, f64, f64)>| {
            if ratings.is_empty() {
                return vec![0.0; d];
            }
            let (mut a, mut b) = (vec![0.0; d * d], vec![0.0; d]);
            for &(at, value, weight) in ratings {
                let x = &other[at as usize];
                for row in 0..d {
                    b[row] += weight * x[row] * value;
                    for column in 0..d {
                        a[row * d + column] += weight * x[row] * x[column];
                    }
                }
            }
            (0..d).for_each(|k| a[k * d + k] += ridge);
            solve(&mut a, &b)
        };
        self.0.par_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_of_rank_one_is_found_from_a_part_of_it() {
        let (users, items) = (20_u32, 15_u32);
        let truth = |u: u32, i: u32| (f64::from(u) / 10.0 - 1.0) * (f64::from(i) / 7.0 - 1.0);
        let pairs: Vec<(u32, u32)> =
            (0..users).flat_map(|u| (0..items).map(move |i| (u, i))).filter(|(u, i)| (u + 2 * i) % 3 != 0).collect();
        let (user, item): (Vec<u32>, Vec<u32>) = pairs.iter().copied().unzip();
        let rest: Vec<f64> = pairs.iter().map(|&(u, i)| truth(u, i)).collect();
        let fit = |seed| Factors::fit([&user, &item], &rest, &vec![1.0; rest.len()], [20, 15], 1, 0.01, seed);
        let found = fit(1);
        for u in 0..users {
            for i in 0..items {
                assert!((found.predict(u, i) - truth(u, i)).abs() < 0.1, "{u} {i}: {}", found.predict(u, i));
            }
        }
        assert_eq!(found, fit(1));
    }

    #[test]
    fn who_rated_nothing_is_at_nothing() {
        let found = Factors::fit([&[0, 0], &[0, 1]], &[1.0, -1.0], &[1.0; 2], [2, 2], 3, 1.0, 0);
        assert_eq!(found.user[1], [0.0; 3]);
    }
}
