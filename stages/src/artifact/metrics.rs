//! The table of a report, as data.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{BooleanArray, Float64Array, StringArray, UInt32Array};
use pipeline::{Artifact, MetricValues};
use serde::{Deserialize, Serialize};

use super::frame;
use super::row_role::RowRole;

/// The key in the footer.
const MISSING: &str = "missing";

/// One cell of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// The row's name (`a2c`, `popular quit-aware`).
    pub policy: String,
    /// What the row stands for.
    pub role: RowRole,
    /// Whether it uses information of the evaluation world that a deployed policy does not have.
    pub privileged: bool,
    /// What the row knows that a deployed policy would not, or what else to know; may be empty.
    pub remark: String,
    /// What was measured, a mean over seeds and users where nothing else is said:
    ///
    /// - `return_inclusive`, `length`: all steps; `return_exclusive`, `length_exclusive`: without a step at which the user left.
    /// - `reward_per_step`, `reward_per_step_exclusive`: Σ rewards / Σ lengths of the one and the other.
    /// - `return_iqm`: the interquartile mean of the inclusive returns of all seeds and users together.
    /// - `distinct` (items an episode), `repeat_rate` (share of an episode's steps that show an item again), `diversity` (mean
    ///   1 − 1/(1 + Δ) over the pairs of an episode's items; 0 where there is one item), `novelty` (mean −ln of the item's
    ///   share in the train log, one interaction added to each item), `top_category` (share of an episode's steps in its most
    ///   frequent category; only where the world knows categories).
    /// - `coverage`: distinct items over all episodes of a seed / items; `coverage_per_step`: over its steps. Only seeds are in
    ///   their intervals.
    /// - `end_similar`, `end_low_reward`, …: shares of the reasons for which episodes ended; they sum to 1.
    /// - `return_training_world`: the return of the same episodes in the training world, and `gap`: that less `return_inclusive`. Only
    ///   where a training world is connected.
    ///   Of the plan of a fitted world both are of that world.
    /// - `return_bound`: an upper bound of the return of any policy; only of the planning oracle. `world_rmse`, `world_correlation`: how far the rewards of
    ///   the planning world are from those of the evaluation world, over all items of a user (Pearson's r); only of plans of fitted worlds.
    /// - `untrained`: the share of the row's policies that have the parameters they began with; only where there is one.
    ///
    /// - `ndcg` (NDCG@10), `gain` (less that of the reference prompt), `gain_corrected` (of the oracle, less what luck gives it),
    ///   `lead_over_random`, `lead_over_best_fixed`, `lead_over_states_exchanged`, `detectable_gain` and `detectable_lead` (the smallest
    ///   that are found with a power of 80 %): only of `hint_policy`, means over sessions.
    /// - `calls`, `prompt_tokens`, `completion_tokens`: requests and tokens of a language model per episode, see
    ///   [`EpisodeUsage`](super::EpisodeUsage); only where that is connected and all its episodes know it.
    ///
    /// Of policies also the lead in `return_inclusive` with the same users: `lead_over_popular`, `lead_over_retriever`. Where
    /// teachers were evaluated, of every row `return_teacher_users`: the inclusive return with the users and over the turns that
    /// all of them were given. And leads over the users and turns that one teacher was given: `lead_over_teacher` of policies over
    /// the teacher that returns most, `lead_over_popular` and `lead_over_retriever` of each teacher.
    pub metric: String,
    /// The mean over seeds and users.
    pub mean: f64,
    /// Lower end of the 95 % interval; NaN-free: equal to the mean where nothing varies.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Training seeds (or repetitions of a random baseline) behind it.
    pub seeds: u32,
    /// Episodes behind it.
    pub episodes: u32,
}

/// A baseline that could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingRow {
    /// What the row would be called.
    pub policy: String,
    /// Why it is not there, and what to connect.
    pub why: String,
}

/// Parquet, rows in the order of the table: `policy`, `role` (see [`RowRole`]), `privileged: bool`, `remark`, `metric`, `mean: f64`,
/// `low: f64`, `high: f64`, `seeds: u32`, `episodes: u32`. The footer has `missing`, the rows that could not be made, as JSON:
/// `[{"policy": …, "why": …}]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// One element a number.
    pub rows: Vec<Metric>,
    /// Baselines that could not be made.
    pub missing: Vec<MissingRow>,
}

impl Artifact for Metrics {
    const KIND: &'static str = "metrics";
    const EXTENSION: &'static str = "parquet";
    /// 3: `control` is `baseline`; rows and metrics are called by the field's words (`planning oracle`, `reward_per_step`).
    /// 4: `role` instead of `baseline`; missing rows stand apart.
    const FORMAT: u32 = 4;

    fn write(&self, path: &Path) -> Result<()> {
        let rows = &self.rows;
        let float = |pick: fn(&Metric) -> f64| Arc::new(Float64Array::from_iter_values(rows.iter().map(pick)));
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("policy", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.policy)))),
            ("role", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.role.name())))),
            ("privileged", Arc::new(BooleanArray::from_iter(rows.iter().map(|r| Some(r.privileged))))),
            ("remark", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.remark)))),
            ("metric", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.metric)))),
            ("mean", float(|r| r.mean)),
            ("low", float(|r| r.low)),
            ("high", float(|r| r.high)),
            ("seeds", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.seeds)))),
            ("episodes", Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.episodes)))),
        ];
        let missing = serde_json::to_string(&self.missing)?;
        frame::write_parquet_saying(path, &frame::batch(Self::KIND, Self::FORMAT, columns)?, (MISSING, &missing))
    }

    fn read(path: &Path) -> Result<Self> {
        let (batch, missing) = frame::read_parquet_saying(path, Self::KIND, Self::FORMAT, MISSING)?;
        let missing =
            serde_json::from_str(&missing).with_context(|| format!("`{MISSING}` in the footer is damaged"))?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let float = |name| frame::column::<Float64Array>(&batch, name);
        let (policy, role, remark, metric) = (text("policy")?, text("role")?, text("remark")?, text("metric")?);
        let privileged = frame::column::<BooleanArray>(&batch, "privileged")?;
        let (mean, low, high) = (float("mean")?, float("low")?, float("high")?);
        let seeds = frame::column::<UInt32Array>(&batch, "seeds")?;
        let episodes = frame::column::<UInt32Array>(&batch, "episodes")?;
        let row = |row| {
            Ok(Metric {
                policy: policy.value(row).to_owned(),
                role: RowRole::of_name(role.value(row))?,
                privileged: privileged.value(row),
                remark: remark.value(row).to_owned(),
                metric: metric.value(row).to_owned(),
                mean: mean.value(row),
                low: low.value(row),
                high: high.value(row),
                seeds: seeds.value(row),
                episodes: episodes.value(row),
            })
        };
        Ok(Self { rows: (0..batch.num_rows()).map(row).collect::<Result<_>>()?, missing })
    }
}

/// The table as numbers for `apprentice diff`: `a2c return_inclusive` is the mean of a row, with `low` and `high` behind it an
/// end of its interval.
///
/// # Errors
/// As [`Artifact::read`].
pub fn metric_values(path: &Path) -> Result<MetricValues> {
    let values = |row: &Metric| {
        let [policy, metric] = [&row.policy, &row.metric];
        let named = |end: &str, value: f64| (format!("{policy} {metric}{end}"), value);
        [named("", row.mean), named(" low", row.low), named(" high", row.high)]
    };
    Ok(Metrics::read(path)?.rows.iter().flat_map(values).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_named_by_row_and_measure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics");
        let metric = Metric {
            policy: "a2c".into(),
            role: RowRole::Policy,
            privileged: false,
            remark: String::new(),
            metric: "length".into(),
            mean: 3.5,
            low: 3.0,
            high: 4.0,
            seeds: 2,
            episodes: 8,
        };
        let missing = vec![MissingRow { policy: "teacher".into(), why: "connect `teacher`".into() }];
        let teacher = Metric { role: RowRole::Teacher, ..metric.clone() };
        let metrics = Metrics { rows: vec![metric], missing };
        metrics.write(&path).unwrap();
        assert_eq!(Metrics::read(&path).unwrap(), metrics);
        let wanted = [("a2c length", 3.5), ("a2c length low", 3.0), ("a2c length high", 4.0)];
        assert_eq!(metric_values(&path).unwrap(), wanted.map(|(name, value)| (name.to_owned(), value)));
        let other = folder.path().join("other");
        Metrics { rows: vec![teacher], ..Metrics::default() }.write(&other).unwrap();
        assert_eq!(Metrics::read(&other).unwrap().rows[0].role, RowRole::Teacher);
    }
}
