//! Advantage-weighted behaviour cloning, which `rl.iql` and `rl.crr` share.

use candle_core::Tensor;

/// min(exp(A/β), `max_weight`) with β the `temperature`: `advantages [N]`, in the unit of rewards → `[N]`; Wang et al. 2020 (arXiv
/// 2006.15134); Kostrikov et al. 2022 (arXiv 2110.06169), eq. 7, with 1/β for β.
pub fn exponential_weights(advantages: &Tensor, temperature: f64, max_weight: f64) -> candle_core::Result<Tensor> {
    // Bounded before the exponential, which could overflow.
    (advantages * (1.0 / temperature))?.minimum(max_weight.ln())?.exp()
}

/// −mean(w·log π(a|s)): `log_prob [N]`, `weights [N]` → scalar; the weights are constants.
pub fn weighted_loss(log_prob: &Tensor, weights: &Tensor) -> candle_core::Result<Tensor> {
    (log_prob * weights)?.mean_all()?.neg()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::gradient_check::assert_finite_differences;

    #[test]
    fn weights_and_loss_agree_with_hand_computed_values_and_finite_differences() {
        let tensor = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        // e^(2·0), e^(2·ln 2) and no more than 5 of e^2000.
        let weights = exponential_weights(&tensor(&[0.0, 2.0_f64.ln(), 1000.0]), 0.5, 5.0).unwrap();
        let found = weights.to_vec1::<f64>().unwrap();
        assert!(found.iter().zip([1.0, 4.0, 5.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        let logs = tensor(&[-1.0, -2.0, -0.5]);
        let loss = weighted_loss(&logs, &weights).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 11.5 / 3.0).abs() < 1e-12, "(1 + 8 + 2.5)/3, found {loss}");
        assert_finite_differences(&logs, |logs| weighted_loss(logs, &weights));
    }
}
