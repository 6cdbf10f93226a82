//! Calibration of a world model: predictions against held-out ratings.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Float64Array, StringArray, UInt32Array};
use pipeline::Artifact;

use super::frame;

/// One bin of predictions of about the same size.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationBin {
    /// Which model: `mean` is the world's reward; `member3` one model of the ensemble.
    pub model: String,
    /// The bin, from 0, by rising prediction; bins hold about as many ratings each.
    pub bin: u32,
    /// Held-out ratings in it.
    pub count: u32,
    /// Mean prediction, in units of the rating.
    pub predicted: f64,
    /// Mean held-out rating.
    pub observed: f64,
    /// Root mean predictive variance, in units of the rating: the spread of the members, and as noise the variance that the model
    /// states or, where it states none, its mean squared error on what it was fitted on.
    pub deviation: f64,
    /// Root mean squared error in the bin.
    pub error: f64,
}

/// Parquet, by model, then bin: `model: utf8`, `bin: u32`, `count: u32`, `predicted: f64`, `observed: f64`, `deviation: f64`, `error: f64`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration(pub Vec<CalibrationBin>);

impl Artifact for Calibration {
    const KIND: &'static str = "calibration";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = &self.0;
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("model", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.model)))),
            ("bin", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.bin)))),
            ("count", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.count)))),
            ("predicted", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.predicted)))),
            ("observed", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.observed)))),
            ("deviation", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.deviation)))),
            ("error", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.error)))),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let model = frame::column::<StringArray>(&batch, "model")?;
        let bin = frame::column::<UInt32Array>(&batch, "bin")?;
        let count = frame::column::<UInt32Array>(&batch, "count")?;
        let predicted = frame::column::<Float64Array>(&batch, "predicted")?;
        let observed = frame::column::<Float64Array>(&batch, "observed")?;
        let deviation = frame::column::<Float64Array>(&batch, "deviation")?;
        let error = frame::column::<Float64Array>(&batch, "error")?;
        let row = |row| CalibrationBin {
            model: model.value(row).to_owned(),
            bin: bin.value(row),
            count: count.value(row),
            predicted: predicted.value(row),
            observed: observed.value(row),
            deviation: deviation.value(row),
            error: error.value(row),
        };
        Ok(Self((0..batch.num_rows()).map(row).collect()))
    }
}
