//! Performance profiles: the share of episodes of each row whose return exceeds a threshold.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Float64Array, StringArray};
use pipeline::Artifact;

use super::frame;

/// One point of one profile.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfilePoint {
    /// The row of the table.
    pub policy: String,
    /// τ, on the scale of inclusive returns.
    pub threshold: f64,
    /// The share of runs (seed × user) that return more than τ (Agarwal et al. 2021, arXiv 2108.13264, eq. 2).
    pub share: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Parquet, by row of the table, then τ: `policy: utf8`, `threshold: f64`, `share: f64`, `low: f64`, `high: f64`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profiles(pub Vec<ProfilePoint>);

impl Artifact for Profiles {
    const KIND: &'static str = "profiles";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = &self.0;
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("policy", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.policy)))),
            ("threshold", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.threshold)))),
            ("share", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.share)))),
            ("low", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.low)))),
            ("high", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.high)))),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let policy = frame::column::<StringArray>(&batch, "policy")?;
        let threshold = frame::column::<Float64Array>(&batch, "threshold")?;
        let share = frame::column::<Float64Array>(&batch, "share")?;
        let low = frame::column::<Float64Array>(&batch, "low")?;
        let high = frame::column::<Float64Array>(&batch, "high")?;
        let row = |row| ProfilePoint {
            policy: policy.value(row).to_owned(),
            threshold: threshold.value(row),
            share: share.value(row),
            low: low.value(row),
            high: high.value(row),
        };
        Ok(Self((0..batch.num_rows()).map(row).collect()))
    }
}
