//! From evaluated rows to the numbers of the table.

use pipeline::progress::Bar;

use super::aggregates::SortedRuns;
use super::bootstrap::{Bootstrap, Interval, Resample, Resampling, ScoreMatrix};
use super::crossed_mean::CrossedMean;
use super::results::{Episode, Row, SeedResult};
use super::table_rows::{POPULAR_QUIT_AWARE, RETRIEVER_TOP_1};
use super::teacher_replay::TeacherCoverage;
use super::teachers::{SharedUsers, best_teacher};
use crate::artifact::{Metric, Metrics, MissingRow, RowRole, Termination};

/// What one episode adds to a mean.
pub(super) type Measure = fn(&Episode) -> f64;

/// The same, where not every episode has it.
type OptionalMeasure = fn(&Episode) -> Option<f64>;

/// Quantities that are means over seeds and users.
const MEANS: [(&str, Measure); 12] = [
    ("return_inclusive", |e| e.inclusive),
    ("return_exclusive", |e| e.exclusive),
    ("length", Episode::length),
    ("length_exclusive", Episode::continued),
    ("distinct_items", |e| f64::from(e.distinct)),
    ("repeat_rate", |e| 1.0 - f64::from(e.distinct) / e.length()),
    ("diversity", |e| e.diversity),
    ("novelty", |e| e.novelty),
    ("end_similar", |e| f64::from(u8::from(e.end == Termination::Similar))),
    ("end_low_reward", |e| f64::from(u8::from(e.end == Termination::LowReward))),
    ("end_category", |e| f64::from(u8::from(e.end == Termination::Category))),
    ("end_horizon", |e| f64::from(u8::from(e.end == Termination::Horizon))),
];

/// Σ top / Σ bottom.
const RATIOS: [(&str, Measure, Measure); 2] = [
    ("reward_per_step", |e| e.inclusive, Episode::length),
    ("reward_per_step_exclusive", |e| e.exclusive, Episode::continued),
];

/// Means that are shares, which lie between 0 and 1.
const SHARES: [&str; 8] = [
    "repeat_rate",
    "end_similar",
    "end_low_reward",
    "end_category",
    "end_horizon",
    "top_category",
    "coverage",
    "coverage_per_step",
];

/// Quantities that only some episodes have; a row has them where all its episodes do.
const OPTIONAL: [(&str, OptionalMeasure); 6] = [
    ("top_category", |e| e.top_category),
    ("return_training_world", |e| e.training),
    ("gap", |e| Some(e.training? - e.inclusive)),
    ("calls", |e| Some(f64::from(e.usage?.calls))),
    ("prompt_tokens", |e| Some(e.usage?.prompt_tokens? as f64)),
    ("completion_tokens", |e| Some(e.usage?.completion_tokens? as f64)),
];

/// The rows that others are measured against, by the name of the lead over them.
const LEADS: [(&str, &str); 2] = [("lead_over_popular", POPULAR_QUIT_AWARE), ("lead_over_retriever", RETRIEVER_TOP_1)];

/// The table of `rows`, which all but the teachers' play with the same users in the same order; each moves `bar` by one.
pub(super) fn table(rows: &[Row], missing: Vec<MissingRow>, bootstrap: &Bootstrap, bar: &Bar) -> Metrics {
    let measure = |(number, row)| {
        let metrics = RowMetrics { row, number, bootstrap, metrics: Vec::new() }.of(rows);
        bar.inc(1);
        metrics
    };
    Metrics { rows: rows.iter().enumerate().flat_map(measure).collect(), missing }
}

/// Collects the metrics of one row.
struct RowMetrics<'a> {
    row: &'a Row,
    /// Its place in the table.
    number: usize,
    bootstrap: &'a Bootstrap,
    metrics: Vec<Metric>,
}

impl RowMetrics<'_> {
    fn of(mut self, rows: &[Row]) -> Vec<Metric> {
        let row = self.row;
        let episodes = all_episodes(row);
        let mut means: Vec<(&str, ScoreMatrix)> =
            MEANS.iter().map(|&(name, of)| (name, grid(row, &episodes, of))).collect();
        for (name, of) in OPTIONAL {
            let known = row.seed_results.iter().flat_map(|cell| &cell.episodes).all(|episode| of(episode).is_some());
            if known {
                let value = |cell: &SeedResult| cell.episodes.iter().filter_map(of).collect();
                means.push((name, row.seed_results.iter().map(value).collect()));
            }
        }
        if row.role != RowRole::Baseline && row.teacher_coverage.is_none() {
            let leads = LEADS.iter().filter_map(|(name, other)| Some((*name, find(rows, other)?)));
            means.extend(leads.map(|(name, other)| (name, lead(row, other, |e| e.inclusive))));
        }
        means.extend(row.extra.iter().cloned());
        self.means(&means, episodes.len());
        self.ratios(&episodes);
        self.interquartile_mean(&episodes);
        self.on_teacher_users(rows);
        // Fewer different users show fewer different items, so drawing users would say too little: only seeds are drawn.
        let of = |pick: fn(&SeedResult) -> f64| -> ScoreMatrix {
            row.seed_results.iter().map(|cell| vec![pick(cell)]).collect()
        };
        let covered =
            [("coverage", of(|cell| cell.coverage)), ("coverage_per_step", of(|cell| cell.coverage_per_step))];
        let first = self.metrics.len();
        self.means(&covered, 1);
        for metric in &mut self.metrics[first..] {
            metric.episodes *= episodes.len() as u32;
        }
        self.metrics
    }

    /// The inclusive return with the users and over the turns that all teachers were given, and leads over those of one.
    fn on_teacher_users(&mut self, rows: &[Row]) {
        let row = self.row;
        let evaluated: Vec<&TeacherCoverage> = rows
            .iter()
            .filter_map(|row| row.teacher_coverage.as_ref())
            .filter(|teacher_coverage| teacher_coverage.evaluated)
            .collect();
        // A teacher that played with other users shares no users with other rows.
        let apart = row.teacher_coverage.as_ref().is_some_and(|teacher_coverage| !teacher_coverage.evaluated);
        if let Some(ground) = SharedUsers::of(&evaluated).filter(|_| !apart) {
            self.means(&[("return_teacher_users", ground.grid(row))], ground.users());
        }
        let teacher = if row.role == RowRole::Baseline {
            None
        } else {
            row.teacher_coverage.as_ref().map_or_else(|| best_teacher(rows), |_| Some(row))
        };
        let Some(teacher) = teacher else { return };
        let Some(ground) =
            teacher.teacher_coverage.as_ref().and_then(|teacher_coverage| SharedUsers::of(&[teacher_coverage]))
        else {
            return;
        };
        let leads: Vec<(&str, ScoreMatrix)> = match row.teacher_coverage {
            None => vec![("lead_over_teacher", ground.lead(row, teacher))],
            Some(_) => {
                let others = LEADS.iter().filter_map(|(name, other)| Some((*name, find(rows, other)?)));
                others.map(|(name, other)| (name, ground.lead(row, other))).collect()
            }
        };
        self.means(&leads, ground.users());
    }

    fn means(&mut self, means: &[(&str, ScoreMatrix)], users: usize) {
        let by_t = |(name, grid): &(&str, ScoreMatrix)| {
            let mean = CrossedMean::of(grid);
            if SHARES.contains(name) { mean.share_interval() } else { mean.interval() }
        };
        let intervals = match self.bootstrap.resampling {
            Resampling::None => means.iter().map(by_t).collect(),
            _ => self
                .bootstrap
                .intervals(&self.side(), users, |draws| means.iter().map(|(_, grid)| draws[0].mean(grid)).collect()),
        };
        for ((name, _), interval) in means.iter().zip(intervals) {
            self.add(name, interval, users);
        }
    }

    fn ratios(&mut self, episodes: &[usize]) {
        let grids = RATIOS.map(|(_, top, bottom)| [top, bottom].map(|of| grid(self.row, episodes, of)));
        let intervals = match self.bootstrap.resampling {
            Resampling::None => grids.iter().map(|grids| CrossedMean::of_ratio(grids).interval()).collect(),
            _ => self.bootstrap.intervals(&self.side(), episodes.len(), |draws| {
                // Where no user stayed for a single step, no reward was paid either.
                grids.iter().map(|[top, bottom]| draws[0].sum(top) / draws[0].sum(bottom).max(1.0)).collect()
            }),
        };
        for ((name, ..), interval) in RATIOS.iter().zip(intervals) {
            self.add(name, interval, episodes.len());
        }
    }

    fn interquartile_mean(&mut self, episodes: &[usize]) {
        let returns = grid(self.row, episodes, |e| e.inclusive);
        let found = match self.bootstrap.resampling {
            Resampling::None => CrossedMean::of_interquartile_mean(&returns).interval(),
            _ => {
                let sorted = SortedRuns::new(&returns);
                let of = |draws: &[Resample]| vec![sorted.interquartile_mean(&draws[0])];
                self.bootstrap.intervals(&self.side(), episodes.len(), of)[0]
            }
        };
        self.add("return_iqm", found, episodes.len());
    }

    fn side(&self) -> [(u64, usize); 1] {
        [(self.number as u64, self.row.seed_results.len())]
    }

    fn add(&mut self, metric: &str, Interval { mean, low, high }: Interval, users: usize) {
        let (row, seeds) = (self.row, self.row.seed_results.len());
        self.metrics.push(Metric {
            policy: row.name.clone(),
            role: row.role,
            privileged: row.privileged,
            remark: row.remark.clone(),
            metric: metric.to_owned(),
            mean,
            low,
            high,
            seeds: seeds as u32,
            episodes: (seeds * users) as u32,
        });
    }
}

fn find<'a>(rows: &'a [Row], name: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.name == name)
}

/// The places of all its episodes.
pub(super) fn all_episodes(row: &Row) -> Vec<usize> {
    (0..row.seed_results[0].episodes.len()).collect()
}

/// One number for each cell and each of the episodes at `places`.
pub(super) fn grid(row: &Row, places: &[usize], of: Measure) -> ScoreMatrix {
    row.seed_results.iter().map(|cell| places.iter().map(|&k| of(&cell.episodes[k])).collect()).collect()
}

/// The lead over the first cell of `other` with the same user.
fn lead(row: &Row, other: &Row, of: Measure) -> ScoreMatrix {
    let episodes = all_episodes(row);
    let other = &grid(other, &episodes, of)[0];
    let mut grid = grid(row, &episodes, of);
    for row in &mut grid {
        row.iter_mut().zip(other).for_each(|(own, other)| *own -= other);
    }
    grid
}
