//! The table of a policy over prompts: the policy beside no hint, a random and the best fixed one, and the oracle, with intervals.
//!
//! Sessions of a user belong together, so users are drawn with replacement (Efron and Tibshirani 1993, ch. 13). All rows share the draws,
//! which pairs their differences.

use rand::RngExt;

use crate::artifact::{Metric, Metrics, RowRole};
use crate::nn::rng;

const USERS: u64 = 0x05e5;
/// What 80 % power at a two-sided level of 5 % takes, in standard errors.
const DETECTABLE: f64 = 2.8;

/// NDCG@10 of every test session, one number each, under each way to choose its prompt.
#[derive(Default)]
pub(super) struct Outcomes {
    pub users: Vec<u32>,
    pub reference: Vec<f64>,
    pub random: Vec<f64>,
    pub best_fixed: Vec<f64>,
    pub policy: Vec<f64>,
    /// The same policy learned and applied with the states of other sessions.
    pub states_exchanged: Vec<f64>,
    pub oracle: Vec<f64>,
    pub luck: Vec<f64>,
}

/// What rows are called.
pub(super) struct RowNames<'a> {
    pub reference: &'a str,
    pub policy: &'a str,
    /// What the best fixed prompt is, by fold.
    pub best_fixed: String,
}

/// A value with its 95 % interval and its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
    pub error: f64,
}

impl Outcomes {
    /// The table.
    pub fn metrics(&self, names: &RowNames, resamples: usize, seed: u64) -> Metrics {
        let mut rows = Vec::new();
        let sessions = self.users.len() as u32;
        let mut add = |policy: &str, role: RowRole, privileged: bool, remark: &str, metric: &str, found: Interval| {
            rows.push(Metric {
                policy: policy.to_owned(),
                role,
                privileged,
                remark: remark.to_owned(),
                metric: metric.to_owned(),
                mean: found.value,
                low: found.low,
                high: found.high,
                seeds: 1,
                episodes: sessions,
            });
        };
        let mean = |of: &[f64]| self.interval(of, resamples, seed);
        let lead =
            |of: &[f64], over: &[f64]| mean(&of.iter().zip(over).map(|(own, other)| own - other).collect::<Vec<_>>());
        let detectable = |found: Interval| Interval {
            value: DETECTABLE * found.error,
            low: DETECTABLE * found.error,
            high: DETECTABLE * found.error,
            error: 0.0,
        };
        add(names.reference, RowRole::Baseline, false, "the reference", "ndcg", mean(&self.reference));
        let exchanged = format!("{}, states exchanged", names.policy);
        for (policy, role, remark, ndcg) in [
            ("random", RowRole::Baseline, "the mean over all prompts", &self.random),
            ("best fixed", RowRole::Baseline, names.best_fixed.as_str(), &self.best_fixed),
            (
                exchanged.as_str(),
                RowRole::Baseline,
                "learned and applied with the states of other sessions",
                &self.states_exchanged,
            ),
            (names.policy, RowRole::Policy, "", &self.policy),
        ] {
            add(policy, role, false, remark, "ndcg", mean(ndcg));
            add(policy, role, false, remark, "gain", lead(ndcg, &self.reference));
        }
        for (metric, over) in [
            ("lead_over_random", &self.random),
            ("lead_over_best_fixed", &self.best_fixed),
            ("lead_over_states_exchanged", &self.states_exchanged),
        ] {
            add(names.policy, RowRole::Policy, false, "", metric, lead(&self.policy, over));
        }
        for (metric, over) in [("detectable_gain", &self.reference), ("detectable_lead", &self.best_fixed)] {
            add(names.policy, RowRole::Policy, false, "", metric, detectable(lead(&self.policy, over)));
        }
        let knows = "knows the answer of each session";
        add("oracle", RowRole::Baseline, true, knows, "ndcg", mean(&self.oracle));
        add("oracle", RowRole::Baseline, true, knows, "gain", lead(&self.oracle, &self.reference));
        let shuffled = "the oracle of the table with values exchanged among sessions: what luck gives";
        add("oracle by luck", RowRole::Baseline, true, shuffled, "ndcg", mean(&self.luck));
        add("oracle by luck", RowRole::Baseline, true, shuffled, "gain", lead(&self.luck, &self.reference));
        add("oracle", RowRole::Baseline, true, knows, "gain_corrected", lead(&self.oracle, &self.luck));
        Metrics { rows, missing: Vec::new() }
    }

    /// The mean over sessions, with its interval over users.
    fn interval(&self, values: &[f64], resamples: usize, seed: u64) -> Interval {
        let mut by_user: std::collections::BTreeMap<u32, (f64, f64)> = std::collections::BTreeMap::new();
        for (&user, value) in self.users.iter().zip(values) {
            let (sum, count) = by_user.entry(user).or_default();
            (*sum, *count) = (*sum + value, *count + 1.0);
        }
        let users: Vec<(f64, f64)> = by_user.into_values().collect();
        let mean = |drawn: &mut dyn Iterator<Item = usize>| {
            let (sum, count) =
                drawn.fold((0.0, 0.0), |(sum, count), user| (sum + users[user].0, count + users[user].1));
            sum / count
        };
        let value = mean(&mut (0..users.len()));
        let mut drawn: Vec<f64> = (0..resamples)
            .map(|resample| {
                let mut draw = rng(&[seed, USERS, resample as u64]);
                mean(&mut (0..users.len()).map(|_| draw.random_range(0..users.len())))
            })
            .collect();
        drawn.sort_by(f64::total_cmp);
        let at = |share: f64| drawn[((drawn.len() - 1) as f64 * share).round() as usize];
        let centre = drawn.iter().sum::<f64>() / resamples as f64;
        let error = (drawn.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / resamples as f64).sqrt();
        // Sums of equal numbers differ in their last digits when they are grouped differently: that is no variation.
        let end = |at: f64| if (at - value).abs() <= 1e-12 { value } else { at };
        Interval { value, low: end(at(0.025)), high: end(at(0.975)), error }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_over_users_and_has_the_normal_width() {
        // 100 users of four equal sessions each, half of them at 0 and half at 1.
        let users: Vec<u32> = (0..400).map(|session| session / 4).collect();
        let values: Vec<f64> = users.iter().map(|user| f64::from(user % 2)).collect();
        let outcomes = Outcomes { users, ..Outcomes::default() };
        let found = outcomes.interval(&values, 1000, 1);
        assert_eq!(found.value, 0.5);
        assert!((found.error - 0.05).abs() < 0.005, "{found:?}");
        assert!((found.high - found.low - 2.0 * 1.96 * 0.05).abs() < 0.02, "{found:?}");
        let constant = outcomes.interval(&vec![0.1; 400], 100, 1);
        assert_eq!((constant.low, constant.high), (constant.value, constant.value));
    }

    #[test]
    fn leads_are_paired() {
        let ndcg = vec![0.1, 0.9, 0.3];
        let outcomes = Outcomes {
            users: vec![0, 1, 2],
            reference: ndcg.clone(),
            random: ndcg.clone(),
            best_fixed: ndcg.clone(),
            states_exchanged: ndcg.clone(),
            policy: ndcg.iter().map(|x| x + 0.05).collect(),
            oracle: vec![1.0; 3],
            luck: vec![0.75; 3],
        };
        let names = RowNames { reference: "recent", policy: "bandit", best_fixed: "`recent h01`".into() };
        let metrics = outcomes.metrics(&names, 200, 1);
        let find = |policy: &str, metric: &str| {
            let row = metrics.rows.iter().find(|row| row.policy == policy && row.metric == metric).unwrap();
            [row.mean, row.low, row.high]
        };
        for found in find("bandit", "gain").into_iter().chain(find("bandit", "lead_over_best_fixed")) {
            assert!((found - 0.05).abs() < 1e-9, "{found}");
        }
        assert!(find("bandit", "detectable_gain")[0] < 1e-9);
        assert!((find("oracle", "gain_corrected")[0] - 0.25).abs() < 1e-12);
        assert!((find("oracle by luck", "gain")[0] - (0.75 - 1.3 / 3.0)).abs() < 1e-12);
        let best = metrics.rows.iter().find(|row| row.policy == "best fixed").unwrap();
        assert!(best.role == RowRole::Baseline && !best.privileged && best.remark == "`recent h01`");
    }
}
