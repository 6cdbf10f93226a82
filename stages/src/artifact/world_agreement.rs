//! How far evaluation worlds agree on the order of systems.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, StringArray, UInt32Array};
use pipeline::Artifact;

use super::frame;

/// Two evaluation worlds.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldPair {
    /// One world, by the name of its evaluation.
    pub world: String,
    /// The other.
    pub other: String,
    /// Kendall's τ (b, which counts ties) of the mean returns of the systems.
    pub kendall_tau: f64,
    /// Number of systems that both evaluate.
    pub systems: u32,
}

/// Parquet, one row a pair of worlds: `world: utf8`, `other: utf8`, `kendall_tau: f64`, `systems: u32`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorldAgreement(pub Vec<WorldPair>);

impl WorldAgreement {
    /// The names of the worlds, in the order of their first appearance.
    #[must_use]
    pub fn worlds(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in self.0.iter().flat_map(|pair| [pair.world.as_str(), &pair.other]) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

impl Artifact for WorldAgreement {
    const KIND: &'static str = "world_agreement";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = || self.0.iter();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("world", Arc::new(StringArray::from_iter_values(rows().map(|row| &row.world)))),
            ("other", Arc::new(StringArray::from_iter_values(rows().map(|row| &row.other)))),
            ("kendall_tau", Arc::new(Float64Array::from_iter_values(rows().map(|row| row.kendall_tau)))),
            ("systems", Arc::new(UInt32Array::from_iter_values(rows().map(|row| row.systems)))),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let (world, other) = (text("world")?, text("other")?);
        let kendall_tau = frame::column::<Float64Array>(&batch, "kendall_tau")?;
        let systems = frame::column::<UInt32Array>(&batch, "systems")?;
        let row = |row| WorldPair {
            world: world.value(row).to_owned(),
            other: other.value(row).to_owned(),
            kendall_tau: kendall_tau.value(row),
            systems: systems.value(row),
        };
        Ok(Self((0..batch.num_rows()).map(row).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agreement");
        let pair = |world: &str, other: &str| WorldPair {
            world: world.into(),
            other: other.into(),
            kendall_tau: 0.5,
            systems: 7,
        };
        let agreement = WorldAgreement(vec![pair("mf", "bias"), pair("mf", "deepfm"), pair("bias", "deepfm")]);
        agreement.write(&path).unwrap();
        assert_eq!(WorldAgreement::read(&path).unwrap(), agreement);
        assert_eq!(agreement.worlds(), ["mf", "bias", "deepfm"]);
    }
}
