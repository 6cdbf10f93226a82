//! Log-probabilities of the next token.

use crate::nn::{LANES, exp, with_simd};

/// Logits of every token after several prompts, one row each.
pub(super) struct Logits {
    /// `[rows, vocabulary]`.
    values: Vec<f32>,
    vocabulary: usize,
    /// ln Σ exp of each row.
    log_normalizers: Vec<f64>,
}

impl Logits {
    /// From `[rows, vocabulary]`.
    pub(super) fn new(values: Vec<f32>, vocabulary: usize) -> Self {
        let mut log_normalizers = Vec::with_capacity(values.len() / vocabulary);
        with_simd(
            #[inline(always)]
            || {
                for row in values.chunks_exact(vocabulary) {
                    log_normalizers.push(log_sum_exp(row));
                }
            },
        );
        Self { values, vocabulary, log_normalizers }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.vocabulary..][..self.vocabulary]
    }

    /// ln p of token `id` in `row`; not finite when the weights are damaged.
    pub(super) fn log_probability(&self, row: usize, id: u32) -> f64 {
        f64::from(self.row(row)[id as usize]) - self.log_normalizers[row]
    }

    /// The softmax of every row.
    pub(super) fn probabilities(mut self) -> Vec<f32> {
        with_simd(
            #[inline(always)]
            || {
                for (row, normalizer) in self.values.chunks_exact_mut(self.vocabulary).zip(&self.log_normalizers) {
                    row.iter_mut().for_each(|x| *x = exp(*x - *normalizer as f32));
                }
            },
        );
        self.values
    }

    /// A token of `row` sampled from softmax(logits / temperature) with `draw` in [0, 1); none when a logit is no number.
    pub(super) fn sample(&self, row: usize, temperature: f64, draw: f64) -> Option<u32> {
        let scores = || self.row(row).iter().map(|&x| f64::from(x));
        let top = scores().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = scores().map(|x| ((x - top) / temperature).exp()).sum();
        if !total.is_finite() {
            return None;
        }
        let mut left = draw * total;
        for (id, x) in (0_u32..).zip(scores()) {
            left -= ((x - top) / temperature).exp();
            if left < 0.0 {
                return Some(id);
            }
        }
        self.argmax(row)
    }

    /// The most probable token of `row`, the first of several; none when a logit is no number.
    pub(super) fn argmax(&self, row: usize) -> Option<u32> {
        let mut best = (0, f32::NEG_INFINITY);
        for (id, value) in (0_u32..).zip(self.row(row)) {
            if value.is_nan() {
                return None;
            }
            if *value > best.1 {
                best = (id, *value);
            }
        }
        Some(best.0)
    }
}

/// ln Σ exp of a row.
#[inline(always)]
fn log_sum_exp(row: &[f32]) -> f64 {
    // The largest is subtracted first so that no exponential overflows. A logit that is no number makes the sum no number.
    let mut tops = [f32::NEG_INFINITY; LANES];
    for part in row.chunks(LANES) {
        for (top, x) in tops.iter_mut().zip(part) {
            *top = if *x > *top { *x } else { *top };
        }
    }
    let top = tops.into_iter().fold(f32::NEG_INFINITY, f32::max);
    let mut sums = [0.0_f64; LANES];
    for part in row.chunks(LANES) {
        for (sum, x) in sums.iter_mut().zip(part) {
            *sum += f64::from(exp(x - top));
        }
    }
    f64::from(top) + sums.iter().sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The columns of `values` are the rows of the logits.
    fn logits(values: [[f32; 2]; 3]) -> Logits {
        let rows = [0, 1].map(|row| values.map(|value| value[row]));
        Logits::new(rows.concat(), 3)
    }

    #[test]
    fn log_probabilities_by_hand() {
        // Odds 1 : 2 : 1 in the first row; numbers whose exponential overflows in the second.
        let logits = logits([[0.0, 1000.0], [2.0_f32.ln(), 1000.0], [0.0, -1000.0]]);
        for (row, id, wanted) in [(0, 0, 0.25_f64), (0, 1, 0.5), (1, 0, 0.5)] {
            assert!((logits.log_probability(row, id) - wanted.ln()).abs() < 1e-6);
        }
        assert_eq!((logits.argmax(0), logits.argmax(1)), (Some(1), Some(0)));
    }

    #[test]
    fn draws_by_hand() {
        // Shares ¼, ½, ¼; at half the temperature their squares: 1/6, 2/3, 1/6.
        let logits = logits([[0.0, 0.0], [2.0_f32.ln(), 0.0], [0.0, 0.0]]);
        let drawn = |temperature, draws: [f64; 4]| draws.map(|draw| logits.sample(0, temperature, draw).unwrap());
        assert_eq!(drawn(1.0, [0.0, 0.24, 0.26, 0.74]), [0, 0, 1, 1]);
        assert_eq!(drawn(1.0, [0.76, 0.999, 0.5, 0.25]), [2, 2, 1, 1]);
        assert_eq!(drawn(0.5, [0.16, 0.17, 0.83, 0.84]), [0, 1, 1, 2]);
    }

    #[test]
    fn damage_shows() {
        let logits = logits([[f32::NAN, 0.0], [0.0, f32::INFINITY], [0.0, 0.0]]);
        assert_eq!((logits.argmax(0), logits.sample(0, 1.0, 0.5)), (None, None));
        assert!(!logits.log_probability(0, 1).is_finite() && !logits.log_probability(1, 0).is_finite());
    }
}
