//! Fitted-Q evaluation (Le, Voloshin and Yue 2019, alg. 3) of a finite horizon, with a Q that is linear in features of state and item.
//!
//! Backwards from the last step h: w_h = argmin Σ (w·φ(s, a) − y)² + λ|w|² over the rows at step h, with y = r + γ V_{h+1}(s′), and
//! V_h(s) = Σ_a π(a|s) Q_h(s, a) = w_h·Σ_a π(a|s) φ(s, a). So each row needs the features of its item and their mean under the
//! policy, and nothing is sampled. After the last row of an episode nothing follows. The first feature is constant and not shrunk.

use super::super::importance_sampling::LoggedRow;
use crate::ratings::solve;

/// What a row looks like to Q.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RowFeatures {
    /// φ(s, a) of the logged item.
    pub of_item: Vec<f64>,
    /// Σ_a π(a|s) φ(s, a).
    pub of_policy: Vec<f64>,
}

/// Q and V of a row, of what is left of its episode.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct RowValues {
    /// Q(s, a) of the logged item.
    pub q: f64,
    /// V(s).
    pub v: f64,
}

/// Whether row `at` is followed by one of its episode.
pub(super) fn goes_on(logged: &[LoggedRow], at: usize) -> bool {
    logged.get(at + 1).is_some_and(|next| next.turn > 0)
}

/// The values of all rows, by the step of each.
pub(super) fn fit(logged: &[LoggedRow], features: &[RowFeatures], gamma: f64, ridge: f64) -> Vec<RowValues> {
    let mut values = vec![RowValues::default(); logged.len()];
    let last = logged.iter().map(|row| row.turn).max().unwrap_or(0);
    for step in (0..=last).rev() {
        let rows: Vec<usize> = (0..logged.len()).filter(|&row| logged[row].turn == step).collect();
        let target = |&row: &usize| {
            let after = if goes_on(logged, row) { values[row + 1].v } else { 0.0 };
            logged[row].rating + gamma * after
        };
        let targets: Vec<f64> = rows.iter().map(target).collect();
        let weights = least_squares(rows.iter().map(|&row| &features[row].of_item), &targets, ridge);
        for row in rows {
            let dot = |features: &[f64]| features.iter().zip(&weights).map(|(x, w)| x * w).sum();
            values[row] = RowValues { q: dot(&features[row].of_item), v: dot(&features[row].of_policy) };
        }
    }
    values
}

fn least_squares<'a>(rows: impl Iterator<Item = &'a Vec<f64>>, targets: &[f64], ridge: f64) -> Vec<f64> {
    let (mut products, mut of_targets) = (Vec::new(), Vec::new());
    for (row, target) in rows.zip(targets) {
        let d = row.len();
        products.resize(d * d, 0.0);
        of_targets.resize(d, 0.0);
        for (a, x) in row.iter().enumerate() {
            of_targets[a] += x * target;
            row.iter().enumerate().for_each(|(b, y)| products[a * d + b] += x * y);
        }
    }
    let d = of_targets.len();
    for k in 0..d {
        // The constant has rows of its own, so that its square is above 0 without a ridge.
        products[k * d + k] += if k == 0 { ridge * 1e-9 } else { ridge };
    }
    solve(&mut products, &of_targets)
}
