//! The pure parts of adversarial inverse RL: its loss, and AIRL's shaped reward.
//!
//! logits are high where the expert is likely: D_E = P(expert) = σ(logit).

use candle_core::{Result, Tensor};

use crate::nn::optim::loss::bce_with_logits;

/// mean(w · bce(logit, target)): −mean_demo(ŵ·log D_E) − mean_π(log(1 − D_E)) on a balanced batch, up to the factor ½ of the mean
/// (Ho and Ermon 2016, arXiv 1606.03476, eq. 17; ŵ is IL-Rec's). `logits`, `targets` and `weights [B]` → scalar. Weights of
/// the expert's rows that are m times as large add log m to the best logit.
pub fn adversarial_loss(logits: &Tensor, targets: &Tensor, weights: &Tensor) -> Result<Tensor> {
    (bce_with_logits(logits, targets)? * weights)?.mean_all()
}

/// f(s, a, s') = g + γ·h(s') − h(s): `g`, `potential` (h of s) and `potential_after` (h of s', 0 where the episode is over), all
/// `[B]` → `[B]`. Fu, Luo and Levine 2018, arXiv 1710.11248, eq. 4.
pub fn shaped(g: &Tensor, potential: &Tensor, potential_after: &Tensor, gamma: f64) -> Result<Tensor> {
    (g + (potential_after * gamma)?)? - potential
}

/// logit of D_E = e^f/(e^f + π): f − log π, with π a constant. `f` and `log_policy [B]` → `[B]`. Fu, Luo and Levine 2018, eq. 3.
pub fn airl_logits(f: &Tensor, log_policy: &Tensor) -> Result<Tensor> {
    f - log_policy.detach()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::nn::optim::gradient_check::assert_finite_differences;

    fn tensor(values: &[f64]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    #[test]
    fn values_are_those_of_the_formulas() {
        let loss = adversarial_loss(&tensor(&[0.0, 0.0]), &tensor(&[1.0, 0.0]), &tensor(&[3.0, 1.0])).unwrap();
        assert!((loss.to_scalar::<f64>().unwrap() - 2.0 * 2.0_f64.ln()).abs() < 1e-12);
        let f = shaped(&tensor(&[1.0, 2.0]), &tensor(&[3.0, 4.0]), &tensor(&[5.0, 0.0]), 0.5).unwrap();
        assert_eq!(f.to_vec1::<f64>().unwrap(), [0.5, -2.0]);
        assert_eq!(airl_logits(&f, &tensor(&[-1.0, -2.0])).unwrap().to_vec1::<f64>().unwrap(), [1.5, 0.0]);
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let (targets, weights) = (tensor(&[1.0, 0.9, 0.0, 0.1]), tensor(&[0.4, 1.6, 1.0, 1.0]));
        let (g, h, after) =
            (tensor(&[0.3, -0.2, 1.1, 0.5]), tensor(&[0.7, -1.0, 0.2, 0.0]), tensor(&[-0.4, 0.9, 0.0, 2.0]));
        let log_policy = tensor(&[-0.1, -2.0, -0.7, -1.0]);
        let loss = |g: &Tensor, h: &Tensor, after: &Tensor| {
            adversarial_loss(&airl_logits(&shaped(g, h, after, 0.9)?, &log_policy)?, &targets, &weights)
        };
        assert_finite_differences(&g, |g| loss(g, &h, &after));
        assert_finite_differences(&h, |h| loss(&g, h, &after));
        assert_finite_differences(&after, |after| loss(&g, &h, after));
    }

    #[test]
    fn the_policy_in_the_discriminator_is_a_constant() {
        let log_policy = candle_core::Var::from_tensor(&tensor(&[-1.0])).unwrap();
        let logits = airl_logits(&tensor(&[0.5]), log_policy.as_tensor()).unwrap();
        let gradients = logits.sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(log_policy.as_tensor()).is_none());
    }
}
