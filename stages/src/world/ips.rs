//! Inverse propensity scoring: ratings are weighted by 1/P(rated).
//!
//! The mean error over a log is no mean over all pairs, because people choose what they rate. Weighted by 1/P(rated) it is, in
//! expectation (Schnabel et al. 2016, arXiv 1602.05352, eq. 10).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Inverse propensity weighting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ips {
    /// Whether the loss of the fit is weighted, which is the default. If not, propensities only weight the error on the hold-out
    /// (`rmse.holdout.world.ips`), so that a world fitted without them can be compared.
    pub weight_loss: bool,
    /// Propensities are clipped to at least this, in [0, 1]: clipping bounds the weight of a single rating and introduces bias.
    /// 0, no clipping, by default.
    pub min_propensity: f64,
    /// Whether weights are divided by their mean over the log (SNIPS; less variance, and `optimizer.learning_rate` and `l2` keep their
    /// meaning); else by users × items / ratings, as the plain estimate has it.
    pub self_normalise: bool,
}

impl Default for Ips {
    fn default() -> Self {
        Self { weight_loss: true, min_propensity: 0.0, self_normalise: true }
    }
}

impl Ips {
    /// What no type can say.
    pub(super) fn check(&self) -> Result<(), (String, String)> {
        if (0.0..=1.0).contains(&self.min_propensity) {
            return Ok(());
        }
        Err(("ips.min_propensity".into(), "a propensity lies between 0 and 1".into()))
    }

    /// One weight a rating, so that mean(w·error²) estimates the mean over all `pairs` of users and items: w = N/(pairs·p), or
    /// (1/p)/mean(1/p).
    pub(super) fn weights(&self, propensities: &[f64], pairs: usize) -> Vec<f64> {
        let inverse: Vec<f64> = propensities.iter().map(|&p| 1.0 / p.max(self.min_propensity)).collect();
        let all = if self.self_normalise { inverse.iter().sum::<f64>() } else { pairs as f64 };
        inverse.iter().map(|x| x * inverse.len() as f64 / all).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(found: &[f64], wanted: &[f64]) {
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}, wanted {wanted:?}");
    }

    #[test]
    fn weights_by_hand() {
        let p = [0.5, 0.25, 0.1];
        // 1/p = 2, 4, 10: mean 16/3.
        assert_near(&Ips::default().weights(&p, 20), &[0.375, 0.75, 1.875]);
        assert_near(
            &Ips { min_propensity: 0.2, ..Ips::default() }.weights(&p, 20),
            &[6.0 / 11.0, 12.0 / 11.0, 15.0 / 11.0],
        );
        assert_near(&Ips { self_normalise: false, ..Ips::default() }.weights(&p, 20), &[0.3, 0.6, 1.5]);
        assert_eq!(Ips { min_propensity: 1.5, ..Ips::default() }.check().unwrap_err().0, "ips.min_propensity");
    }

    /// Two users of whom one is seldom seen: the weighted mean over any one draw is the mean over all, in expectation.
    #[test]
    fn the_estimate_is_unbiased_over_all_ways_to_see() {
        let (p, error) = ([0.8, 0.1], [1.0, 9.0]);
        let ips = Ips { self_normalise: false, ..Ips::default() };
        let mut expected = 0.0;
        for seen in [vec![0], vec![1], vec![0, 1]] {
            let probability: f64 = (0..2).map(|k| if seen.contains(&k) { p[k] } else { 1.0 - p[k] }).product();
            let of_seen: Vec<f64> = seen.iter().map(|&k| p[k]).collect();
            let weights = ips.weights(&of_seen, 2);
            let mean: f64 = weights.iter().zip(&seen).map(|(w, &k)| w * error[k]).sum::<f64>() / seen.len() as f64;
            expected += probability * mean;
        }
        assert!((expected - 5.0).abs() < 1e-12, "{expected}");
    }
}
