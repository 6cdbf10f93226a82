//! Off-policy estimates of the reward of policies from a log.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{BooleanArray, Float64Array, StringArray, UInt32Array};
use pipeline::Artifact;

use super::frame;

/// One off-policy estimate.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// The row of the table.
    pub policy: String,
    /// The training seed's cell (`seed=3`).
    pub cell: String,
    /// `ips`, `snips`, `per_decision`, `doubly_robust`, or `direct` for the world model alone.
    pub estimator: String,
    /// The estimate, in units of the log's rating per logged interaction.
    pub value: f64,
    /// Lower end of its 95 % interval over users (bootstrap).
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Kish's effective sample size (Σw)²/Σw².
    pub effective_sample_size: f64,
    /// Logged interactions behind it.
    pub rows: u32,
    /// Whether the effective sample size is large enough.
    pub conclusive: bool,
    /// Why not, or what else to know; may be empty.
    pub remark: String,
}

/// Parquet, one row a policy, cell and estimator: `policy: utf8`, `cell: utf8`, `estimator: utf8`, `value: f64`, `low: f64`, `high: f64`, `effective_sample_size: f64`, `rows: u32`, `conclusive: bool`, `remark: utf8`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimates(pub Vec<Estimate>);

impl Artifact for Estimates {
    const KIND: &'static str = "estimates";
    const EXTENSION: &'static str = "parquet";
    /// 2: `effective_sample` is `effective_sample_size`.
    const FORMAT: u32 = 2;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = &self.0;
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("policy", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.policy)))),
            ("cell", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.cell)))),
            ("estimator", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.estimator)))),
            ("value", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.value)))),
            ("low", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.low)))),
            ("high", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.high)))),
            (
                "effective_sample_size",
                Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.effective_sample_size))),
            ),
            ("rows", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.rows)))),
            ("conclusive", Arc::new(BooleanArray::from_iter(rows.iter().map(|r| Some(r.conclusive))))),
            ("remark", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.remark)))),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let policy = frame::column::<StringArray>(&batch, "policy")?;
        let cell = frame::column::<StringArray>(&batch, "cell")?;
        let estimator = frame::column::<StringArray>(&batch, "estimator")?;
        let value = frame::column::<Float64Array>(&batch, "value")?;
        let low = frame::column::<Float64Array>(&batch, "low")?;
        let high = frame::column::<Float64Array>(&batch, "high")?;
        let effective_sample_size = frame::column::<Float64Array>(&batch, "effective_sample_size")?;
        let rows = frame::column::<UInt32Array>(&batch, "rows")?;
        let conclusive = frame::column::<BooleanArray>(&batch, "conclusive")?;
        let remark = frame::column::<StringArray>(&batch, "remark")?;
        let row = |row| Estimate {
            policy: policy.value(row).to_owned(),
            cell: cell.value(row).to_owned(),
            estimator: estimator.value(row).to_owned(),
            value: value.value(row),
            low: low.value(row),
            high: high.value(row),
            effective_sample_size: effective_sample_size.value(row),
            rows: rows.value(row),
            conclusive: conclusive.value(row),
            remark: remark.value(row).to_owned(),
        };
        Ok(Self((0..batch.num_rows()).map(row).collect()))
    }
}
