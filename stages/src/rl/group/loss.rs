//! Losses over the sessions of a group, as functions of log R = log π(a|s) − log π_old(a|s).

use candle_core::Tensor;

/// Upper bound of log R: beyond it a step has no gradient, and exp cannot overflow. That of the released code of NFT.
const MAX_LOG_RATIO: f64 = 10.0;

/// log R up to [`MAX_LOG_RATIO`].
pub fn bounded(change: &Tensor) -> candle_core::Result<Tensor> {
    change.minimum(MAX_LOG_RATIO)
}

/// What the negative-aware loss knows of each of S steps, `[S]` each; constants.
pub struct Verified<'t> {
    /// y: 1 where the session is good, else 0.
    pub good: &'t Tensor,
    /// r: the share of good sessions in the group, between 0 and 1 and neither of them.
    pub rate: &'t Tensor,
    /// ω: how much the group counts.
    pub weight: &'t Tensor,
}

/// −mean(ω·(y·log R + w·(1 − y)·log max_st((1 − r·R)/(1 − r), ε))), with `neg_weight` w and `min_neg_ratio` ε: `change [S]` = log R →
/// scalar. The ratio of the implicit negative policy is (π_old − r·π)/((1 − r)·π_old), because π_old is r parts of a positive and 1 − r parts
/// of a negative policy. NFT (arXiv 2505.18116) and its released code.
pub fn negative_aware_loss(
    change: &Tensor,
    steps: &Verified,
    neg_weight: f64,
    min_neg_ratio: f64,
) -> candle_core::Result<Tensor> {
    let change = bounded(change)?;
    let failure = steps.rate.affine(-1.0, 1.0)?;
    let implicit = ((change.exp()? * steps.rate)?.affine(-1.0, 1.0)? / failure)?;
    let positive = (steps.good * &change)?;
    let negative = (steps.good.affine(-1.0, 1.0)? * straight_through_maximum(&implicit, min_neg_ratio)?.log()?)?;
    ((positive + (negative * neg_weight)?)? * steps.weight)?.mean_all()?.neg()
}

/// max(x, ε) with the gradient of x: a ratio below ε keeps its gradient, which a maximum would cut.
fn straight_through_maximum(x: &Tensor, least: f64) -> candle_core::Result<Tensor> {
    // x − x is exactly 0, so that the value is the maximum to the bit.
    x.detach().maximum(least)? + (x - x.detach())?
}

/// −∂L/∂log π(a|s)·S of each step: how far the loss pushes its log-probability, 0 where it does not. `change [S]` → `[S]`.
pub fn credits(change: &Tensor, loss: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> candle_core::Result<Tensor> {
    let change = candle_core::Var::from_tensor(&change.detach())?;
    let gradients = loss(change.as_tensor())?.backward()?;
    match gradients.get(change.as_tensor()) {
        Some(gradient) => gradient.affine(-(change.elem_count() as f64), 0.0),
        None => change.zeros_like(),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::super::outcome::{GroupWeight, Outcome};
    use super::*;
    use crate::nn::action_log_prob;
    use crate::nn::gradient_check::assert_finite_differences;
    use crate::nn::loss::clipped_loss;

    fn tensor(values: &[f64]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    fn scalar(loss: candle_core::Result<Tensor>) -> f64 {
        loss.unwrap().to_scalar().unwrap()
    }

    #[test]
    fn the_loss_agrees_with_hand_computed_values_and_finite_differences() {
        let change = tensor(&[2.0_f64.ln(), 2.0_f64.ln(), 0.5_f64.ln(), 20.0]);
        let (good, rate, weight) =
            (tensor(&[1.0, 0.0, 0.0, 1.0]), tensor(&[0.5, 0.5, 0.25, 0.5]), tensor(&[0.5, 0.5, 1.0, 1.0]));
        let steps = Verified { good: &good, rate: &rate, weight: &weight };
        let loss = |change: &Tensor, least: f64| negative_aware_loss(change, &steps, 0.5, least);
        // (1 − ½·2)/½ = 0, which ε takes the place of; (1 − ¼·½)/¾ = 7/6; log R is cut at 10.
        let terms = |first: f64, second: f64| 0.5 * 2.0_f64.ln() + 0.25 * first.ln() + 0.5 * second.ln() + 10.0;
        for least in [1.0, 0.1] {
            let found = scalar(loss(&change, least));
            assert!((found + terms(least, 7.0 / 6.0) / 4.0).abs() < 1e-12, "{found}");
        }
        // Where the maximum is the ratio itself, the gradient is the derivative.
        let inside = tensor(&[0.3, -0.4, 0.2, 0.1]);
        assert_finite_differences(&inside, |change| loss(change, 1e-3));
    }

    /// ∂L⁻/∂R = r/((1 − r)·max(ratio, ε)): a ratio below ε keeps the sign of its gradient and loses its size.
    #[test]
    fn a_bad_step_never_counts_more_than_the_odds_of_its_group() {
        let (good, rate, weight) = (tensor(&[0.0; 3]), tensor(&[0.5; 3]), tensor(&[1.0; 3]));
        let steps = Verified { good: &good, rate: &rate, weight: &weight };
        let ratios = [0.5_f64, 1.0, 3.0];
        let found = credits(&tensor(&ratios.map(f64::ln)), |change| negative_aware_loss(change, &steps, 1.0, 1.0));
        // R·r/(1 − r) over 1.5, 1, and 1 in the place of −1.
        let wanted = [-0.5 / 1.5, -1.0, -3.0];
        let found = found.unwrap().to_vec1::<f64>().unwrap();
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }

    /// Four sessions of three steps each: logits of five items, and what was shown.
    fn sessions() -> (Tensor, Vec<u32>) {
        let logits: Vec<f64> = (0..60).map(|k| f64::from(k * 37 % 23) / 7.0 - 1.5).collect();
        (tensor(&logits).reshape((12, 5)).unwrap(), (0..12).map(|k| k * 3 % 5).collect())
    }

    /// The gradient of a loss of log R at θ = θ_old, in the logits.
    fn gradient_on_policy(loss: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Vec<f64> {
        let (logits, actions) = sessions();
        let logits = Var::from_tensor(&logits).unwrap();
        let log_prob = action_log_prob(logits.as_tensor(), &actions).unwrap().log_prob;
        let change = (&log_prob - log_prob.detach()).unwrap();
        let gradients = loss(&change).unwrap().backward().unwrap();
        gradients.get(logits.as_tensor()).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// NFT's theorem: on policy its gradient is that of Dr. GRPO or GRPO, by the weight of a group, where the reward is y.
    #[test]
    fn on_policy_the_gradient_is_that_of_group_relative_policy_optimisation() {
        for returns in [[1.0, 2.0, 3.0, 9.0], [5.0, 5.0, 5.0, 1.0], [1.0, 1.0, 1.0, 7.0]] {
            let outcome = Outcome::of(&returns).unwrap();
            let of_steps = |of: &dyn Fn(usize) -> f64| tensor(&(0..12).map(|step| of(step / 3)).collect::<Vec<_>>());
            let verified: Vec<f64> = outcome.good.iter().map(|&good| f64::from(u8::from(good))).collect();
            let (good, rate) = (of_steps(&|session| verified[session]), of_steps(&|_| outcome.rate));
            for (weight, scaled) in [(GroupWeight::FailureRate, false), (GroupWeight::SqrtFailureOdds, true)] {
                let weight = of_steps(&|_| weight.of(outcome.rate));
                let steps = Verified { good: &good, rate: &rate, weight: &weight };
                let nft = gradient_on_policy(|change| negative_aware_loss(change, &steps, 1.0, 1.0));
                let advantages = Outcome::of(&verified).unwrap().advantages(scaled);
                let advantages = of_steps(&|session| advantages[session]);
                let grpo = gradient_on_policy(|change| clipped_loss(change, &advantages, 0.2));
                let size = nft.iter().map(|x| x.abs()).fold(0.0, f64::max);
                assert!(size > 1e-2, "{size}");
                assert!(
                    nft.iter().zip(&grpo).all(|(a, b)| (a - b).abs() < 1e-6 * size),
                    "{returns:?}\n{nft:?}\n{grpo:?}"
                );
            }
        }
    }

    /// Without a weight of the bad sessions what is left is the likelihood of the good ones.
    #[test]
    fn without_negatives_it_is_rejection_fine_tuning() {
        let good = tensor(&[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
        let (rate, weight) = (tensor(&[0.5; 12]), tensor(&[0.5; 12]));
        let steps = Verified { good: &good, rate: &rate, weight: &weight };
        let without = gradient_on_policy(|change| negative_aware_loss(change, &steps, 0.0, 1.0));
        let (logits, actions) = sessions();
        let logits = Var::from_tensor(&logits).unwrap();
        let log_prob = action_log_prob(logits.as_tensor(), &actions).unwrap().log_prob;
        let likelihood = ((log_prob * &good).unwrap() * &weight).unwrap().mean_all().unwrap().neg().unwrap();
        let gradients = likelihood.backward().unwrap();
        let wanted: Vec<f64> = gradients.get(logits.as_tensor()).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert!(without.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-15), "{without:?}\n{wanted:?}");
        let with = gradient_on_policy(|change| negative_aware_loss(change, &steps, 1.0, 1.0));
        assert!(with.iter().zip(&wanted).any(|(a, b)| (a - b).abs() > 1e-3), "the bad sessions say something");
    }
}
