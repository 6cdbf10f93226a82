//! Errors and calibration of predicted ratings.

use super::heteroscedastic::negative_log_likelihood;
use crate::artifact::CalibrationBin;

/// Bins of a calibration, where there are as many ratings.
const BINS: usize = 10;

/// Predictions for held-out ratings, with their variances, and the observed ratings.
pub(super) struct CalibrationStats {
    /// r̂ of each.
    pub predicted: Vec<f64>,
    /// Its predictive variance.
    pub variance: Vec<f64>,
    /// The observed ratings.
    pub observed: Vec<f32>,
}

/// Means over the ratings.
#[derive(Debug, PartialEq)]
pub(super) struct FitMetrics {
    /// √ mean error².
    pub rmse: f64,
    /// mean |error|.
    pub mae: f64,
    /// Mean negative log-likelihood under a Gaussian, in nats.
    pub nll: f64,
}

impl CalibrationStats {
    fn error(&self, row: usize) -> f64 {
        self.predicted[row] - f64::from(self.observed[row])
    }

    fn mean(&self, of: impl Fn(usize) -> f64) -> f64 {
        (0..self.observed.len()).map(of).sum::<f64>() / self.observed.len() as f64
    }

    /// The metrics over all ratings.
    pub(super) fn metrics(&self) -> FitMetrics {
        FitMetrics {
            rmse: self.mean(|row| self.error(row).powi(2)).sqrt(),
            mae: self.mean(|row| self.error(row).abs()),
            nll: self.mean(|row| negative_log_likelihood(self.error(row), self.variance[row])),
        }
    }

    /// √ (Σ w·error² / Σ w): the error over all pairs, as weights by inverse propensity estimate it.
    pub(super) fn weighted_rmse(&self, weights: &[f64]) -> f64 {
        (self.mean(|row| weights[row] * self.error(row).powi(2)) / self.mean(|row| weights[row])).sqrt()
    }

    /// Bins of about as many ratings each, by rising prediction; equal predictions keep the order of the log.
    pub(super) fn bins(&self, model: &str) -> Vec<CalibrationBin> {
        let mut rows: Vec<usize> = (0..self.observed.len()).collect();
        rows.sort_by(|&a, &b| self.predicted[a].total_cmp(&self.predicted[b]));
        let bins = BINS.min(rows.len());
        let bin = |bin: usize| {
            let rows = &rows[bin * rows.len() / bins..(bin + 1) * rows.len() / bins];
            let mean = |of: &dyn Fn(usize) -> f64| rows.iter().map(|&row| of(row)).sum::<f64>() / rows.len() as f64;
            CalibrationBin {
                model: model.to_owned(),
                bin: bin as u32,
                count: rows.len() as u32,
                predicted: mean(&|row| self.predicted[row]),
                observed: mean(&|row| f64::from(self.observed[row])),
                deviation: mean(&|row| self.variance[row]).sqrt(),
                error: mean(&|row| self.error(row).powi(2)).sqrt(),
            }
        };
        (0..bins).map(bin).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand() {
        let stats = CalibrationStats { predicted: vec![3.0, 1.0], variance: vec![1.0, 4.0], observed: vec![4.0, 4.0] };
        let metrics = stats.metrics();
        assert!((metrics.rmse - 5.0_f64.sqrt()).abs() < 1e-12 && (metrics.mae - 2.0).abs() < 1e-12, "{metrics:?}");
        // ½ ln 2π + ½·1 and ½ ln 8π + ½·9/4.
        let nll = 0.5 * (std::f64::consts::TAU.ln() + (4.0 * std::f64::consts::TAU).ln() + 1.0 + 2.25) / 2.0;
        assert!((metrics.nll - nll).abs() < 1e-12, "{metrics:?}");
        assert!((stats.weighted_rmse(&[3.0, 1.0]) - 3.0_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn bins_hold_about_as_many_ratings_each() {
        // 25 ratings in 10 bins of 2 or 3; predictions fall, so the first bin holds the last rows.
        let stats = CalibrationStats {
            predicted: (0..25).map(|k| f64::from(24 - k)).collect(),
            variance: vec![4.0; 25],
            observed: (0..25).map(|k| (24 - k) as f32 + if k % 2 == 0 { 1.0 } else { -1.0 }).collect(),
        };
        let bins = stats.bins("mean");
        assert_eq!(bins.iter().map(|bin| bin.count).collect::<Vec<_>>(), [2, 3, 2, 3, 2, 3, 2, 3, 2, 3]);
        let first = CalibrationBin {
            model: "mean".into(),
            bin: 0,
            count: 2,
            predicted: 0.5,
            observed: 0.5,
            deviation: 2.0,
            error: 1.0,
        };
        assert_eq!(bins[0], first);
        assert!((bins[1].predicted - 3.0).abs() < 1e-12 && (bins[1].observed - (3.0 + 1.0 / 3.0)).abs() < 1e-6);
        let few =
            CalibrationStats { predicted: vec![2.0, 1.0], variance: vec![0.0; 2], observed: vec![1.0, 2.0] }.bins("m");
        assert_eq!(few.len(), 2);
        assert_eq!((few[0].predicted, few[0].observed, few[0].deviation), (1.0, 2.0, 0.0));
    }
}
