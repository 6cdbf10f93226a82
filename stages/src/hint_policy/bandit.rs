//! A contextual bandit in closed form: ridge regression of each prompt's gain on the state, and the prompt with the highest prediction.
//!
//! θ_a = argmin Σ_s (R(s, a) − R̄_a − θ_a·x_s)² + λ|θ_a|², a*(s) = argmax_a R̄_a + θ_a·x_s
//!
//! The table holds the gain of every prompt in every session, so nothing has to be explored and the direct method loses nothing:
//! LinUCB's and policy gradients' reason, that only the chosen prompt answers, is absent. λ is chosen by the squared error of the
//! gains over users held out inside the training sessions, which is less noisy than the gain of the choices. λ = ∞ is among the values:
//! it is the best fixed prompt, so that a state that says nothing costs nothing.

use std::collections::BTreeSet;

use rand::seq::SliceRandom;

use crate::nn::rng;
use crate::ratings::solve;

/// λ over the number of training sessions; the columns of the state have variance 1.
const PENALTIES: [f64; 6] = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
/// Parts of the users in the choice of λ.
const FOLDS: usize = 5;
const PARTS: u64 = 0xba2d;

/// The predicted gain of each prompt as a function of the state.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bandit {
    /// R̄ by prompt.
    means: Vec<f64>,
    /// θ by prompt; empty for λ = ∞.
    weights: Vec<Vec<f64>>,
    /// λ over the number of sessions; infinite for a fixed prompt.
    pub penalty: f64,
}

impl Bandit {
    /// Fits to standardised states and the gains of every prompt, `[S][D]` and `[S][A]`.
    pub fn fit(states: &[Vec<f64>], gains: &[Vec<f64>], users: &[u32], seed: u64) -> Self {
        let penalty = Self::choose_penalty(states, gains, users, seed);
        let all: Vec<usize> = (0..states.len()).collect();
        Self::with_penalty(states, gains, &all, penalty)
    }

    /// The penalty with the smallest squared error of held-out gains; of equals the largest.
    fn choose_penalty(states: &[Vec<f64>], gains: &[Vec<f64>], users: &[u32], seed: u64) -> f64 {
        let folds = folds_by_user(users, FOLDS, &[seed, PARTS]);
        let mut best = (f64::INFINITY, f64::INFINITY);
        for penalty in [f64::INFINITY].into_iter().chain(PENALTIES.into_iter().rev()) {
            let mut error = 0.0;
            for fold in 0..FOLDS {
                let rows: Vec<usize> = (0..states.len()).filter(|&row| folds[row] != fold).collect();
                if rows.is_empty() {
                    continue;
                }
                let fitted = Self::with_penalty(states, gains, &rows, penalty);
                for row in (0..states.len()).filter(|&row| folds[row] == fold) {
                    let predicted = fitted.values(&states[row]);
                    error += predicted.iter().zip(&gains[row]).map(|(p, r)| (p - r).powi(2)).sum::<f64>();
                }
            }
            if error < best.0 {
                best = (error, penalty);
            }
        }
        best.1
    }

    /// Fits to the given rows with that penalty.
    fn with_penalty(states: &[Vec<f64>], gains: &[Vec<f64>], rows: &[usize], penalty: f64) -> Self {
        let count = rows.len() as f64;
        let actions = gains.first().map_or(0, Vec::len);
        let mean = |of: &dyn Fn(usize) -> f64| rows.iter().map(|&row| of(row)).sum::<f64>() / count;
        let means: Vec<f64> = (0..actions).map(|action| mean(&|row| gains[row][action])).collect();
        let width = states.first().map_or(0, Vec::len);
        if penalty.is_infinite() || width == 0 {
            return Self { means, weights: vec![], penalty };
        }
        let centre: Vec<f64> = (0..width).map(|column| mean(&|row| states[row][column])).collect();
        let centred: Vec<Vec<f64>> =
            rows.iter().map(|&row| states[row].iter().zip(&centre).map(|(x, mean)| x - mean).collect()).collect();
        let mut gram = vec![0.0; width * width];
        for x in &centred {
            for (k, value) in x.iter().enumerate() {
                gram[k * width..(k + 1) * width].iter_mut().zip(x).for_each(|(sum, other)| *sum += value * other);
            }
        }
        (0..width).for_each(|k| gram[k * width + k] += penalty * count);
        let weights: Vec<Vec<f64>> = (0..actions)
            .map(|action| {
                let mut right = vec![0.0; width];
                for (x, &row) in centred.iter().zip(rows) {
                    let gain = gains[row][action] - means[action];
                    right.iter_mut().zip(x).for_each(|(sum, value)| *sum += value * gain);
                }
                solve(&mut gram.clone(), &right)
            })
            .collect();
        // The states of a part need not have mean 0: the intercept takes what is left.
        let shift = |(mean, weights): (&f64, &Vec<f64>)| mean - dot(weights, &centre);
        Self { means: means.iter().zip(&weights).map(shift).collect(), weights, penalty }
    }

    /// The predicted gain of each prompt.
    pub fn values(&self, state: &[f64]) -> Vec<f64> {
        if self.weights.is_empty() {
            return self.means.clone();
        }
        self.means.iter().zip(&self.weights).map(|(mean, weights)| mean + dot(weights, state)).collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The part of each row, so that the rows of a user are in one part; parts have as equal numbers of users as they can.
pub(super) fn folds_by_user(users: &[u32], folds: usize, seed: &[u64]) -> Vec<usize> {
    let mut order: Vec<u32> = users.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    order.shuffle(&mut rng(seed));
    let place = |user: &u32| order.iter().position(|other| other == user).expect("a user of the rows") % folds;
    users.iter().map(place).collect()
}

/// The place of the highest value; of equals the first.
pub(super) fn argmax(values: &[f64]) -> usize {
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = place;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regression_by_hand() {
        // x = −1, 1 and R = 0, 4: mean 2, θ = 4/(2 + λ·2).
        let fitted = |penalty| {
            Bandit::with_penalty(&[vec![-1.0], vec![1.0]], &[vec![0.0, 1.0], vec![4.0, 1.0]], &[0, 1], penalty)
        };
        assert_eq!(fitted(0.0).values(&[0.5]), [3.0, 1.0]);
        assert_eq!(fitted(1.0).values(&[0.5]), [2.5, 1.0]);
        assert_eq!(fitted(f64::INFINITY).values(&[0.5]), [2.0, 1.0]);
        // Of a part whose states have another mean: x = 1, 3 and R = 0, 4.
        let moved = Bandit::with_penalty(&[vec![1.0], vec![3.0]], &[vec![0.0], vec![4.0]], &[0, 1], 0.0);
        assert!((moved.values(&[2.5])[0] - 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_state_that_says_nothing_leaves_the_best_fixed_prompt() {
        // The gain does not depend on the state, which is of another sequence.
        let noise = |k: usize| ((k * 7919 + 13) % 101) as f64 / 101.0 - 0.5;
        let states: Vec<Vec<f64>> = (0..100).map(|k| vec![noise(3 * k + 1), noise(5 * k + 2)]).collect();
        let gains: Vec<Vec<f64>> = (0..100).map(|k| vec![0.0, 0.1 + noise(k), noise(11 * k)]).collect();
        let fitted = Bandit::fit(&states, &gains, &(0..100).collect::<Vec<_>>(), 1);
        assert!(fitted.penalty.is_infinite(), "{fitted:?}");
        assert_eq!(argmax(&fitted.values(&[9.0, -9.0])), 1);
    }

    #[test]
    fn parts_keep_users_together_and_are_even() {
        let users = [3, 1, 3, 2, 5, 1, 4, 3];
        let parts = folds_by_user(&users, 2, &[7]);
        assert!(parts[0] == parts[2] && parts[2] == parts[7] && parts[1] == parts[5]);
        let distinct: BTreeSet<(u32, usize)> = users.into_iter().zip(parts).collect();
        assert_eq!(distinct.iter().filter(|(_, part)| *part == 0).count(), 3);
        assert_eq!(argmax(&[1.0, 2.0, 2.0]), 1);
    }
}
