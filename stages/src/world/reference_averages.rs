//! Averages of rewards over reference users.

use crate::artifact::Array;

/// The reference users of one user with what each counts for, and their mean similarity.
pub(super) struct References {
    pub users: Vec<(usize, f64)>,
    pub similarity: f64,
}

/// Σ_v w_v·r(v, i), `[U, I]`.
pub(super) fn averages(reward: &Array, references: &[References]) -> Array {
    let items = reward.shape[1];
    let row = |references: &References| {
        let mut sums = vec![0.0; items];
        for &(user, weight) in &references.users {
            sums.iter_mut().zip(reward.row(user)).for_each(|(sum, &r)| *sum += weight * f64::from(r));
        }
        sums.into_iter().map(|sum| sum as f32).collect::<Vec<_>>()
    };
    Array::new(&reward.shape, references.iter().map(row).collect::<Vec<_>>().concat())
}

/// 0 of none.
pub(super) fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for x in numbers {
        sum += x;
        count += 1;
    }
    sum / f64::from(count.max(1))
}
