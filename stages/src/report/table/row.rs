//! The table: metrics turned from one line a number into one row a policy.

use std::collections::{BTreeMap, BTreeSet};

use crate::artifact::{Metrics, Rollouts, RowRole, Termination};

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Role {
    /// A rule that needs no learning; the evaluation adds it by itself.
    Baseline,
    /// The language model that was imitated.
    Teacher,
    /// What planning in a fitted world gives, without any learning.
    Plan,
    /// A policy that was never trained: what its initialisation is worth.
    Untrained,
    /// A trained policy.
    Learned,
    /// The policies of another row, served without what an episode showed already.
    WithoutRepeats,
}

impl Role {
    /// The name in the page's style and for its reader.
    pub fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Teacher => "teacher",
            Self::Plan => "plan",
            Self::Untrained => "untrained",
            Self::Learned | Self::WithoutRepeats => "learned",
        }
    }
}

/// A mean and its 95 % interval, all finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report) struct Estimate {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

impl Estimate {
    /// Whether the two intervals have a point in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// What the evaluated episodes tell beyond the means.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::report) struct EpisodeStats {
    /// Turns after which episodes were cut, where one was.
    pub cut_at: Option<u32>,
    /// The users that were played with.
    pub users: BTreeSet<u32>,
    /// Return (inclusive) of each episode.
    pub returns: Vec<f64>,
    /// What ended each episode; the horizon where it lasted for all turns, whatever the last one was.
    pub ends: Vec<Termination>,
}

/// One row of the table. A measure that is absent or not finite is `None`, never zero.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct Row {
    pub name: String,
    pub role: Role,
    /// Whether it is told what a deployed policy would have to find out.
    pub privileged: bool,
    pub remark: String,
    pub seeds: u32,
    pub episodes: u32,
    pub measures: BTreeMap<String, Estimate>,
    pub stats: EpisodeStats,
}

impl Row {
    /// A measure by its name in [`Metrics`].
    pub fn get(&self, metric: &str) -> Option<Estimate> {
        self.measures.get(metric).copied()
    }
    /// What ended the episodes, as shares in the order of [`Termination::ALL`], without those that never did; nothing where it
    /// is not known. An episode that lasted for all its turns did not end by a quit rule, whatever its last item was. `horizon`
    /// is how long episodes are, where a row tells it that was cut every time.
    pub fn ends(&self, horizon: Option<f64>) -> Vec<(Termination, f64)> {
        let all = self.stats.ends.len() as f64;
        let told = |end: Termination| self.get(&format!("end_{}", end.name())).map(|share| share.mean.clamp(0.0, 1.0));
        let lasted = self.get("length").zip(horizon).is_some_and(|(length, horizon)| length.mean >= horizon);
        let share = |end: Termination| match end {
            _ if all > 0.0 => Some(self.stats.ends.iter().filter(|found| **found == end).count() as f64 / all),
            Termination::Horizon if lasted => told(end).map(|_| 1.0),
            _ if lasted => None,
            _ => told(end),
        };
        Termination::ALL
            .into_iter()
            .filter_map(|end| Some((end, share(end)?)))
            .filter(|(_, share)| *share > 0.0)
            .collect()
    }
    /// Whether it is a trained policy that no other row shows.
    pub fn is_learned(&self) -> bool {
        self.role == Role::Learned
    }
    /// Whether it is a trained policy, served in one way or the other.
    pub fn is_trained(&self) -> bool {
        matches!(self.role, Role::Learned | Role::WithoutRepeats)
    }
    /// The measure that the page is about.
    pub fn returns(&self) -> Option<Estimate> {
        self.get("return_inclusive")
    }
}

/// How long episodes are, where a row says it whose episodes were all cut.
pub(in crate::report) fn horizon(rows: &[Row]) -> Option<f64> {
    let cut = |row: &&Row| row.get("end_horizon").is_some_and(|share| share.mean >= 1.0);
    rows.iter().filter(cut).filter_map(|row| Some(row.get("length")?.mean)).reduce(f64::max)
}

/// The rows in the order of the table.
pub(in crate::report) fn rows(metrics: &Metrics, rollouts: Option<&Rollouts>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for metric in &metrics.rows {
        let at = rows.iter().position(|row| row.name == metric.policy).unwrap_or_else(|| {
            let role = match metric.role {
                RowRole::Policy => Role::Learned,
                RowRole::PolicyWithoutRepeats => Role::WithoutRepeats,
                RowRole::Teacher => Role::Teacher,
                RowRole::Baseline => Role::Baseline,
                RowRole::Plan => Role::Plan,
            };
            let (name, remark) = (metric.policy.clone(), metric.remark.clone());
            let (measures, stats) = (BTreeMap::new(), EpisodeStats::default());
            let privileged = metric.privileged;
            rows.push(Row { name, role, privileged, remark, seeds: 0, episodes: 0, measures, stats });
            rows.len() - 1
        });
        let row = &mut rows[at];
        row.seeds = row.seeds.max(metric.seeds);
        row.episodes = row.episodes.max(metric.episodes);
        let estimate = Estimate { mean: metric.mean, low: metric.low, high: metric.high };
        if [estimate.mean, estimate.low, estimate.high].iter().all(|value| value.is_finite()) {
            row.measures.insert(metric.metric.clone(), estimate);
        }
    }
    // A share below 1 is of a row with some that were trained.
    let never_trained = |row: &&mut Row| row.get("untrained").is_some_and(|share| share.mean >= 1.0);
    for row in rows.iter_mut().filter(|row| row.is_trained()).filter(never_trained) {
        row.role = Role::Untrained;
    }
    let episodes = || rollouts.iter().flat_map(|rollouts| &rollouts.0);
    // Lengths of cut episodes are the horizon itself, or that of a recording that was cut earlier.
    let horizon = episodes().filter(|rollout| rollout.end == Termination::Horizon).map(|rollout| rollout.length).max();
    for rollout in episodes() {
        let Some(row) = rows.iter_mut().find(|row| row.name == rollout.policy) else { continue };
        row.stats.users.insert(rollout.user);
        row.stats.returns.push(rollout.return_inclusive);
        // At the last turn there is nothing to lose by leaving, so a plan may end on what it had to avoid until then.
        let lasted = horizon.is_some_and(|horizon| rollout.length >= horizon);
        row.stats.ends.push(if lasted { Termination::Horizon } else { rollout.end });
        if rollout.end == Termination::Horizon {
            row.stats.cut_at = row.stats.cut_at.max(Some(rollout.length));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::{Role, rows};
    use crate::artifact::{Metric, Metrics, RowRole};

    fn metric(policy: &str, role: RowRole, metric: &str, mean: f64) -> Metric {
        let (policy, metric, remark) = (policy.to_owned(), metric.to_owned(), String::new());
        let privileged = false;
        Metric { policy, role, privileged, remark, metric, mean, low: mean, high: mean, seeds: 1, episodes: 9 }
    }

    #[test]
    fn rows_keep_their_order_and_drop_what_is_not_finite() {
        let lines = vec![
            metric("random", RowRole::Baseline, "return_inclusive", 24.1),
            metric("a2c", RowRole::Policy, "return_inclusive", f64::NAN),
            metric("any name", RowRole::Teacher, "return_inclusive", 118.0),
            metric("plan of world", RowRole::Plan, "return_inclusive", 131.0),
            metric("random", RowRole::Baseline, "length", 8.0),
            metric("teacher's pet", RowRole::Policy, "return_inclusive", 7.0),
        ];
        let rows = rows(&Metrics { rows: lines, missing: Vec::new() }, None);
        let seen: Vec<_> =
            rows.iter().map(|row| (row.name.as_str(), row.role, row.returns().map(|r| r.mean))).collect();
        assert_eq!(
            seen,
            [
                ("random", Role::Baseline, Some(24.1)),
                ("a2c", Role::Learned, None),
                ("any name", Role::Teacher, Some(118.0)),
                ("plan of world", Role::Plan, Some(131.0)),
                ("teacher's pet", Role::Learned, Some(7.0)),
            ]
        );
        assert_eq!(rows[0].get("length").map(|length| length.mean), Some(8.0));
    }
}
