//! From judged rows to the numbers of the table.

use pipeline::progress::Bar;

use super::aggregates::Sorted;
use super::bootstrap::{Bootstrap, Grid, Interval};
use super::judged::{Cell, Episode, Row};
use super::rows::{POPULAR, RETRIEVER};
use super::teachers::{Ground, Taught, best};
use crate::artifact::{Metric, Metrics, Termination};

/// What one episode adds to a mean.
pub(super) type Of = fn(&Episode) -> f64;

/// The same, where not every episode knows it.
type Perhaps = fn(&Episode) -> Option<f64>;

/// Quantities that are means over seeds and users.
const MEANS: [(&str, Of); 12] = [
    ("return_inclusive", |e| e.inclusive),
    ("return_exclusive", |e| e.exclusive),
    ("length", Episode::length),
    ("length_exclusive", Episode::continued),
    ("distinct", |e| f64::from(e.distinct)),
    ("repeat_rate", |e| 1.0 - f64::from(e.distinct) / e.length()),
    ("diversity", |e| e.diversity),
    ("novelty", |e| e.novelty),
    ("end_similar", |e| f64::from(u8::from(e.end == Termination::Similar))),
    ("end_low_reward", |e| f64::from(u8::from(e.end == Termination::LowReward))),
    ("end_category", |e| f64::from(u8::from(e.end == Termination::Category))),
    ("end_horizon", |e| f64::from(u8::from(e.end == Termination::Horizon))),
];

/// Σ top / Σ bottom.
const RATIOS: [(&str, Of, Of); 2] =
    [("reward_each", |e| e.inclusive, Episode::length), ("reward_each_exclusive", |e| e.exclusive, Episode::continued)];

/// Quantities that only some episodes know; a row has them where all its episodes do.
const OPTIONAL: [(&str, Perhaps); 6] = [
    ("top_category", |e| e.top_category),
    ("return_training", |e| e.training),
    ("gap", |e| Some(e.training? - e.inclusive)),
    ("calls", |e| Some(f64::from(e.effort?.calls))),
    ("tokens_read", |e| Some(e.effort?.tokens_read? as f64)),
    ("tokens_written", |e| Some(e.effort?.tokens_written? as f64)),
];

/// The rows that others are measured against, by the name of the lead over them.
const LEADS: [(&str, &str); 2] = [("over_popular", POPULAR), ("over_retriever", RETRIEVER)];

/// The table of `rows`, which all but the teachers' play with the same users in the same order; each moves `bar` by one.
pub(super) fn table(rows: &[Row], bootstrap: &Bootstrap, bar: &Bar) -> Metrics {
    let measure = |(number, row)| {
        let metrics = Measures { row, number, bootstrap, metrics: Vec::new() }.of(rows);
        bar.inc(1);
        metrics
    };
    Metrics(rows.iter().enumerate().flat_map(measure).collect())
}

/// Collects the metrics of one row.
struct Measures<'a> {
    row: &'a Row,
    /// Its place in the table.
    number: usize,
    bootstrap: &'a Bootstrap,
    metrics: Vec<Metric>,
}

impl Measures<'_> {
    fn of(mut self, rows: &[Row]) -> Vec<Metric> {
        let row = self.row;
        let everyone = everyone_of(row);
        let mut means: Vec<(&str, Grid)> = MEANS.iter().map(|&(name, of)| (name, grid(row, &everyone, of))).collect();
        for (name, of) in OPTIONAL {
            let known = row.cells.iter().flat_map(|cell| &cell.episodes).all(|episode| of(episode).is_some());
            if known {
                let value = |cell: &Cell| cell.episodes.iter().filter_map(of).collect();
                means.push((name, row.cells.iter().map(value).collect()));
            }
        }
        if !row.control && row.taught.is_none() {
            let leads = LEADS.iter().filter_map(|(name, other)| Some((*name, find(rows, other)?)));
            means.extend(leads.map(|(name, other)| (name, lead(row, other, |e| e.inclusive))));
        }
        means.extend(row.beside.iter().cloned());
        self.means(&means, everyone.len());
        self.ratios(&everyone);
        self.middle(&everyone);
        self.on_taught(rows);
        // Fewer different users show fewer different items, so drawing users would say too little: only seeds are drawn.
        let of = |pick: fn(&Cell) -> f64| -> Grid { row.cells.iter().map(|cell| vec![pick(cell)]).collect() };
        let covered =
            [("coverage", of(|cell| cell.coverage)), ("coverage_per_step", of(|cell| cell.coverage_per_step))];
        let first = self.metrics.len();
        self.means(&covered, 1);
        for metric in &mut self.metrics[first..] {
            metric.episodes *= everyone.len() as u32;
        }
        self.metrics
    }

    /// The inclusive return with the users and over the turns that all teachers were given, and leads over those of one.
    fn on_taught(&mut self, rows: &[Row]) {
        let row = self.row;
        let judged: Vec<&Taught> =
            rows.iter().filter_map(|row| row.taught.as_ref()).filter(|taught| taught.judged).collect();
        // A teacher that played with others shares no ground with anybody.
        let apart = row.taught.as_ref().is_some_and(|taught| !taught.judged);
        if let Some(ground) = Ground::of(&judged).filter(|_| !apart) {
            self.means(&[("return_teacher_users", ground.grid(row))], ground.users());
        }
        let teacher = if row.control { None } else { row.taught.as_ref().map_or_else(|| best(rows), |_| Some(row)) };
        let Some(teacher) = teacher else { return };
        let Some(ground) = teacher.taught.as_ref().and_then(|taught| Ground::of(&[taught])) else { return };
        let leads: Vec<(&str, Grid)> = match row.taught {
            None => vec![("over_teacher", ground.lead(row, teacher))],
            Some(_) => {
                let others = LEADS.iter().filter_map(|(name, other)| Some((*name, find(rows, other)?)));
                others.map(|(name, other)| (name, ground.lead(row, other))).collect()
            }
        };
        self.means(&leads, ground.users());
    }

    fn means(&mut self, means: &[(&str, Grid)], users: usize) {
        let intervals = self
            .bootstrap
            .intervals(&self.side(), users, |draws| means.iter().map(|(_, grid)| draws[0].mean(grid)).collect());
        for ((name, _), interval) in means.iter().zip(intervals) {
            self.add(name, interval, users);
        }
    }

    fn ratios(&mut self, everyone: &[usize]) {
        let grids = RATIOS.map(|(_, top, bottom)| [top, bottom].map(|of| grid(self.row, everyone, of)));
        let intervals = self.bootstrap.intervals(&self.side(), everyone.len(), |draws| {
            // Where nobody stayed for a single step, no reward was paid either.
            grids.iter().map(|[top, bottom]| draws[0].sum(top) / draws[0].sum(bottom).max(1.0)).collect()
        });
        for ((name, ..), interval) in RATIOS.iter().zip(intervals) {
            self.add(name, interval, everyone.len());
        }
    }

    fn middle(&mut self, everyone: &[usize]) {
        let sorted = Sorted::new(&grid(self.row, everyone, |e| e.inclusive));
        let found = self.bootstrap.intervals(&self.side(), everyone.len(), |draws| vec![sorted.middle(&draws[0])]);
        self.add("return_iqm", found[0], everyone.len());
    }

    fn side(&self) -> [(u64, usize); 1] {
        [(self.number as u64, self.row.cells.len())]
    }

    fn add(&mut self, metric: &str, Interval { mean, low, high }: Interval, users: usize) {
        let (row, seeds) = (self.row, self.row.cells.len());
        self.metrics.push(Metric {
            policy: row.name.clone(),
            control: row.control,
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
pub(super) fn everyone_of(row: &Row) -> Vec<usize> {
    (0..row.cells[0].episodes.len()).collect()
}

/// One number for each cell and each of the episodes at `places`.
pub(super) fn grid(row: &Row, places: &[usize], of: Of) -> Grid {
    row.cells.iter().map(|cell| places.iter().map(|&k| of(&cell.episodes[k])).collect()).collect()
}

/// The lead over the first cell of `other` with the same user.
fn lead(row: &Row, other: &Row, of: Of) -> Grid {
    let everyone = everyone_of(row);
    let other = &grid(other, &everyone, of)[0];
    let mut grid = grid(row, &everyone, of);
    for row in &mut grid {
        row.iter_mut().zip(other).for_each(|(own, other)| *own -= other);
    }
    grid
}
