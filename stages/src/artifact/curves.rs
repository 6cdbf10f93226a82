//! What happened while something was trained.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Float64Array, StringArray, UInt64Array};
use pipeline::Artifact;

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

/// Parquet, in the order of measuring: `series: utf8`, `step: u64`, `value: f64`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves(pub Vec<Point>);

impl Curves {
    /// Appends one point.
    pub fn push(&mut self, series: &str, step: u64, value: f64) {
        self.0.push(Point { series: series.to_owned(), step, value });
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
