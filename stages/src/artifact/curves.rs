//! What happened while something was trained.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Float64Array, StringArray, UInt64Array};
use pipeline::{Artifact, CurvePoint};

use super::frame;

/// One measured value during training.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// What was measured, such as `return` or `rmse.valid`.
    pub series: String,
    /// When: the count of updates, epochs or environment steps that the series names.
    pub step: u64,
    /// The value.
    pub value: f64,
}

/// The points of a file, for trackers of experiments.
///
/// # Errors
/// As [`Artifact::read`].
pub fn curve_points(path: &Path) -> Result<Vec<CurvePoint>> {
    let point = |Point { series, step, value }| CurvePoint { series, step, value };
    Ok(Curves::read(path)?.0.into_iter().map(point).collect())
}

/// Parquet, in the order of measuring: `series: utf8`, `step: u64`, `value: f64`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves(pub Vec<Point>);

impl Curves {
    /// Appends one point.
    pub fn push(&mut self, series: &str, step: u64, value: f64) {
        self.0.push(Point { series: series.to_owned(), step, value });
    }

    /// The points to the last bit, for a checkpoint.
    ///
    /// # Errors
    /// Never in practice: the points are texts and numbers.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let points: Vec<(&str, u64, u64)> =
            self.0.iter().map(|p| (p.series.as_str(), p.step, p.value.to_bits())).collect();
        Ok(serde_json::to_vec(&points)?)
    }

    /// What [`Curves::to_bytes`] wrote.
    ///
    /// # Errors
    /// When these are other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let points: Vec<(String, u64, u64)> = serde_json::from_slice(bytes)?;
        let point = |(series, step, bits)| Point { series, step, value: f64::from_bits(bits) };
        Ok(Self(points.into_iter().map(point).collect()))
    }
}

impl Artifact for Curves {
    const KIND: &'static str = "curves";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("series", Arc::new(StringArray::from_iter_values(self.0.iter().map(|p| &p.series)))),
            ("step", Arc::new(UInt64Array::from_iter_values(self.0.iter().map(|p| p.step)))),
            ("value", Arc::new(Float64Array::from_iter_values(self.0.iter().map(|p| p.value)))),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let series = frame::column::<StringArray>(&batch, "series")?;
        let step = frame::column::<UInt64Array>(&batch, "step")?;
        let value = frame::column::<Float64Array>(&batch, "value")?;
        let point =
            |row| Point { series: series.value(row).to_owned(), step: step.value(row), value: value.value(row) };
        Ok(Self((0..batch.num_rows()).map(point).collect()))
    }
}
