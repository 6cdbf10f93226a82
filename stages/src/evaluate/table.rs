//! From judged rows to the numbers of the table.

use super::bootstrap::{Bootstrap, Grid, Interval, Quantity};
use super::judged::{Cell, Episode, Row};
use super::rows::{POPULAR, RETRIEVER, TEACHER};
use crate::artifact::{End, Metric, Metrics};

/// What one episode adds to a mean.
type Of = fn(&Episode) -> f64;

/// Quantities that are means over seeds and users.
const MEANS: [(&str, Of); 7] = [
    ("return_inclusive", |e| e.inclusive),
    ("return_exclusive", |e| e.exclusive),
    ("length", |e| f64::from(e.length)),
    ("distinct", |e| f64::from(e.distinct)),
    ("end_similar", |e| f64::from(u8::from(e.end == End::Similar))),
    ("end_low_reward", |e| f64::from(u8::from(e.end == End::LowReward))),
    ("end_horizon", |e| f64::from(u8::from(e.end == End::Horizon))),
];

/// The table of `rows`, which all but the teacher's play with the same users in the same order. `taught` holds the places
/// among them of the teacher's users, in the teacher's order, where each is there.
pub(super) fn table(rows: &[Row], taught: Option<&[usize]>, bootstrap: &Bootstrap) -> Metrics {
    Metrics(rows.iter().flat_map(|row| measure(row, rows, taught, bootstrap)).collect())
}

fn measure(row: &Row, rows: &[Row], taught: Option<&[usize]>, bootstrap: &Bootstrap) -> Vec<Metric> {
    let teacher = row.name == TEACHER;
    let everyone = everyone_of(row);
    let mut measures = Measures { row, bootstrap, metrics: Vec::new() };

    let mut quantities: Vec<(&str, Quantity)> =
        MEANS.iter().map(|&(name, of)| (name, average(grid(row, &everyone, of)))).collect();
    let [top, bottom]: [Grid; 2] =
        [|e: &Episode| e.inclusive, |e: &Episode| f64::from(e.length)].map(|of: Of| grid(row, &everyone, of));
    quantities.push(("reward_each", Quantity { top, bottom: Some(bottom) }));
    if !row.control && !teacher {
        let others = [("over_popular", POPULAR), ("over_retriever", RETRIEVER)];
        quantities.extend(others.into_iter().filter_map(|(name, other)| {
            let other = grid(find(rows, other)?, &everyone, |e| e.inclusive);
            Some((name, average(over(grid(row, &everyone, |e| e.inclusive), &other[0]))))
        }));
    }
    measures.add(&quantities, everyone.len());

    if let Some(taught) = taught {
        let opening = |row: &Row| {
            let order: &[usize] = if row.name == TEACHER { &everyone_of(row) } else { taught };
            grid(row, order, |e| e.opening)
        };
        let mut quantities = vec![("return_teacher_users", average(opening(row)))];
        let others: &[(&str, &str)] = match (teacher, row.control) {
            (true, _) => &[("over_popular", POPULAR), ("over_retriever", RETRIEVER)],
            (false, false) => &[("over_teacher", TEACHER)],
            (false, true) => &[],
        };
        quantities.extend(
            others.iter().filter_map(|&(name, other)| {
                Some((name, average(over(opening(row), &opening(find(rows, other)?)[0]))))
            }),
        );
        measures.add(&quantities, taught.len());
    }

    // Fewer different users show fewer different items, so drawing users would say too little: only seeds are drawn.
    let coverage = average(row.cells.iter().map(|cell: &Cell| vec![cell.coverage]).collect());
    measures.add(&[("coverage", coverage)], everyone.len());
    measures.metrics
}

/// Collects the metrics of one row.
struct Measures<'a> {
    row: &'a Row,
    bootstrap: &'a Bootstrap,
    metrics: Vec<Metric>,
}

impl Measures<'_> {
    fn add(&mut self, named: &[(&str, Quantity)], users: usize) {
        let (row, seeds) = (self.row, self.row.cells.len());
        let quantities: Vec<&Quantity> = named.iter().map(|(_, quantity)| quantity).collect();
        let intervals = self.bootstrap.intervals(&quantities);
        self.metrics.extend(named.iter().zip(intervals).map(|((name, _), Interval { mean, low, high })| Metric {
            policy: row.name.clone(),
            control: row.control,
            remark: row.remark.clone(),
            metric: (*name).to_owned(),
            mean,
            low,
            high,
            seeds: seeds as u32,
            episodes: (seeds * users) as u32,
        }));
    }
}

fn find<'a>(rows: &'a [Row], name: &str) -> Option<&'a Row> {
    rows.iter().find(|row| row.name == name)
}

/// The places of all its episodes.
fn everyone_of(row: &Row) -> Vec<usize> {
    (0..row.cells[0].episodes.len()).collect()
}

fn average(top: Grid) -> Quantity {
    Quantity { top, bottom: None }
}

/// One number for each cell and each of the episodes at `places`.
fn grid(row: &Row, places: &[usize], of: Of) -> Grid {
    row.cells.iter().map(|cell| places.iter().map(|&k| of(&cell.episodes[k])).collect()).collect()
}

/// The lead over `other` with the same user.
fn over(mut grid: Grid, other: &[f64]) -> Grid {
    for row in &mut grid {
        for (own, other) in row.iter_mut().zip(other) {
            *own -= other;
        }
    }
    grid
}
