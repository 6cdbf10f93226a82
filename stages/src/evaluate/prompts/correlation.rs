//! Spearman's rank correlation.

/// Pearson's correlation of the ranks, equals sharing the mean of theirs; `None` of fewer than two values, or of equal ones.
pub(super) fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let size = (product(&a, &a) * product(&b, &b)).sqrt();
    (size > 0.0).then(|| product(&a, &b) / size)
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let count = |of: &dyn Fn(&f64) -> bool| values.iter().filter(|value| of(value)).count() as f64;
    let rank = |own: &f64| 1.0 + count(&|value| value < own) + (count(&|value| value == own) - 1.0) / 2.0;
    values.iter().map(rank).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), [2.5, 1.0, 2.5]);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 900.0]), Some(1.0));
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), Some(-1.0));
        // Differences of ranks 1, 1 and 2: 1 − 6·6/(3·8).
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[2.0, 3.0, 1.0]), Some(-0.5));
        assert_eq!((spearman(&[], &[]), spearman(&[1.0], &[2.0]), spearman(&[1.0, 1.0], &[1.0, 2.0])), (None, None, None));
    }
}
