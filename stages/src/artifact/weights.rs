//! How much each demonstrated step counts.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Float32Array, UInt32Array};
use pipeline::{Artifact, IdSpaces};

use super::frame;

/// Parquet, one row for each step of the demonstrations, in their order: `trajectory: u32`, `step: u32`, `w_env: f32`,
/// `w_irl: f32`, `weight: f32` (mean 1 over the whole set); in the footer, under `demonstrations`, the digest of what they weigh.
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
    /// [`Demonstrations::digest`](super::Demonstrations::digest) of the demonstrations: weights of others may fit in number and mean
    /// nothing.
    pub demonstrations: String,
}

/// The key of the digest in the footer.
const DEMONSTRATIONS: &str = "demonstrations";

impl Artifact for Weights {
    const KIND: &'static str = "weights";
    const EXTENSION: &'static str = "parquet";
    /// 3: with the spaces of ids that its row numbers belong to.
    const FORMAT: u32 = 3;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("trajectory", Arc::new(UInt32Array::from(self.trajectory.clone()))),
            ("step", Arc::new(UInt32Array::from(self.step.clone()))),
            ("w_env", Arc::new(Float32Array::from(self.w_env.clone()))),
            ("w_irl", Arc::new(Float32Array::from(self.w_irl.clone()))),
            ("weight", Arc::new(Float32Array::from(self.weight.clone()))),
        ];
        let batch = frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?;
        frame::write_parquet_saying(path, &batch, (DEMONSTRATIONS, &self.demonstrations))
    }

    fn read(path: &Path) -> Result<Self> {
        let (batch, demonstrations) = frame::read_parquet_saying(path, Self::KIND, Self::FORMAT, DEMONSTRATIONS)?;
        let ids = |name| Ok::<_, anyhow::Error>(frame::column::<UInt32Array>(&batch, name)?.values().to_vec());
        let floats = |name| Ok::<_, anyhow::Error>(frame::column::<Float32Array>(&batch, name)?.values().to_vec());
        Ok(Self {
            trajectory: ids("trajectory")?,
            step: ids("step")?,
            w_env: floats("w_env")?,
            w_irl: floats("w_irl")?,
            weight: floats("weight")?,
            demonstrations,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_back_is_what_was_written_and_equal_weights_are_equal_bytes() {
        let weights = Weights {
            trajectory: vec![0, 0],
            step: vec![0, 1],
            w_env: vec![0.5, 1.5],
            w_irl: vec![1.0, 1.0],
            weight: vec![0.75, 1.25],
            demonstrations: "5eed".to_owned(),
        };
        let folder = tempfile::tempdir().unwrap();
        let bytes = |name: &str| {
            let path = folder.path().join(name);
            weights.write(&path).unwrap();
            assert_eq!(Weights::read(&path).unwrap(), weights);
            std::fs::read(path).unwrap()
        };
        assert_eq!(bytes("a"), bytes("b"));
    }

    #[test]
    fn weights_that_do_not_say_what_they_weigh_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let batch = frame::batch("weights", Weights::FORMAT, vec![("step", Arc::new(UInt32Array::from(vec![0])))]);
        frame::write_parquet(&path, &batch.unwrap()).unwrap();
        let error = format!("{:#}", Weights::read(&path).unwrap_err());
        assert!(error.contains("no `demonstrations` in the footer"), "{error}");
    }
}
