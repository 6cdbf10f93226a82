//! Every learned row against every other row, and how often each row returns how much.

use pipeline::progress::Bar;

use super::aggregates::{ProbImprovement, SortedRuns};
use super::bootstrap::{Bootstrap, Interval, Resampling, ScoreMatrix};
use super::crossed_mean::CrossedMean;
use super::results::Row;
use super::table::{all_episodes, grid};
use super::teacher_replay::TeacherCoverage;
use super::teachers::SharedUsers;
use crate::artifact::{Comparison, Comparisons, ProfilePoint, Profiles, RowRole};
use crate::ratings::normal_p;

/// Thresholds of a profile, both ends included.
const THRESHOLDS: usize = 51;

/// One row beside another with the same users.
struct Pair<'a> {
    /// The rows and their places in the table.
    rows: [(usize, &'a Row); 2],
    metric: &'static str,
    returns: [ScoreMatrix; 2],
}

/// Each policy and teacher against each other row; with a teacher only its users and turns are compared. Each policy
/// and teacher moves `bar` by one.
pub(super) fn comparisons(rows: &[Row], bootstrap: &Bootstrap, bar: &Bar) -> Comparisons {
    let learned = |row: &Row| row.role != RowRole::Baseline;
    let mut found: Vec<Comparison> = Vec::new();
    for (x, row) in rows.iter().enumerate().filter(|(_, row)| learned(row)) {
        for (y, other) in rows.iter().enumerate().filter(|(y, _)| *y != x) {
            // What is known from the other side is not computed again.
            let known = found.iter().find(|known| (&known.policy, &known.other) == (&other.name, &row.name));
            let comparison = match known {
                Some(known) => Some(mirrored(known)),
                None => pair([(x, row), (y, other)]).map(|pair| compare(&pair, bootstrap)),
            };
            found.extend(comparison);
        }
        bar.inc(1);
    }
    Comparisons(found)
}

fn pair(rows: [(usize, &Row); 2]) -> Option<Pair<'_>> {
    let teachers: Vec<&TeacherCoverage> = rows.iter().filter_map(|(_, row)| row.teacher_coverage.as_ref()).collect();
    if teachers.is_empty() {
        let returns = rows.map(|(_, row)| grid(row, &all_episodes(row), |e| e.inclusive));
        return Some(Pair { rows, metric: "return_inclusive", returns });
    }
    let ground = SharedUsers::of(&teachers)?;
    Some(Pair { rows, metric: "return_teacher_users", returns: rows.map(|(_, row)| ground.grid(row)) })
}

fn compare(pair: &Pair, bootstrap: &Bootstrap) -> Comparison {
    let [x, y] = &pair.returns;
    let improvement_of = ProbImprovement::new(x, y);
    let (found, p) = match bootstrap.resampling {
        Resampling::None => {
            let difference = CrossedMean::of_difference(x, y);
            let improvement = CrossedMean::of_improvement(&improvement_of).share_interval();
            ([difference.interval(), improvement], difference.p())
        }
        _ => {
            let sides = pair.rows.map(|(number, row)| (number as u64, row.seed_results.len()));
            let found = bootstrap.intervals(&sides, x[0].len(), |draws| {
                vec![draws[0].mean(x) - draws[1].mean(y), improvement_of.improvement(&draws[0], &draws[1])]
            });
            ([found[0], found[1]], p_of_width(found[0]))
        }
    };
    let [Interval { mean: difference, low, high }, improvement] = found;
    let Interval {
        mean: probability_of_improvement,
        low: probability_of_improvement_low,
        high: probability_of_improvement_high,
    } = improvement;
    let [policy, other] = pair.rows.map(|(_, row)| row.name.clone());
    Comparison {
        policy,
        other,
        metric: pair.metric.to_owned(),
        difference,
        low,
        high,
        p,
        probability_of_improvement,
        probability_of_improvement_low,
        probability_of_improvement_high,
        seeds: x.len().min(y.len()) as u32,
        users: x[0].len() as u32,
    }
}

/// The p of a bootstrap's interval, by the normal approximation; 1 where it has no width: then every resample was the same, so
/// nothing was put to a test.
fn p_of_width(Interval { mean, low, high }: Interval) -> f64 {
    let error = (high - low) / (2.0 * 1.959_964);
    if error > 0.0 { normal_p(mean / error) } else { 1.0 }
}

/// The same from the other side.
fn mirrored(known: &Comparison) -> Comparison {
    Comparison {
        policy: known.other.clone(),
        other: known.policy.clone(),
        difference: -known.difference,
        low: -known.high,
        high: -known.low,
        probability_of_improvement: 1.0 - known.probability_of_improvement,
        probability_of_improvement_low: 1.0 - known.probability_of_improvement_high,
        probability_of_improvement_high: 1.0 - known.probability_of_improvement_low,
        ..known.clone()
    }
}

/// The profiles of all rows over the same thresholds, from the lowest to the highest return of the table; each moves `bar`
/// by one.
pub(super) fn profiles(rows: &[Row], bootstrap: &Bootstrap, bar: &Bar) -> Profiles {
    let returns = || rows.iter().flat_map(|row| &row.seed_results).flat_map(|cell| &cell.episodes).map(|e| e.inclusive);
    let (low, high) = (returns().fold(f64::INFINITY, f64::min), returns().fold(f64::NEG_INFINITY, f64::max));
    let step = (high - low) / (THRESHOLDS - 1) as f64;
    let thresholds: Vec<f64> = (0..THRESHOLDS).map(|k| low + step * k as f64).collect();
    let profile = |(number, row): (usize, &Row)| {
        let episodes = all_episodes(row);
        let returns = grid(row, &episodes, |e| e.inclusive);
        let above = |threshold: &f64| -> Interval {
            let above = |row: &Vec<f64>| row.iter().map(|x| f64::from(u8::from(x > threshold))).collect();
            CrossedMean::of(&returns.iter().map(above).collect()).share_interval()
        };
        let shares = match bootstrap.resampling {
            Resampling::None => thresholds.iter().map(above).collect(),
            _ => {
                let sorted = SortedRuns::new(&returns);
                bootstrap.intervals(&[(number as u64, row.seed_results.len())], episodes.len(), |draws| {
                    sorted.share_above(&thresholds, &draws[0])
                })
            }
        };
        bar.inc(1);
        let point = |(&threshold, Interval { mean: share, low, high }): (&f64, Interval)| ProfilePoint {
            policy: row.name.clone(),
            threshold,
            share,
            low,
            high,
        };
        thresholds.iter().zip(shares).map(point).collect::<Vec<_>>()
    };
    Profiles(rows.iter().enumerate().flat_map(profile).collect())
}
