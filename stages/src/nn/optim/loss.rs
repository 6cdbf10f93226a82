//! Pure losses, each with its formula.

use candle_core::{Result, Tensor};

pub use crate::nn::kernels::{
    ActionScores, GatheredLogSoftmax, HeadInputs, gathered_log_softmax, output_layer, softplus,
};

/// Binary cross-entropy of `logits` against `targets` in [0, 1], any equal shapes → one value an element:
/// softplus(z) − z·y. Stable for any logit, unlike `candle_nn::loss::binary_cross_entropy_with_logit`.
pub fn bce_with_logits(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    softplus(logits)? - (logits * targets)?
}

/// log π of the actions: `logits [B, A]`, `action [B]` of u32 → `[B]`.
pub fn log_prob(logits: &Tensor, action: &Tensor) -> Result<Tensor> {
    let GatheredLogSoftmax { logit, log_sum_exp } = gathered_log_softmax(logits, action)?;
    logit - log_sum_exp
}

/// mean((V − R)²): `values [S], targets [S]` → scalar.
pub fn value_loss(values: &Tensor, targets: &Tensor) -> Result<Tensor> {
    (values - targets)?.sqr()?.mean_all()
}

/// −mean(min(ρ·A, clip(ρ, 1 − ε, 1 + ε)·A)): `change [S]` = log ρ, `advantage [S]` → scalar; Schulman et al. 2017 (arXiv 1707.06347),
/// eq. 7.
pub fn clipped_loss(change: &Tensor, advantage: &Tensor, clip_ratio: f64) -> Result<Tensor> {
    let ratio = change.exp()?;
    let clipped = ratio.clamp(1.0 - clip_ratio, 1.0 + clip_ratio)?;
    (ratio * advantage)?.minimum(&(clipped * advantage)?)?.mean_all()?.neg()
}

/// Huber's loss of each difference, any shape: x²/2 up to |x| = 1, |x| − ½ beyond (Huber 1964), so that an outlier does
/// not dominate the others.
pub fn huber(x: &Tensor) -> Result<Tensor> {
    // With c = min(|x|, 1): c²/2 + (|x| − c).
    let size = x.abs()?;
    let near = size.minimum(1.0)?;
    (near.sqr()? * 0.5)? + (size - near)?
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::nn::optim::gradient_check::assert_finite_differences;

    fn tensor(values: &[f64]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn bce_agrees_with_hand_computed_values_and_never_overflows() {
        let loss = bce_with_logits(&tensor(&[0.0, 2.0, -1000.0, 1000.0]), &tensor(&[1.0, 0.0, 1.0, 1.0])).unwrap();
        let loss = loss.to_vec1::<f64>().unwrap();
        let expected = [2.0_f64.ln(), (1.0 + 2.0_f64.exp()).ln(), 1000.0, 0.0];
        for (found, wanted) in loss.iter().zip(expected) {
            assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        }
    }

    #[test]
    fn uniform_logits_have_the_log_probability_of_the_action_count() {
        let logits = Tensor::zeros((2, 8), DType::F64, &Device::Cpu).unwrap();
        let action = Tensor::new(&[3_u32, 7], &Device::Cpu).unwrap();
        for found in log_prob(&logits, &action).unwrap().to_vec1::<f64>().unwrap() {
            assert!((found + 8.0_f64.ln()).abs() < 1e-12);
        }
    }

    #[test]
    fn errors_agree_with_hand_computed_values() {
        let loss = value_loss(&tensor(&[-1.0, -2.0]), &tensor(&[3.0, -1.0])).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 8.5).abs() < 1e-12, "((−4)² + (−1)²)/2 = 8.5, found {loss}");
        let loss = huber(&tensor(&[0.0, 0.5, -0.5, 1.0, -3.0])).unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(loss, [0.0, 0.125, 0.125, 0.5, 2.5]);
    }

    #[test]
    fn the_clipped_loss_agrees_with_hand_computed_values_and_finite_differences() {
        let change = tensor(&[1.5_f64, 1.5, 0.5, 0.5, 1.1].map(f64::ln));
        let advantage = tensor(&[2.0, -2.0, 2.0, -2.0, 1.0]);
        // min(3, 2.4), min(−3, −2.4), min(1, 1.6), min(−1, −1.6), 1.1: −(2.4 − 3 + 1 − 1.6 + 1.1)/5.
        let loss = clipped_loss(&change, &advantage, 0.2).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 0.02).abs() < 1e-12, "{loss}");
        assert_finite_differences(&change, |x| clipped_loss(x, &advantage, 0.2));
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let x = tensor(&[0.3, -1.2, 2.0, 0.01, -0.7, 1.1]);
        let y = tensor(&[1.0, 0.0, 0.9, 0.1, 1.0, 0.0]);
        assert_finite_differences(&x, |x| value_loss(x, &y));
        assert_finite_differences(&x, |x| huber(x)?.sum_all());
        assert_finite_differences(&x, |x| bce_with_logits(x, &y)?.sum_all());
        let action = Tensor::new(&[2_u32, 0], &Device::Cpu).unwrap();
        assert_finite_differences(&x, |x| log_prob(&x.reshape((2, 3))?, &action)?.sum_all());
    }
}
