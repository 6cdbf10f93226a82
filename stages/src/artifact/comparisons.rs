//! Two rows of a table against each other, with the same users.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Float64Array, StringArray, UInt32Array};
use pipeline::Artifact;

use super::frame;

/// One row against another.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The row.
    pub policy: String,
    /// The row it is compared with.
    pub other: String,
    /// What is compared: `return_inclusive`, or `return_teacher_users` where one of the two is a teacher: with the users
    /// and over the turns that it was given, of two teachers those that both were.
    pub metric: String,
    /// Mean over seeds and users of `policy` less `other`, the same user on both sides.
    pub difference: f64,
    /// Lower end of its 95 % interval over seeds and users, paired by user.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Two-sided p of the difference, uncorrected; 1 where nothing was put to a test.
    pub p: f64,
    /// The probability that a run and user drawn for `policy` beat one drawn for `other`, ties
    /// counting half (Agarwal et al. 2021, arXiv 2108.13264).
    pub probability_of_improvement: f64,
    /// Lower end of its 95 % interval.
    pub probability_of_improvement_low: f64,
    /// Upper end.
    pub probability_of_improvement_high: f64,
    /// The smaller number of training seeds (or repetitions) of the two.
    pub seeds: u32,
    /// Users that both played with.
    pub users: u32,
}

/// Parquet, one row an ordered pair of rows of the table: `policy: utf8`, `other: utf8`, `metric: utf8`, `difference: f64`, `low: f64`, `high: f64`, `p: f64`, `probability_of_improvement: f64`, `probability_of_improvement_low: f64`, `probability_of_improvement_high: f64`, `seeds: u32`, `users: u32`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparisons(pub Vec<Comparison>);

impl Artifact for Comparisons {
    const KIND: &'static str = "comparisons";
    const EXTENSION: &'static str = "parquet";
    /// 2: `probability` is `probability_of_improvement`. 3: with `p`.
    const FORMAT: u32 = 3;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = &self.0;
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("policy", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.policy)))),
            ("other", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.other)))),
            ("metric", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.metric)))),
            ("difference", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.difference)))),
            ("low", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.low)))),
            ("high", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.high)))),
            ("p", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.p)))),
            (
                "probability_of_improvement",
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.probability_of_improvement))),
            ),
            (
                "probability_of_improvement_low",
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.probability_of_improvement_low))),
            ),
            (
                "probability_of_improvement_high",
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.probability_of_improvement_high))),
            ),
            ("seeds", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.seeds)))),
            ("users", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.users)))),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let policy = frame::column::<StringArray>(&batch, "policy")?;
        let other = frame::column::<StringArray>(&batch, "other")?;
        let metric = frame::column::<StringArray>(&batch, "metric")?;
        let difference = frame::column::<Float64Array>(&batch, "difference")?;
        let low = frame::column::<Float64Array>(&batch, "low")?;
        let high = frame::column::<Float64Array>(&batch, "high")?;
        let p = frame::column::<Float64Array>(&batch, "p")?;
        let probability_of_improvement = frame::column::<Float64Array>(&batch, "probability_of_improvement")?;
        let probability_of_improvement_low = frame::column::<Float64Array>(&batch, "probability_of_improvement_low")?;
        let probability_of_improvement_high = frame::column::<Float64Array>(&batch, "probability_of_improvement_high")?;
        let seeds = frame::column::<UInt32Array>(&batch, "seeds")?;
        let users = frame::column::<UInt32Array>(&batch, "users")?;
        let row = |row| Comparison {
            policy: policy.value(row).to_owned(),
            other: other.value(row).to_owned(),
            metric: metric.value(row).to_owned(),
            difference: difference.value(row),
            low: low.value(row),
            high: high.value(row),
            p: p.value(row),
            probability_of_improvement: probability_of_improvement.value(row),
            probability_of_improvement_low: probability_of_improvement_low.value(row),
            probability_of_improvement_high: probability_of_improvement_high.value(row),
            seeds: seeds.value(row),
            users: users.value(row),
        };
        Ok(Self((0..batch.num_rows()).map(row).collect()))
    }
}
