//! What the model says about the next token, as log-probabilities.

use candle_core::{Result, Tensor};

/// Scores of every token after several prompts, one column each.
pub(super) struct Logits {
    /// `[vocabulary, columns]`, as the product with the weights leaves it.
    values: Vec<f32>,
    /// ln Σ exp of each column.
    normalisers: Vec<f64>,
}

impl Logits {
    /// `[vocabulary, columns]`.
    pub(super) fn new(logits: &Tensor) -> Result<Self> {
        let columns = logits.dim(1)?;
        let values = logits.flatten_all()?.to_vec1::<f32>()?;
        // The largest is taken out first so that no exponential overflows.
        let mut tops = vec![f32::NEG_INFINITY; columns];
        for row in values.chunks_exact(columns) {
            for (top, value) in tops.iter_mut().zip(row) {
                *top = top.max(*value);
            }
        }
        let mut sums = vec![0.0_f64; columns];
        for row in values.chunks_exact(columns) {
            for ((sum, value), top) in sums.iter_mut().zip(row).zip(&tops) {
                *sum += f64::from((value - top).exp());
            }
        }
        let normalisers = sums.into_iter().zip(tops).map(|(sum, top)| f64::from(top) + sum.ln()).collect();
        Ok(Self { values, normalisers })
    }

    /// ln p of token `id` in `column`; not finite when the weights are damaged.
    pub(super) fn log_probability(&self, column: usize, id: u32) -> f64 {
        f64::from(self.values[id as usize * self.normalisers.len() + column]) - self.normalisers[column]
    }

    /// A token of `column` drawn from softmax(logits / temperature) by one number `draw` in [0, 1); none when a score is no number.
    pub(super) fn drawn(&self, column: usize, temperature: f64, draw: f64) -> Option<u32> {
        let scores = || self.values.iter().skip(column).step_by(self.normalisers.len()).map(|&x| f64::from(x));
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
        self.best(column)
    }

    /// The most probable token of `column`, the first of several; none when a score is no number.
    pub(super) fn best(&self, column: usize) -> Option<u32> {
        let mut best = (0, f32::NEG_INFINITY);
        for (id, value) in (0_u32..).zip(self.values.iter().skip(column).step_by(self.normalisers.len())) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn logits(values: [[f32; 2]; 3]) -> Logits {
        Logits::new(&Tensor::new(&values, &Device::Cpu).unwrap()).unwrap()
    }

    #[test]
    fn log_probabilities_by_hand() {
        // Odds 1 : 2 : 1 in the first column; numbers whose exponential overflows in the second.
        let logits = logits([[0.0, 1000.0], [2.0_f32.ln(), 1000.0], [0.0, -1000.0]]);
        for (column, id, wanted) in [(0, 0, 0.25_f64), (0, 1, 0.5), (1, 0, 0.5)] {
            assert!((logits.log_probability(column, id) - wanted.ln()).abs() < 1e-6);
        }
        assert_eq!((logits.best(0), logits.best(1)), (Some(1), Some(0)));
    }

    #[test]
    fn draws_by_hand() {
        // Shares ¼, ½, ¼; at half the temperature their squares: 1/6, 2/3, 1/6.
        let logits = logits([[0.0, 0.0], [2.0_f32.ln(), 0.0], [0.0, 0.0]]);
        let drawn = |temperature, draws: [f64; 4]| draws.map(|draw| logits.drawn(0, temperature, draw).unwrap());
        assert_eq!(drawn(1.0, [0.0, 0.24, 0.26, 0.74]), [0, 0, 1, 1]);
        assert_eq!(drawn(1.0, [0.76, 0.999, 0.5, 0.25]), [2, 2, 1, 1]);
        assert_eq!(drawn(0.5, [0.16, 0.17, 0.83, 0.84]), [0, 1, 1, 2]);
    }

    #[test]
    fn damage_shows() {
        let logits = logits([[f32::NAN, 0.0], [0.0, f32::INFINITY], [0.0, 0.0]]);
        assert_eq!((logits.best(0), logits.drawn(0, 1.0, 0.5)), (None, None));
        assert!(!logits.log_probability(0, 1).is_finite() && !logits.log_probability(1, 0).is_finite());
    }
}
