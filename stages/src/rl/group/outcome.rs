//! What the sessions of one user say of each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds of r in the losses, so that no weight of a large group is without bound; those of NFT's released code.
const RATES: [f64; 2] = [0.02, 0.98];

/// ω: how much a group counts in `nft` and `rft`, by r, the share of its good sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupWeight {
    /// 1.
    Uniform,
    /// 1 − r: on policy as in Dr. GRPO.
    FailureRate,
    /// √((1 − r)/r): on policy as in GRPO.
    SqrtFailureOdds,
}

impl GroupWeight {
    /// ω of a group.
    #[must_use]
    pub fn of(self, rate: f64) -> f64 {
        match self {
            Self::Uniform => 1.0,
            Self::FailureRate => 1.0 - rate,
            Self::SqrtFailureOdds => ((1.0 - rate) / rate).sqrt(),
        }
    }
}

/// Sessions of one user, not all of the same return.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// y: whether a session returned more than the median of the group; where none did, whether it returned as much.
    pub good: Vec<bool>,
    /// r: the share of good sessions, within [`RATES`].
    pub rate: f64,
    returns: Vec<f64>,
}

impl Outcome {
    /// Of a group's returns; `None` where all are equal, so that no session is better than another.
    #[must_use]
    pub fn of(returns: &[f64]) -> Option<Self> {
        let mut sorted = returns.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (*sorted.first()?, *sorted.last()?);
        if low == high {
            return None;
        }
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        } else {
            sorted[middle]
        };
        let good: Vec<bool> = returns.iter().map(|&found| found > median || found == high).collect();
        let rate = good.iter().filter(|&&good| good).count() as f64 / good.len() as f64;
        Some(Self { good, rate: rate.clamp(RATES[0], RATES[1]), returns: returns.to_vec() })
    }

    /// R less the group's mean; over the deviation of the group where `scaled`.
    #[must_use]
    pub fn advantages(&self, scaled: bool) -> Vec<f64> {
        let count = self.returns.len() as f64;
        let mean = self.returns.iter().sum::<f64>() / count;
        let variance = self.returns.iter().map(|found| (found - mean).powi(2)).sum::<f64>() / count;
        let scale = if scaled { 1.0 / variance.sqrt() } else { 1.0 };
        self.returns.iter().map(|found| (found - mean) * scale).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(returns: &[f64]) -> Vec<u8> {
        Outcome::of(returns).unwrap().good.into_iter().map(u8::from).collect()
    }

    #[test]
    fn good_is_more_than_the_median_or_the_best_where_it_is_the_median() {
        assert_eq!(good(&[4.0, 1.0, 3.0, 2.0]), [1, 0, 1, 0]);
        assert_eq!(good(&[1.0, 2.0, 3.0]), [0, 0, 1]);
        assert_eq!(good(&[1.0, 1.0, 3.0, 3.0]), [0, 0, 1, 1]);
        assert_eq!(good(&[1.0, 1.0, 1.0, 3.0]), [0, 0, 0, 1]);
        assert_eq!(good(&[1.0, 3.0, 3.0, 3.0]), [0, 1, 1, 1], "nothing exceeds the median");
        assert_eq!((Outcome::of(&[2.0; 8]), Outcome::of(&[2.0]), Outcome::of(&[])), (None, None, None));
    }

    #[test]
    fn rates_advantages_and_weights_agree_with_hand_computed_values() {
        let outcome = Outcome::of(&[1.0, 3.0, 5.0, 7.0]).unwrap();
        assert_eq!((outcome.rate, outcome.advantages(false)), (0.5, vec![-3.0, -1.0, 1.0, 3.0]));
        let scaled = outcome.advantages(true);
        assert!(scaled.iter().zip([-3.0, -1.0, 1.0, 3.0]).all(|(a, b)| (a - b / 5.0_f64.sqrt()).abs() < 1e-12));
        let mut many = vec![1.0; 99];
        many.push(2.0);
        assert_eq!(Outcome::of(&many).unwrap().rate, 0.02, "1 of 100");
        let weights = [GroupWeight::Uniform, GroupWeight::FailureRate, GroupWeight::SqrtFailureOdds];
        assert_eq!(weights.map(|weight| weight.of(0.2)), [1.0, 0.8, 2.0]);
    }
}
