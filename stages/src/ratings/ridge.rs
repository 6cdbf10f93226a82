//! Symmetric positive definite systems of a few dozen unknowns, in f64.

/// Solves `a·x = b` by Cholesky's decomposition. `a` is `[d·d]`, symmetric and positive definite, and is overwritten by its factor.
///
/// # Panics
/// When `a` is not positive definite: with a ridge above 0 it always is.
#[must_use]
pub fn solve(a: &mut [f64], b: &[f64]) -> Vec<f64> {
    try_solve(a, b).expect("the matrix is positive definite")
}

/// As [`solve`]; `None` where `a` is not positive definite to the precision of its numbers.
#[must_use]
pub fn try_solve(a: &mut [f64], b: &[f64]) -> Option<Vec<f64>> {
    factor(a, b.len())?;
    let mut x = b.to_vec();
    substitute(a, &mut x);
    Some(x)
}

/// The inverse `[d·d]` of `a`, which is symmetric and positive definite, and is overwritten by its factor; `None` where it is not to the
/// precision of its numbers.
#[must_use]
pub fn inverse(a: &mut [f64], d: usize) -> Option<Vec<f64>> {
    factor(a, d)?;
    let mut inverse = vec![0.0; d * d];
    for (k, row) in inverse.chunks_exact_mut(d).enumerate() {
        row[k] = 1.0;
        substitute(a, row);
    }
    Some(inverse)
}

/// L of L·Lᵀ = `a` in the lower triangle of `a`.
fn factor(a: &mut [f64], d: usize) -> Option<()> {
    assert_eq!(a.len(), d * d, "a square matrix of that size");
    for row in 0..d {
        for column in 0..=row {
            let dot: f64 = (0..column).map(|k| a[row * d + k] * a[column * d + k]).sum();
            let rest = a[row * d + column] - dot;
            a[row * d + column] = if row == column {
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / a[column * d + column]
            };
        }
    }
    Some(())
}

/// x of L·Lᵀ·x = `x`.
fn substitute(factor: &[f64], x: &mut [f64]) {
    let d = x.len();
    for row in 0..d {
        let dot: f64 = (0..row).map(|k| factor[row * d + k] * x[k]).sum();
        x[row] = (x[row] - dot) / factor[row * d + row];
    }
    for row in (0..d).rev() {
        let dot: f64 = (row + 1..d).map(|k| factor[k * d + row] * x[k]).sum();
        x[row] = (x[row] - dot) / factor[row * d + row];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_by_hand() {
        // [4 2; 2 3]·[1; 2] = [8; 8].
        let x = solve(&mut [4.0, 2.0, 2.0, 3.0], &[8.0, 8.0]);
        assert!((x[0] - 1.0).abs() < 1e-12 && (x[1] - 2.0).abs() < 1e-12, "{x:?}");
        assert_eq!(try_solve(&mut [1.0, 1.0, 1.0, 1.0], &[1.0, 1.0]), None);
        assert_eq!(try_solve(&mut [f64::INFINITY], &[1.0]), None);
    }

    #[test]
    fn what_is_solved_gives_the_right_side_back() {
        let d = 7;
        let root: Vec<f64> = (0..d * d).map(|k| ((k * 37 % 11) as f64 - 5.0) / 3.0).collect();
        let at = |r: usize, c: usize| (0..d).map(|k| root[r * d + k] * root[c * d + k]).sum::<f64>();
        let matrix: Vec<f64> = (0..d * d).map(|k| at(k / d, k % d) + f64::from(k / d == k % d)).collect();
        let b: Vec<f64> = (0..d).map(|k| k as f64 - 2.0).collect();
        let x = solve(&mut matrix.clone(), &b);
        let inverse = inverse(&mut matrix.clone(), d).unwrap();
        for (row, x) in inverse.chunks_exact(d).zip(&x) {
            assert!((row.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>() - x).abs() < 1e-9);
        }
        for row in 0..d {
            let found: f64 = (0..d).map(|k| matrix[row * d + k] * x[k]).sum();
            assert!((found - b[row]).abs() < 1e-9, "{found} for {}", b[row]);
        }
    }
}
