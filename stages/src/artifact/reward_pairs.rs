//! A learned reward beside a world's, step by step, for a picture.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{BooleanArray, Float64Array, StringArray};
use pipeline::Artifact;

use super::frame;

/// One step under both rewards.
#[derive(Clone, Debug, PartialEq)]
pub struct RewardPair {
    /// Whose step it is: `demonstrations`, `generator`.
    pub series: String,
    /// The learned reward, on its own scale: only its order and its linear relation to the true reward are meaningful.
    pub learned: f64,
    /// The world's reward, in units of the rating.
    pub true_reward: f64,
    /// Whether that world is the true one; else it is the world that the reward was learned in.
    pub of_truth: bool,
}

/// Parquet, in the order of the steps: `series: utf8`, `learned: f64`, `true_reward: f64`,
/// `of_truth: bool`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RewardPairs(pub Vec<RewardPair>);

impl Artifact for RewardPairs {
    const KIND: &'static str = "reward_pairs";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 2;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = &self.0;
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("series", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.series)))),
            ("learned", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.learned)))),
            ("true_reward", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.true_reward)))),
            ("of_truth", Arc::new(rows.iter().map(|r| Some(r.of_truth)).collect::<BooleanArray>())),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let series = frame::column::<StringArray>(&batch, "series")?;
        let learned = frame::column::<Float64Array>(&batch, "learned")?;
        let true_reward = frame::column::<Float64Array>(&batch, "true_reward")?;
        let of_truth = frame::column::<BooleanArray>(&batch, "of_truth")?;
        let row = |row| RewardPair {
            series: series.value(row).to_owned(),
            learned: learned.value(row),
            true_reward: true_reward.value(row),
            of_truth: of_truth.value(row),
        };
        Ok(Self((0..batch.num_rows()).map(row).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pairs");
        let pair = |series: &str, learned, true_reward| RewardPair {
            series: series.into(),
            learned,
            true_reward,
            of_truth: learned > 0.0,
        };
        let pairs = RewardPairs(vec![pair("demonstrations", 0.7, 4.0), pair("generator", -1.5, 1.0)]);
        pairs.write(&path).unwrap();
        assert_eq!(RewardPairs::read(&path).unwrap(), pairs);
    }
}
