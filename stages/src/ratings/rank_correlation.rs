//! Rank correlations.

/// Spearman's rank correlation; equal values share their mean rank. 0 where one side does not vary.
#[must_use]
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    let (x, y) = (ranks(x), ranks(y));
    let mean = (x.len() as f64 - 1.0) / 2.0;
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let scale = (dot(&x, &x) * dot(&y, &y)).sqrt();
    if scale > 0.0 { dot(&x, &y) / scale } else { 0.0 }
}

fn ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let mut ranks = vec![0.0; x.len()];
    let mut from = 0;
    while from < order.len() {
        let to = (from..order.len()).find(|&at| x[order[at]] > x[order[from]]).unwrap_or(order.len());
        order[from..to].iter().for_each(|&row| ranks[row] = (from + to - 1) as f64 / 2.0);
        from = to;
    }
    ranks
}

/// Kendall's τ_b; 0 where one side does not vary.
#[must_use]
pub fn kendall(x: &[f32], y: &[f32]) -> f64 {
    let [mut agreement, mut of_x, mut of_y] = [0.0_f64; 3];
    for a in 0..x.len() {
        for b in 0..a {
            let sign = |values: &[f32]| match values[a].total_cmp(&values[b]) {
                _ if values[a] == values[b] => 0.0,
                order => f64::from(order as i8),
            };
            let (x, y) = (sign(x), sign(y));
            agreement += x * y;
            of_x += x * x;
            of_y += y * y;
        }
    }
    let scale = (of_x * of_y).sqrt();
    if scale > 0.0 { agreement / scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), [1.5, 0.0, 1.5]);
        assert!((spearman(&[1.0, 2.0, 3.0], &[10.0, 30.0, 20.0]) - 0.5).abs() < 1e-12);
        assert_eq!(spearman(&[1.0, 1.0], &[0.0, 5.0]), 0.0);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        // Differences of ranks 1, 1 and 2: 1 − 6·6/(3·8).
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[2.0, 3.0, 1.0]), -0.5);
        assert_eq!(spearman(&[], &[]), 0.0);
    }

    #[test]
    fn kendall_by_hand() {
        assert_eq!(kendall(&[1.0, 2.0, 3.0], &[4.0, 5.0, 9.0]), 1.0);
        // Of three pairs two agree.
        assert!((kendall(&[1.0, 2.0, 3.0], &[1.0, 3.0, 2.0]) - 1.0 / 3.0).abs() < 1e-12);
        // One of three pairs is tied on one side: 2/√(3·2).
        assert!((kendall(&[1.0, 2.0, 3.0], &[1.0, 1.0, 2.0]) - 2.0 / 6.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!((kendall(&[1.0, 1.0], &[1.0, 2.0]), kendall(&[], &[])), (0.0, 0.0));
    }
}
