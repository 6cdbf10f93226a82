//! How much each demonstrated step counts.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Float32Array, UInt32Array};
use pipeline::Artifact;

use super::frame;

/// Parquet, one row for each step of the demonstrations, in their order: `trajectory: u32`, `step: u32`, `w_env: f32`,
/// `w_irl: f32`, `weight: f32` (mean 1 over the whole set).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// The trajectory's number.
    pub trajectory: Vec<u32>,
    /// The step within it.
    pub step: Vec<u32>,
    /// exp(A/β), normalised to mean 1: how much better the step was than usual in the world.
    pub w_env: Vec<f32>,
    /// (1/D − 1)^κ, normalised to mean 1: how much the discriminator takes it for the expert's.
    pub w_irl: Vec<f32>,
    /// w_env^α · w_irl^(1−α), or what another scheme makes of the step, normalised to mean 1.
    pub weight: Vec<f32>,
}

impl Artifact for Weights {
    const KIND: &'static str = "weights";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("trajectory", Arc::new(UInt32Array::from(self.trajectory.clone()))),
            ("step", Arc::new(UInt32Array::from(self.step.clone()))),
            ("w_env", Arc::new(Float32Array::from(self.w_env.clone()))),
            ("w_irl", Arc::new(Float32Array::from(self.w_irl.clone()))),
            ("weight", Arc::new(Float32Array::from(self.weight.clone()))),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let ids = |name| Ok::<_, anyhow::Error>(frame::column::<UInt32Array>(&batch, name)?.values().to_vec());
        let floats = |name| Ok::<_, anyhow::Error>(frame::column::<Float32Array>(&batch, name)?.values().to_vec());
        Ok(Self {
            trajectory: ids("trajectory")?,
            step: ids("step")?,
            w_env: floats("w_env")?,
            w_irl: floats("w_irl")?,
            weight: floats("weight")?,
        })
    }
}
