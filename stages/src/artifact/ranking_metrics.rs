//! How high systems rank the held-out interactions of a log.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt32Array};
use pipeline::Artifact;

use super::frame;

/// A system by one metric at one cut-off.
#[derive(Clone, Debug, PartialEq)]
pub struct RankingMetric {
    /// The system: a policy, a retriever, a world, or a baseline.
    pub system: String,
    /// Whether it is a baseline: random, popular, or a retriever.
    pub baseline: bool,
    /// `ndcg`, `recall`, `precision`, `hit_rate`, `mrr`, `map` or `coverage`.
    pub metric: String,
    /// The cut-off k: only the first k items of a ranking count.
    pub k: u32,
    /// Mean over seeds and users; of `coverage` over seeds.
    pub mean: f64,
    /// Lower end of its 95 % interval (t, over seeds and users); none where nothing varies, and of `coverage` with one seed.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// The baseline with the highest mean of this metric and cut-off.
    pub best_baseline: String,
    /// Mean of the system less that of the best baseline, the same users on both sides; none of the best baseline itself.
    pub difference: Option<f64>,
    /// Lower end of its 95 % interval.
    pub difference_low: Option<f64>,
    /// Upper end.
    pub difference_high: Option<f64>,
    /// Two-sided p of the difference (t, paired by user) after Holm's correction over the systems in this metric and cut-off.
    pub p: Option<f64>,
    /// Training seeds, or repetitions of what draws.
    pub seeds: u32,
    /// Users with a relevant held-out interaction.
    pub users: u32,
    /// Mean number of items that the rankings fall short of k.
    pub missing: f64,
}

/// Parquet, one row a system, metric and cut-off: `system: utf8`, `baseline: bool`, `metric: utf8`, `k: u32`, `mean: f64`, `low: f64?`,
/// `high: f64?`, `best_baseline: utf8`, `difference: f64?`, `difference_low: f64?`, `difference_high: f64?`, `p: f64?`, `seeds: u32`,
/// `users: u32`, `missing: f64`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RankingMetrics(pub Vec<RankingMetric>);

impl RankingMetrics {
    /// The row of that system, metric and cut-off.
    #[must_use]
    pub fn find(&self, system: &str, metric: &str, k: u32) -> Option<&RankingMetric> {
        self.0.iter().find(|row| row.system == system && row.metric == metric && row.k == k)
    }
}

impl Artifact for RankingMetrics {
    const KIND: &'static str = "ranking_metrics";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = || self.0.iter();
        let text =
            |of: fn(&RankingMetric) -> &String| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows().map(of))) };
        let count =
            |of: fn(&RankingMetric) -> u32| -> ArrayRef { Arc::new(UInt32Array::from_iter_values(rows().map(of))) };
        let float =
            |of: fn(&RankingMetric) -> f64| -> ArrayRef { Arc::new(Float64Array::from_iter_values(rows().map(of))) };
        let optional =
            |of: fn(&RankingMetric) -> Option<f64>| -> ArrayRef { Arc::new(rows().map(of).collect::<Float64Array>()) };
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("system", text(|row| &row.system)),
            ("baseline", Arc::new(rows().map(|row| Some(row.baseline)).collect::<BooleanArray>())),
            ("metric", text(|row| &row.metric)),
            ("k", count(|row| row.k)),
            ("mean", float(|row| row.mean)),
            ("low", optional(|row| row.low)),
            ("high", optional(|row| row.high)),
            ("best_baseline", text(|row| &row.best_baseline)),
            ("difference", optional(|row| row.difference)),
            ("difference_low", optional(|row| row.difference_low)),
            ("difference_high", optional(|row| row.difference_high)),
            ("p", optional(|row| row.p)),
            ("seeds", count(|row| row.seeds)),
            ("users", count(|row| row.users)),
            ("missing", float(|row| row.missing)),
        ];
        frame::write_parquet(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let count = |name| frame::column::<UInt32Array>(&batch, name);
        let float = |name| frame::column::<Float64Array>(&batch, name);
        let optional =
            |name| -> Result<Vec<Option<f64>>> { Ok(frame::nullable::<Float64Array>(&batch, name)?.iter().collect()) };
        let baseline = frame::column::<BooleanArray>(&batch, "baseline")?;
        let (system, metric) = (text("system")?, text("metric")?);
        let (best_baseline, k, seeds, users) = (text("best_baseline")?, count("k")?, count("seeds")?, count("users")?);
        let (mean, missing) = (float("mean")?, float("missing")?);
        let (low, high, p) = (optional("low")?, optional("high")?, optional("p")?);
        let [difference, difference_low, difference_high] =
            [optional("difference")?, optional("difference_low")?, optional("difference_high")?];
        let row = |row| RankingMetric {
            system: system.value(row).to_owned(),
            baseline: baseline.value(row),
            metric: metric.value(row).to_owned(),
            k: k.value(row),
            mean: mean.value(row),
            low: low[row],
            high: high[row],
            best_baseline: best_baseline.value(row).to_owned(),
            difference: difference[row],
            difference_low: difference_low[row],
            difference_high: difference_high[row],
            p: p[row],
            seeds: seeds.value(row),
            users: users.value(row),
            missing: missing.value(row),
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
        let path = folder.path().join("ranking");
        let row = RankingMetric {
            system: "a2c".into(),
            baseline: false,
            metric: "ndcg".into(),
            k: 10,
            mean: 0.3,
            low: Some(0.2),
            high: Some(0.4),
            best_baseline: "popular".into(),
            difference: Some(0.1),
            difference_low: Some(-0.1),
            difference_high: Some(0.3),
            p: Some(0.2),
            seeds: 5,
            users: 900,
            missing: 0.5,
        };
        let none =
            RankingMetric { low: None, high: None, difference: None, p: None, baseline: true, k: 20, ..row.clone() };
        let metrics = RankingMetrics(vec![row, none]);
        metrics.write(&path).unwrap();
        assert_eq!(RankingMetrics::read(&path).unwrap(), metrics);
        assert_eq!(metrics.find("a2c", "ndcg", 20), Some(&metrics.0[1]));
        assert_eq!(metrics.find("a2c", "ndcg", 5), None);
    }
}
