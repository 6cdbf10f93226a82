//! The sums behind the estimators of [`super::OffPolicy`], and how many rows really count in them.

/// One row of the log beside what a policy and the world model say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LoggedRow {
    pub user: u32,
    /// Turns before this one in the same episode.
    pub turn: usize,
    /// π(a|s) / μ(a).
    pub weight: f64,
    pub rating: f64,
    /// r̂(u, a).
    pub expected: f64,
    /// Σ_a π(a|s) r̂(u, a).
    pub value: f64,
}

/// For each row the product of the weights of its episode so far.
fn products(logged: &[LoggedRow]) -> Vec<f64> {
    let mut product = 1.0;
    let so_far = |row: &LoggedRow| {
        product = if row.turn == 0 { row.weight } else { product * row.weight };
        product
    };
    logged.iter().map(so_far).collect()
}

/// For each user that has rows, and each estimator, what is summed above and below its fraction.
pub(super) fn by_user(logged: &[LoggedRow]) -> Vec<[[f64; 2]; 5]> {
    let mut users: Vec<[[f64; 2]; 5]> = Vec::new();
    let mut last = None;
    for (row, product) in logged.iter().zip(products(logged)) {
        if last != Some(row.user) {
            users.push([[0.0; 2]; 5]);
            last = Some(row.user);
        }
        let LoggedRow { weight, rating, expected, value, .. } = *row;
        let parts = [
            [weight * rating, 1.0],
            [weight * rating, weight],
            [product * rating, 1.0],
            [value + weight * (rating - expected), 1.0],
            [value, 1.0],
        ];
        if let Some(sums) = users.last_mut() {
            for (sum, part) in sums.iter_mut().flatten().zip(parts.iter().flatten()) {
                *sum += part;
            }
        }
    }
    users
}

/// Kish's effective sample size (Σ w)² / Σ w²; 0 without any weight.
pub(super) fn kish(weights: &[f64]) -> f64 {
    let (sum, squares) = weights.iter().fold((0.0, 0.0), |(sum, squares), w| (sum + w, squares + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// The effective sample size of each estimator; every row where no weight enters.
pub(super) fn effective(logged: &[LoggedRow]) -> [f64; 5] {
    let single = kish(&logged.iter().map(|row| row.weight).collect::<Vec<_>>());
    [single, single, kish(&products(logged)), single, logged.len() as f64]
}
