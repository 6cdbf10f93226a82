//! Reward forms: functions of the discriminator's output.

use candle_core::{Result, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nn::optim::loss::softplus;

/// The form of r_IRL as a function of D = D_E = P(expert) = σ(logit).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RewardForm {
    /// −log(1 − D) ≥ 0, as in IL-Rec: each further step adds reward.
    #[default]
    NegLogOneMinusD,
    /// log D ≤ 0: each further step costs reward.
    LogD,
    /// log D − log(1 − D), the logit, of either sign; in AIRL it is f − log π.
    LogDMinusLogOneMinusD,
    /// f(s, a, s') of AIRL, of either sign.
    F,
}

impl RewardForm {
    /// The reward of `logits` and, for [`RewardForm::F`], of `f`; both `[B]` → `[B]`.
    pub fn of(self, logits: &Tensor, f: &Tensor) -> Result<Tensor> {
        match self {
            Self::NegLogOneMinusD => softplus(logits),
            Self::LogD => softplus(&logits.neg()?)?.neg(),
            Self::LogDMinusLogOneMinusD => Ok(logits.clone()),
            Self::F => Ok(f.clone()),
        }
    }

    /// Why this form confounds preference with episode length in a world whose users leave: a reward of one sign favours staying, or
    /// leaving, whatever is recommended (Kostrikov et al. 2019, arXiv 1809.02925, section 4.1).
    #[must_use]
    pub fn confounds_length(self) -> Option<&'static str> {
        match self {
            Self::NegLogOneMinusD => Some(
                "−log(1 − D) is never negative and users of this world leave, so the reward favours long episodes whatever is \
                 recommended: a longer episode is no evidence of imitation\nhelp: `reward: log_d_minus_log_one_minus_d` has both signs",
            ),
            Self::LogD => Some(
                "log D is never positive and users of this world leave, so the reward favours short episodes whatever is \
                 recommended: a shorter episode is no evidence of imitation\nhelp: `reward: log_d_minus_log_one_minus_d` has both signs",
            ),
            Self::LogDMinusLogOneMinusD | Self::F => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn each_form_is_what_its_name_says() {
        let z = 0.8_f64;
        let d = 1.0 / (1.0 + (-z).exp());
        let tensor = |x: f64| Tensor::new(&[x], &Device::Cpu).unwrap();
        let found = |form: RewardForm| form.of(&tensor(z), &tensor(5.0)).unwrap().to_vec1::<f64>().unwrap()[0];
        assert!((found(RewardForm::NegLogOneMinusD) + (1.0 - d).ln()).abs() < 1e-12);
        assert!((found(RewardForm::LogD) - d.ln()).abs() < 1e-12);
        assert!((found(RewardForm::LogDMinusLogOneMinusD) - (d.ln() - (1.0 - d).ln())).abs() < 1e-12);
        assert!((found(RewardForm::F) - 5.0).abs() < 1e-12);
    }

    #[test]
    fn forms_of_one_sign_confound_length() {
        let confounds = |form: RewardForm| form.confounds_length().is_some();
        assert!(confounds(RewardForm::NegLogOneMinusD) && confounds(RewardForm::LogD));
        assert!(!confounds(RewardForm::LogDMinusLogOneMinusD) && !confounds(RewardForm::F));
    }
}
