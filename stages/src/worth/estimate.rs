//! From mean returns to worths: a learning curve by isotonic regression on ln(1 + N), and its inverse.

/// A learning curve that does not fall: V at each N, by pooling adjacent violators (Barlow et al. 1972), all sizes counting alike.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LearningCurve {
    /// N, rising; the first is 0.
    sizes: Vec<f64>,
    /// The isotonic returns.
    values: Vec<f64>,
}

/// A number of ratings, or that the curve ends before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratings {
    pub count: f64,
    /// The curve does not reach the return: the count is the largest N.
    pub beyond: bool,
}

impl LearningCurve {
    /// The curve through `points` (N, V), rising in N.
    pub fn through(points: &[(f64, f64)]) -> Self {
        // Blocks of equal values: (sum, count).
        let mut blocks: Vec<(f64, f64)> = Vec::new();
        for &(_, value) in points {
            blocks.push((value, 1.0));
            while let [.., (sum, count), (next, more)] = blocks[..]
                && sum / count > next / more
            {
                blocks.truncate(blocks.len() - 2);
                blocks.push((sum + next, count + more));
            }
        }
        let values = blocks.iter().flat_map(|&(sum, count)| std::iter::repeat_n(sum / count, count as usize)).collect();
        Self { sizes: points.iter().map(|&(n, _)| n).collect(), values }
    }

    /// V⁻¹(value): the smallest N at which the curve reaches `value`, by straight lines in ln(1 + N).
    pub fn inverse(&self, value: f64) -> Ratings {
        let Some(at) = self.values.iter().position(|&reached| reached >= value) else {
            return Ratings { count: self.sizes.last().copied().unwrap_or(0.0), beyond: true };
        };
        if at == 0 {
            return Ratings { count: self.sizes[0], beyond: false };
        }
        let (low, high) = (self.values[at - 1], self.values[at]);
        let [x, y] = [at - 1, at].map(|at| self.sizes[at].ln_1p());
        Ratings { count: (x + (y - x) * (value - low) / (high - low)).exp_m1(), beyond: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violators_are_pooled_by_hand() {
        let curve = LearningCurve::through(&[(0.0, 1.0), (10.0, 4.0), (100.0, 2.0), (1000.0, 3.0), (5000.0, 7.0)]);
        assert_eq!(curve.values, [1.0, 3.0, 3.0, 3.0, 7.0]);
    }

    #[test]
    fn the_inverse_is_linear_in_the_logarithm_and_ends_with_the_curve() {
        let curve = LearningCurve::through(&[(0.0, 1.0), (99.0, 3.0), (999.0, 4.0)]);
        let count = |value: f64| curve.inverse(value);
        assert_eq!(count(0.5), Ratings { count: 0.0, beyond: false });
        // Half-way between ln 1 and ln 100: 10 − 1.
        assert!((count(2.0).count - 9.0).abs() < 1e-9, "{:?}", count(2.0));
        assert!((count(3.0).count - 99.0).abs() < 1e-9);
        assert!((count(3.5).count - (100_000.0_f64.sqrt() - 1.0)).abs() < 1e-9);
        assert_eq!(count(4.1), Ratings { count: 999.0, beyond: true });
    }
}
