//! Differences between systems, in several evaluation worlds.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, Float64Array, StringArray, UInt32Array};
use pipeline::Artifact;

use super::frame;

/// What the worlds say of a difference together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorldVerdict {
    /// One sign, and significant in all worlds or in none.
    Agree,
    /// One sign, and significant in some worlds only.
    SomeSignificant,
    /// The sign differs, and no two worlds contradict each other significantly.
    SignFlips,
    /// Significantly above in one world and significantly below in another.
    Contradict,
}

impl WorldVerdict {
    const ALL: [Self; 4] = [Self::Agree, Self::SomeSignificant, Self::SignFlips, Self::Contradict];

    /// The word of the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::SomeSignificant => "some_significant",
            Self::SignFlips => "sign_flips",
            Self::Contradict => "contradict",
        }
    }
}

/// A system less another in each of several evaluation worlds.
#[derive(Clone, Debug, PartialEq)]
pub struct WorldDifference {
    /// The system.
    pub policy: String,
    /// The system it is compared with.
    pub other: String,
    /// What is compared, as in [`Comparison`](super::Comparison).
    pub metric: String,
    /// Number of worlds.
    pub worlds: u32,
    /// Worlds in which the difference is above 0.
    pub positive: u32,
    /// Worlds in which it is below 0.
    pub negative: u32,
    /// Worlds in which it is significantly above 0, after Holm's correction over all differences of that world.
    pub above: u32,
    /// Worlds in which it is significantly below 0.
    pub below: u32,
    /// Mean over worlds.
    pub mean: f64,
    /// Lower end of its 95 % interval over worlds (t); none where nothing varies.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// What the worlds say together.
    pub verdict: WorldVerdict,
}

/// Parquet, one row a pair of systems: `policy: utf8`, `other: utf8`, `metric: utf8`, `worlds: u32`, `positive: u32`, `negative: u32`,
/// `above: u32`, `below: u32`, `mean: f64`, `low: f64?`, `high: f64?`, `verdict: utf8` (`agree`, `some_significant`, `sign_flips` or
/// `contradict`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorldDifferences(pub Vec<WorldDifference>);

impl Artifact for WorldDifferences {
    const KIND: &'static str = "world_differences";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = || self.0.iter();
        let text =
            |of: fn(&WorldDifference) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows().map(of))) };
        let count =
            |of: fn(&WorldDifference) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(rows().map(of))) };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("policy", text(|row| &row.policy)),
            ("other", text(|row| &row.other)),
            ("metric", text(|row| &row.metric)),
            ("worlds", count(|row| row.worlds)),
            ("positive", count(|row| row.positive)),
            ("negative", count(|row| row.negative)),
            ("above", count(|row| row.above)),
            ("below", count(|row| row.below)),
            ("mean", Arc::new(Float64Array::from_iter_values(rows().map(|row| row.mean)))),
            ("low", Arc::new(rows().map(|row| row.low).collect::<Float64Array>())),
            ("high", Arc::new(rows().map(|row| row.high).collect::<Float64Array>())),
            ("verdict", text(|row| row.verdict.name())),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let count = |name| frame::column::<UInt32Array>(&batch, name);
        let (policy, other, metric, verdict) = (text("policy")?, text("other")?, text("metric")?, text("verdict")?);
        let (worlds, positive, negative) = (count("worlds")?, count("positive")?, count("negative")?);
        let (above, below) = (count("above")?, count("below")?);
        let mean = frame::column::<Float64Array>(&batch, "mean")?;
        let [low, high] = [frame::nullable::<Float64Array>(&batch, "low")?, frame::nullable(&batch, "high")?]
            .map(|ends| ends.iter().collect::<Vec<_>>());
        let row = |row: usize| -> Result<WorldDifference> {
            let name = verdict.value(row);
            let Some(verdict) = WorldVerdict::ALL.into_iter().find(|verdict| verdict.name() == name) else {
                bail!("row {row} has the verdict {name:?}, which is none");
            };
            Ok(WorldDifference {
                policy: policy.value(row).to_owned(),
                other: other.value(row).to_owned(),
                metric: metric.value(row).to_owned(),
                worlds: worlds.value(row),
                positive: positive.value(row),
                negative: negative.value(row),
                above: above.value(row),
                below: below.value(row),
                mean: mean.value(row),
                low: low[row],
                high: high[row],
                verdict,
            })
        };
        Ok(Self((0..batch.num_rows()).map(row).collect::<Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("differences");
        let row = |verdict| WorldDifference {
            policy: "a2c".into(),
            other: "bc".into(),
            metric: "return_inclusive".into(),
            worlds: 3,
            positive: 2,
            negative: 1,
            above: 1,
            below: 0,
            mean: 0.3,
            low: Some(-1.0),
            high: None,
            verdict,
        };
        let differences = WorldDifferences(WorldVerdict::ALL.map(row).to_vec());
        differences.write(&path).unwrap();
        assert_eq!(WorldDifferences::read(&path).unwrap(), differences);
    }
}
