//! Where a number may lie: the percentile bootstrap over training seeds and users (Efron and Tibshirani 1993, ch. 13).
//!
//! It is too narrow where there are few seeds or users: over five seeds a 95 % interval covers 84 %. So [`CrossedMean`](super::crossed_mean)
//! is the default of `evaluate`, and this stays for comparisons with other work.
//!
//! Seeds and users are crossed (every seed plays with every user), so seeds are drawn with replacement, users are drawn
//! with replacement, and a drawn user counts with every drawn seed (Owen 2007). Drawing episodes instead would take five
//! answers of one user for five users. All rows of a table share the draws of users, which pairs their differences.
//!
//! rliable (Agarwal et al. 2021, arXiv 2108.13264) stratifies: its tasks stay as they are, and the runs of each task are
//! drawn for that task alone. With users for tasks that asks how the table would change with other seeds *for the same
//! users*, and takes a seed's luck with one user for independent of its luck with another. A training seed plays with
//! everybody here, so `crossed` draws both; `stratified` gives rliable's intervals.

use rand::RngExt;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nn::rng;

/// Whether intervals are of Student's t, or what is drawn again behind each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// Nothing: t intervals of two-way random effects, seeds and users, which cover 95 % with few seeds or users, too.
    #[default]
    None,
    /// Seeds and users, each drawn seed with each drawn user.
    Crossed,
    /// The seeds of each user for that user alone; users stay as they are. As rliable with users for tasks.
    Stratified,
}

/// How often to draw what, and from which seed.
pub(super) struct Bootstrap {
    pub seed: u64,
    pub resamples: usize,
    pub resampling: Resampling,
}

/// A number and where it may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// One number for each cell and user, `[S][N]`.
pub(super) type ScoreMatrix = Vec<Vec<f64>>;

/// How often each user counts and, with a user, each cell.
pub(super) struct Resample {
    /// `[N]`.
    pub users: Vec<f64>,
    /// `[S][N]`, or `[S][1]` where a cell counts alike with all users.
    pub cells: Vec<Vec<f64>>,
}

impl Resample {
    /// Everything once.
    pub fn whole(cells: usize, users: usize) -> Self {
        Self { users: vec![1.0; users], cells: vec![vec![1.0]; cells] }
    }

    /// How often a run counts.
    pub fn count(&self, cell: usize, user: usize) -> f64 {
        let counts = &self.cells[cell];
        counts[if counts.len() == 1 { 0 } else { user }] * self.users[user]
    }

    /// How many runs are drawn: as many as there are.
    pub fn runs(&self) -> f64 {
        (self.cells.len() * self.users.len()) as f64
    }

    /// Σ over cells and users.
    pub fn sum(&self, grid: &ScoreMatrix) -> f64 {
        let cell = |(row, counts): (&Vec<f64>, &Vec<f64>)| match counts.as_slice() {
            [0.0] => 0.0,
            [count] => count * row.iter().zip(&self.users).map(|(x, n)| x * n).sum::<f64>(),
            counts => row.iter().zip(&self.users).zip(counts).map(|((x, n), count)| x * n * count).sum(),
        };
        grid.iter().zip(&self.cells).map(cell).sum()
    }

    /// The mean over cells and users.
    pub fn mean(&self, grid: &ScoreMatrix) -> f64 {
        self.sum(grid) / self.runs()
    }
}

impl Bootstrap {
    /// The values that `of` finds on everything, with their 95 % intervals. `of` is given one draw for each of `sides`: the
    /// number of cells of a row of the table and a number that tells rows apart, because the seeds of two rows have nothing
    /// in common. The draws of users are shared. Equal on any thread count: only whole resamples are spread over threads.
    pub fn intervals(
        &self,
        sides: &[(u64, usize)],
        users: usize,
        of: impl Fn(&[Resample]) -> Vec<f64> + Sync + Send,
    ) -> Vec<Interval> {
        let whole: Vec<Resample> = sides.iter().map(|&(_, cells)| Resample::whole(cells, users)).collect();
        let draws = |resample| sides.iter().map(|&(row, cells)| self.draw(row, resample, cells, users)).collect();
        intervals(&of(&whole), self.resamples, |resample| {
            let draws: Vec<Resample> = draws(resample);
            of(&draws)
        })
    }

    fn draw(&self, row: u64, resample: usize, cells: usize, users: usize) -> Resample {
        let counts = |keys: &[u64], of: usize, columns: usize| {
            let mut draw = rng(keys);
            let mut counts = vec![vec![0.0; columns]; of];
            let mut column = |column: usize| {
                for _ in 0..of {
                    counts[draw.random_range(0..of)][column] += 1.0;
                }
            };
            (0..columns).for_each(&mut column);
            counts
        };
        let resample = resample as u64;
        match self.resampling {
            Resampling::None | Resampling::Crossed => Resample {
                users: counts(&[self.seed, 0x05e5, resample], users, 1).into_iter().flatten().collect(),
                cells: counts(&[self.seed, 0xce11, row, resample], cells, 1),
            },
            Resampling::Stratified => {
                Resample { users: vec![1.0; users], cells: counts(&[self.seed, 0x57a7, row, resample], cells, users) }
            }
        }
    }
}

/// `found` with the interval that `resamples` values of each give.
fn intervals(found: &[f64], resamples: usize, value: impl Fn(usize) -> Vec<f64> + Sync + Send) -> Vec<Interval> {
    let drawn: Vec<Vec<f64>> = (0..resamples).into_par_iter().map(value).collect();
    let interval = |(k, &mean): (usize, &f64)| {
        let mut values: Vec<f64> = drawn.iter().map(|values| values[k]).collect();
        values.sort_by(f64::total_cmp);
        // Sums of equal numbers differ in their last digits when they are grouped differently: that is no variation.
        let end = |at: f64| if (at - mean).abs() <= 1e-9 * mean.abs() { mean } else { at };
        Interval { mean, low: end(quantile(&values, 0.025)), high: end(quantile(&values, 0.975)) }
    };
    found.iter().enumerate().map(interval).collect()
}

/// The quantile of sorted values, between neighbours by a straight line (Hyndman and Fan 1996, definition 7).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, share_above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (share_above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::aggregates::{ProbImprovement, SortedRuns};
    use super::*;

    fn mean(top: &ScoreMatrix) -> Interval {
        let bootstrap = Bootstrap { seed: 1, resamples: 2000, resampling: Resampling::Crossed };
        bootstrap.intervals(&[(0, top.len())], top[0].len(), |draws| vec![draws[0].mean(top)])[0]
    }

    #[test]
    fn the_interval_holds_the_mean_has_the_normal_width_and_shrinks_with_users() {
        // Half zeros, half ones: the deviation of the mean of n users is 1/(2√n).
        let width = |users: usize| {
            let found = mean(&vec![(0..users).map(|u| (u % 2) as f64).collect()]);
            assert_eq!(found.mean, 0.5);
            assert!(found.low < 0.5 && found.high > 0.5, "{found:?}");
            found.high - found.low
        };
        for users in [100, 1600] {
            let normal = 2.0 * 1.96 * 0.5 / (users as f64).sqrt();
            assert!((width(users) / normal - 1.0).abs() < 0.1, "{users}: {} for {normal}", width(users));
        }
    }

    #[test]
    fn seeds_that_disagree_widen_it_and_users_count_once_for_all_seeds() {
        // Every user alike: only seeds vary. Five seeds of deviation √2 around 3: about 2·1.96·√2/√5.
        let seeds = mean(&(1..=5).map(|k| vec![f64::from(k); 50]).collect());
        assert_eq!(seeds.mean, 3.0);
        assert!((seeds.high - seeds.low - 2.48).abs() < 0.25, "{seeds:?}");
        // Five seeds that agree tell no more of users than one does.
        let row: Vec<f64> = (0..100).map(|u| f64::from(u % 10)).collect();
        let (one, five) = (mean(&vec![row.clone()]), mean(&vec![row; 5]));
        assert!((one.low - five.low).abs() < 1e-9 && (one.high - five.high).abs() < 1e-9);
    }

    #[test]
    fn where_nothing_varies_the_ends_are_the_mean_itself() {
        let found = mean(&vec![vec![0.1; 943]; 3]);
        assert_eq!((found.low, found.high), (found.mean, found.mean));
    }

    #[test]
    fn stratified_keeps_users_and_takes_their_seeds_for_independent() {
        let bootstrap = Bootstrap { seed: 1, resamples: 2000, resampling: Resampling::Stratified };
        let interval = |top: &ScoreMatrix| {
            bootstrap.intervals(&[(0, top.len())], top[0].len(), |draws| vec![draws[0].mean(top)])[0]
        };
        // Users differ, seeds do not: nothing varies.
        let users = interval(&vec![(0..50).map(f64::from).collect(); 3]);
        assert_eq!((users.low, users.high), (users.mean, users.mean));
        // Five seeds of deviation √2, drawn anew for each of 50 users: 2·1.96·√2/√(5·50).
        let seeds = interval(&(1..=5).map(|k| vec![f64::from(k); 50]).collect());
        assert!((seeds.high - seeds.low - 0.3506).abs() < 0.035, "{seeds:?}");
    }

    #[test]
    fn quantiles_are_by_a_line() {
        assert_eq!(quantile(&[0.0, 1.0, 2.0, 3.0, 4.0], 0.625), 2.5);
    }

    /// What rliable says about the same scores, with the very indices that it drew (`tests/data/record_rliable.py`).
    #[test]
    fn point_estimates_and_intervals_are_those_of_rliable() {
        let recorded: Value = serde_json::from_str(include_str!("../../../tests/data/rliable.json")).unwrap();
        let floats = |value: &Value| -> Vec<f64> { serde_json::from_value(value.clone()).unwrap() };
        let grid = |name: &str| -> ScoreMatrix { serde_json::from_value(recorded[name].clone()).unwrap() };
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-9, "{found} for {wanted}");
        let (x, y) = (grid("x"), grid("y"));
        let (users, sorted, improvement_of) = (x[0].len(), SortedRuns::new(&x), ProbImprovement::new(&x, &y));
        // `indices [S][N]`: which run stands in for each run of each task.
        let draw = |indices: &Value| -> Resample {
            let indices: Vec<Vec<usize>> = serde_json::from_value(indices.clone()).unwrap();
            let mut cells = vec![vec![0.0; users]; indices.len()];
            for row in &indices {
                for (user, &run) in row.iter().enumerate() {
                    cells[run][user] += 1.0;
                }
            }
            Resample { users: vec![1.0; users], cells }
        };
        for (name, draws, of) in [
            (
                "iqm",
                &recorded["iqm"]["draws"],
                &(|d: &[Resample]| sorted.interquartile_mean(&d[0])) as &(dyn Fn(&[Resample]) -> f64 + Sync),
            ),
            ("mean", &recorded["mean"]["draws"], &|d: &[Resample]| d[0].mean(&x)),
            ("probability_of_improvement", &recorded["probability_of_improvement"]["draws"], &|d: &[Resample]| {
                improvement_of.improvement(&d[0], &d[1])
            }),
        ] {
            let whole = [Resample::whole(x.len(), users), Resample::whole(y.len(), users)];
            let draws = draws.as_array().unwrap();
            let found = intervals(&[of(&whole)], draws.len(), |k| {
                vec![of(&draws[k].as_array().unwrap().iter().map(&draw).collect::<Vec<_>>())]
            })[0];
            near(found.mean, recorded[name]["value"].as_f64().unwrap());
            let wanted = floats(&recorded[name]["interval"]);
            near(found.low, wanted[0]);
            near(found.high, wanted[1]);
        }
        let profile = sorted.share_above(&floats(&recorded["thresholds"]), &Resample::whole(x.len(), users));
        for (found, wanted) in profile.iter().zip(floats(&recorded["profile"])) {
            near(*found, wanted);
        }
    }
}
