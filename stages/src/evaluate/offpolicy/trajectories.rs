//! Estimates of the discounted return of a whole episode, Σ_t γ^t r_t, in units of the log's rating.
//!
//! With ρ_t = Π_{k≤t} w_k and an episode's last step T:
//!
//! - `trajectory_is`: ρ_T Σ_t γ^t r_t over the number of episodes (Precup, Sutton and Singh 2000, eq. 3)
//! - `trajectory_wis`: the same over Σ ρ_T: biased, of less variance
//! - `per_decision_return`: Σ_t γ^t ρ_t r_t over the number of episodes
//! - `sequential_dr`: X_0 with X_t = V(s_t) + w_t (r_t + γ X_{t+1} − Q(s_t, a_t)) (Jiang and Li 2016, eq. 10), Q and V of
//!   [`fitted_q`](super::fitted_q)
//! - `fitted_q`: V(s_0) of the same: a model of the log, without a weight
//!
//! An episode is as long as the log has it, `horizon` interactions at most.

use super::super::importance_sampling::{LoggedRow, kish};
use super::fitted_q::RowValues;

/// The estimators in the order of the table.
pub(super) const RETURN_ESTIMATORS: [&str; 5] =
    ["trajectory_is", "trajectory_wis", "per_decision_return", "sequential_dr", "fitted_q"];

/// Of all episodes: for each user and estimator what is summed above and below its fraction, effective sample sizes, and the number of
/// episodes.
pub(super) struct EpisodeSums {
    pub users: Vec<[[f64; 2]; 5]>,
    pub effective: [f64; 5],
    pub episodes: usize,
}

impl EpisodeSums {
    /// Of rows with their values.
    pub fn of(logged: &[LoggedRow], values: &[RowValues], gamma: f64) -> Self {
        let mut users: Vec<[[f64; 2]; 5]> = Vec::new();
        let (mut last, mut products, mut begin) = (None, Vec::new(), 0);
        for end in 1..=logged.len() {
            if logged.get(end).is_some_and(|row| row.turn > 0) {
                continue;
            }
            let (parts, product) = episode(&logged[begin..end], &values[begin..end], gamma);
            if last != Some(logged[begin].user) {
                users.push([[0.0; 2]; 5]);
                last = Some(logged[begin].user);
            }
            if let Some(sums) = users.last_mut() {
                sums.iter_mut().flatten().zip(parts.iter().flatten()).for_each(|(sum, part)| *sum += part);
            }
            products.push(product);
            begin = end;
        }
        let (effective, episodes) = (kish(&products), products.len());
        Self { users, effective: [effective, effective, effective, effective, episodes as f64], episodes }
    }
}

/// Above and below the fraction of each estimator, and ρ_T.
fn episode(rows: &[LoggedRow], values: &[RowValues], gamma: f64) -> ([[f64; 2]; 5], f64) {
    let (mut product, mut discount, mut total, mut per_decision) = (1.0, 1.0, 0.0, 0.0);
    for row in rows {
        product *= row.weight;
        total += discount * row.rating;
        per_decision += discount * product * row.rating;
        discount *= gamma;
    }
    let doubly_robust = rows
        .iter()
        .zip(values)
        .rev()
        .fold(0.0, |after, (row, RowValues { q, v })| v + row.weight * (row.rating + gamma * after - q));
    let first = values.first().map_or(0.0, |values| values.v);
    let parts =
        [[product * total, 1.0], [product * total, product], [per_decision, 1.0], [doubly_robust, 1.0], [first, 1.0]];
    (parts, product)
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::super::fitted_q::{RowFeatures, fit};
    use super::*;
    use crate::nn::rng;

    const GAMMA: f64 = 0.9;
    const STEPS: usize = 3;
    /// Two states, two items: an item leads to the state of its number with chance 0.8, and pays by state and item.
    const REWARD: [[f64; 2]; 2] = [[1.0, 0.0], [2.0, 4.0]];
    const LOGGING: [f64; 2] = [0.5, 0.5];
    const POLICY: [[f64; 2]; 2] = [[0.3, 0.7], [0.2, 0.8]];

    /// V of a state with so many steps to go, by the recursion.
    fn exact(state: usize, steps: usize) -> f64 {
        let q = |item: usize| {
            if steps == 0 {
                return 0.0;
            }
            let after = 0.8 * exact(item, steps - 1) + 0.2 * exact(1 - item, steps - 1);
            REWARD[state][item] + GAMMA * after
        };
        POLICY[state][0] * q(0) + POLICY[state][1] * q(1)
    }

    /// Episodes of the logging policy from state 0, and one-hot features of state and item behind a constant.
    fn log(episodes: u32) -> (Vec<LoggedRow>, Vec<RowFeatures>) {
        let (mut logged, mut features) = (Vec::new(), Vec::new());
        for user in 0..episodes {
            let mut draw = rng(&[5, u64::from(user)]);
            let mut state = 0;
            for turn in 0..STEPS {
                let item = usize::from(draw.random::<f64>() < LOGGING[1]);
                let rating = REWARD[state][item];
                let weight = POLICY[state][item] / LOGGING[item];
                logged.push(LoggedRow { user, turn, weight, rating, expected: 0.0, value: 0.0 });
                let one_hot = |chances: [f64; 2]| {
                    let mut row = vec![1.0, 0.0, 0.0, 0.0, 0.0];
                    row[1 + 2 * state] = chances[0];
                    row[2 + 2 * state] = chances[1];
                    row
                };
                let own = if item == 0 { [1.0, 0.0] } else { [0.0, 1.0] };
                features.push(RowFeatures { of_item: one_hot(own), of_policy: one_hot(POLICY[state]) });
                state = if draw.random::<f64>() < 0.8 { item } else { 1 - item };
            }
        }
        (logged, features)
    }

    fn estimates(sums: &EpisodeSums) -> [f64; 5] {
        std::array::from_fn(|k| {
            let of = |end: usize| sums.users.iter().map(|user| user[k][end]).sum::<f64>();
            of(0) / of(1)
        })
    }

    #[test]
    fn every_estimator_finds_the_exact_value_of_a_small_mdp() {
        let (logged, features) = log(8000);
        let values = fit(&logged, &features, GAMMA, 1e-6);
        let sums = EpisodeSums::of(&logged, &values, GAMMA);
        let wanted = exact(0, STEPS);
        // Tolerances: four standard errors of each.
        let tolerances = [0.28, 0.16, 0.22, 0.06, 0.06];
        for ((name, found), tolerance) in RETURN_ESTIMATORS.iter().zip(estimates(&sums)).zip(tolerances) {
            assert!((found - wanted).abs() < tolerance, "{name}: {found} for {wanted}");
        }
        assert_eq!((sums.episodes, sums.users.len(), sums.effective[4]), (8000, 8000, 8000.0));
        // The log's own policy returns another value, which no estimator confuses with it.
        let own: f64 = (0..8000)
            .map(|user| (0..STEPS).map(|t| GAMMA.powi(t as i32) * logged[user * STEPS + t].rating).sum::<f64>())
            .sum();
        assert!((own / 8000.0 - wanted).abs() > 0.4, "{own} {wanted}");
    }

    #[test]
    fn sequential_dr_is_exact_with_the_true_q_and_right_with_a_wrong_one() {
        let (logged, features) = log(8000);
        let wanted = exact(0, STEPS);
        // Without a model it is the per-decision estimator.
        let zero = EpisodeSums::of(&logged, &vec![RowValues::default(); logged.len()], GAMMA);
        let found = estimates(&zero);
        assert!((found[3] - found[2]).abs() < 1e-9);
        // A Q that is wrong by a constant costs variance, not truth.
        let wrong: Vec<RowValues> = fit(&logged, &features, GAMMA, 1e-6)
            .iter()
            .map(|values| RowValues { q: values.q + 1.0, v: values.v + 1.0 })
            .collect();
        let found = estimates(&EpisodeSums::of(&logged, &wrong, GAMMA));
        assert!((found[3] - wanted).abs() < 0.15 && (found[4] - wanted).abs() > 0.9, "{found:?} for {wanted}");
    }

    #[test]
    fn one_episode_by_hand() {
        let row = |turn, weight, rating| LoggedRow { user: 3, turn, weight, rating, expected: 0.0, value: 0.0 };
        let logged = [row(0, 2.0, 1.0), row(1, 0.5, 4.0), row(0, 3.0, 1.0)];
        let values = [RowValues { q: 1.0, v: 2.0 }, RowValues { q: 3.0, v: 1.0 }, RowValues::default()];
        let sums = EpisodeSums::of(&logged, &values, 0.5);
        // Return 1 + ½·4 = 3 with ρ = 1, and 1 with ρ = 3. Per decision 2 + ½·4, and 3.
        // Doubly robust: X₁ = 1 + ½(4 − 3) = 1.5, X₀ = 2 + 2(1 + ½·1.5 − 1) = 3.5, and 3.
        assert_eq!(sums.users, [[[6.0, 2.0], [6.0, 4.0], [7.0, 2.0], [6.5, 2.0], [2.0, 2.0]]]);
        assert_eq!((sums.episodes, sums.effective[0]), (2, 16.0 / 10.0));
    }
}
