//! A model that states how far it may be off: ratings are N(r̂, σ²) with σ² = e^s of its own for each user and item.
//!
//! Kendall and Gal 2017, eq. 5, as EasyRL4Rec fits its user models: Σ err²·e^{−s} + Σ s, which is twice the negative
//! log-likelihood less a constant.

use candle_core::{Result, Tensor};

/// The largest |s|: a deviation between 0.05 and 20 units of the rating.
const LARGEST: f64 = 6.0;

/// The smallest variance that a likelihood is taken of: a fit without any error would promise infinitely much.
const LEAST_VARIANCE: f64 = 1e-6;

/// err²·e^{−s} + s: `squared [B]`, `log_variance [B]` → `[B]`.
pub(super) fn loss(squared: &Tensor, log_variance: &Tensor) -> Result<Tensor> {
    (squared * log_variance.neg()?.exp()?)? + log_variance
}

/// Any number → s within ±6, smoothly, so that no gradient is cut: 6·tanh(x/6). Any shape.
pub(super) fn bounded(x: &Tensor) -> Result<Tensor> {
    (x / LARGEST)?.tanh()? * LARGEST
}

/// −ln N(error; 0, variance) = ½(ln 2πσ² + err²/σ²), in nats.
pub(super) fn negative_log_likelihood(error: f64, variance: f64) -> f64 {
    let variance = variance.max(LEAST_VARIANCE);
    0.5 * ((std::f64::consts::TAU * variance).ln() + error * error / variance)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::Init;
    use crate::nn::gradient_check::assert_finite_differences;

    #[test]
    fn the_loss_is_twice_the_likelihood_and_its_gradient_is_exact() {
        // error 2 with σ² = e^ln4 = 4: 4/4 + ln 4.
        let squared = Tensor::new(&[4.0_f64, 0.0], &Device::Cpu).unwrap();
        let s = Tensor::new(&[4.0_f64.ln(), -1.0], &Device::Cpu).unwrap();
        let values = loss(&squared, &s).unwrap().to_vec1::<f64>().unwrap();
        assert!((values[0] - (1.0 + 4.0_f64.ln())).abs() < 1e-12 && (values[1] + 1.0).abs() < 1e-12, "{values:?}");
        let likelihood = 2.0 * negative_log_likelihood(2.0, 4.0) - std::f64::consts::TAU.ln();
        assert!((values[0] - likelihood).abs() < 1e-12);
        assert_finite_differences(&Init::new(1).normal(&[2, 5], 1.0).unwrap(), |x| {
            loss(&x.get(0)?.sqr()?, &bounded(&x.get(1)?)?)?.sum_all()
        });
    }

    #[test]
    fn likelihoods_by_hand_and_of_no_error_at_all() {
        // N(0; 0, 1) = 0.39894, N(1; 0, 1) = 0.24197.
        assert!((negative_log_likelihood(0.0, 1.0) + 0.398_942_3_f64.ln()).abs() < 1e-6);
        assert!((negative_log_likelihood(1.0, 1.0) + 0.241_970_7_f64.ln()).abs() < 1e-6);
        assert!(negative_log_likelihood(0.0, 0.0).is_finite());
        let far =
            bounded(&Tensor::new(&[1e9_f64, -1e9, 0.1], &Device::Cpu).unwrap()).unwrap().to_vec1::<f64>().unwrap();
        assert!(far[0] <= 6.0 && far[1] >= -6.0 && (far[2] - 0.1).abs() < 1e-4, "{far:?}");
    }
}
