//! Pearson's correlation of what a learner adds with what was true.

/// Pearson's r of `x [S]` and `y [S]`; 0 where one of them does not vary.
#[must_use]
pub fn correlation(x: &[f32], y: &[f32]) -> f64 {
    let count = x.len().min(y.len()).max(1) as f64;
    let mean = |of: &[f32]| of.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let (of_x, of_y) = (mean(x), mean(y));
    let [mut xy, mut xx, mut yy] = [0.0; 3];
    for (&x, &y) in x.iter().zip(y) {
        let (x, y) = (f64::from(x) - of_x, f64::from(y) - of_y);
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    if xx > 0.0 && yy > 0.0 { xy / (xx * yy).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_hand_computed_values() {
        assert!((correlation(&[1.0, 2.0, 3.0], &[10.0, 30.0, 20.0]) - 0.5).abs() < 1e-12);
        assert!((correlation(&[1.0, 2.0], &[4.0, -4.0]) + 1.0).abs() < 1e-12);
        assert_eq!((correlation(&[1.0, 1.0], &[4.0, -4.0]), correlation(&[], &[])), (0.0, 0.0));
    }
}
