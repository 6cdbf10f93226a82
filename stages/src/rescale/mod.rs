//! Ratings on another scale: play counts, minutes and watch ratios spread over many powers of ten, and models take a rating as it is.
//!
//! ```text
//! log:       ln(1 + r)
//! quantile:  the share of the log's ratings that are below r, those equal to r counted half: in (0, 1)
//! threshold: 1 where r ≥ t, else 0
//! range:     (r − lowest) / (highest − lowest), in [0, 1], of r clipped to [lowest, highest]
//! ```
//!
//! `quantile` is the mid-distribution function (Parzen 2004): equal ratings stay equal, the order stays, and of any log the mean is ½. Left out:
//! quantiles within a user.

use anyhow::{Result, bail};
use pipeline::{Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::Interactions;

/// `rescale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rescale {
    /// How ratings are changed.
    pub by: By,
}

/// How ratings are changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// ln(1 + r), of ratings of 0 or more, such as counts and minutes.
    Log,
    /// The share of the log's ratings that are lower, those equal counted half: between 0 and 1, whatever the unit.
    Quantile,
    /// 1 where the rating is this or more, else 0, such as `threshold: 4` of five stars.
    Threshold(f64),
    /// From the lowest to the highest, such as `range: [0, 120]`: these become 0 and 1, and what lies outside is clipped.
    Range([f64; 2]),
}

pipeline::ports! {
    /// A log.
    pub struct Inputs {
        /// The log.
        interactions: Interactions,
    }
}

pipeline::ports! {
    /// The same log on another scale.
    pub struct Outputs {
        /// The same rows with other ratings.
        interactions: Interactions,
    }
}

impl Stage for Rescale {
    const KIND: &'static str = "rescale";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "change the scale of ratings: by logarithm, quantile, threshold or range";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        match self.by {
            By::Threshold(least) if !least.is_finite() => Err(("by.threshold".into(), "a finite rating".into())),
            By::Range([low, high]) if !(low < high && low.is_finite() && high.is_finite()) => {
                Err(("by.range".into(), "the lowest and the highest rating, such as `[0, 120]`".into()))
            }
            _ => Ok(()),
        }
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let mut interactions = inputs.interactions;
        let before = spread(&interactions.rating);
        self.by.change(&mut interactions.rating)?;
        cx.note("ratings", format!("{before} before, {} after", spread(&interactions.rating)));
        Ok(Outputs { interactions })
    }
}

impl By {
    fn change(self, ratings: &mut [f32]) -> Result<()> {
        if let Some(row) = ratings.iter().position(|rating| !rating.is_finite()) {
            bail!("row {row} of the log at `interactions` has the rating {}, which is no number", ratings[row]);
        }
        match self {
            Self::Log => {
                if let Some(row) = ratings.iter().position(|&rating| rating < 0.0) {
                    bail!(
                        "row {row} of the log at `interactions` has the rating {}: `by: log` takes ratings of 0 or more\nhelp: take \
                         `by: quantile`, or `by: {{ range: [lowest, highest] }}`",
                        ratings[row]
                    );
                }
                ratings.iter_mut().for_each(|rating| *rating = f64::from(*rating).ln_1p() as f32);
            }
            Self::Quantile => quantiles(ratings),
            Self::Threshold(least) => {
                ratings.iter_mut().for_each(|rating| *rating = f32::from(u8::from(f64::from(*rating) >= least)));
            }
            Self::Range([low, high]) => ratings.iter_mut().for_each(|rating| {
                *rating = ((f64::from(*rating).clamp(low, high) - low) / (high - low)) as f32;
            }),
        }
        Ok(())
    }
}

/// Each rating becomes its mid-distribution function: (lower ones + half of the equal ones) / all.
fn quantiles(ratings: &mut [f32]) {
    let mut order: Vec<u32> = (0..ratings.len() as u32).collect();
    order.sort_unstable_by(|&a, &b| ratings[a as usize].total_cmp(&ratings[b as usize]));
    let all = ratings.len() as f64;
    let mut lower = 0;
    // 0 and −0 are one rating.
    let equal: Vec<usize> =
        order.chunk_by(|&a, &b| ratings[a as usize] == ratings[b as usize]).map(<[_]>::len).collect();
    for count in equal {
        let share = (lower as f64 + count as f64 / 2.0) / all;
        order[lower..lower + count].iter().for_each(|&row| ratings[row as usize] = share as f32);
        lower += count;
    }
}

/// From the lowest to the highest.
fn spread(ratings: &[f32]) -> String {
    let (low, high) =
        ratings.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &r| (low.min(r), high.max(r)));
    if ratings.is_empty() { "none".into() } else { format!("{low} to {high}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(by: By, ratings: &[f32]) -> Result<Vec<f32>> {
        let mut ratings = ratings.to_vec();
        by.change(&mut ratings)?;
        Ok(ratings)
    }

    #[test]
    fn each_scale_by_hand() {
        let logs = changed(By::Log, &[0.0, 1.0, std::f32::consts::E - 1.0]).unwrap();
        assert!(logs.iter().zip([0.0, 2.0_f32.ln(), 1.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{logs:?}");
        // One lower and two equal of four: (1 + 1) / 4.
        assert_eq!(changed(By::Quantile, &[7.0, -3.0, 7.0, 1000.0]).unwrap(), [0.5, 0.125, 0.5, 0.875]);
        assert_eq!(changed(By::Quantile, &[0.0, -0.0]).unwrap(), [0.5, 0.5]);
        assert_eq!(changed(By::Threshold(4.0), &[3.9, 4.0, 5.0]).unwrap(), [0.0, 1.0, 1.0]);
        assert_eq!(changed(By::Range([10.0, 30.0]), &[0.0, 10.0, 15.0, 99.0]).unwrap(), [0.0, 0.0, 0.25, 1.0]);
        assert!(changed(By::Quantile, &[]).unwrap().is_empty());
    }

    #[test]
    fn what_has_no_place_on_the_scale_is_refused() {
        let error = changed(By::Log, &[1.0, -2.0]).unwrap_err().to_string();
        assert!(error.starts_with("row 1 of the log at `interactions` has the rating -2: `by: log`"), "{error}");
        assert!(error.contains("\nhelp: take `by: quantile`"));
        assert!(changed(By::Quantile, &[f32::NAN]).unwrap_err().to_string().contains("which is no number"));
        let at_fault = |by| Rescale { by }.check().unwrap_err().0;
        assert_eq!(at_fault(By::Threshold(f64::NAN)), "by.threshold");
        assert_eq!(at_fault(By::Range([1.0, 1.0])), "by.range");
    }

    #[test]
    fn the_rows_stay_and_the_change_is_noted() {
        let log = Interactions { user: vec![1, 0], item: vec![2, 3], rating: vec![9.0, 1.0], timestamp: vec![5, 6] };
        let folder = tempfile::tempdir().unwrap();
        let stage = Rescale { by: By::Quantile };
        let changed = stage.run(Inputs { interactions: log.clone() }, &Context::detached(folder.path())).unwrap();
        assert_eq!(changed.interactions, Interactions { rating: vec![0.75, 0.25], ..log });
    }
}
