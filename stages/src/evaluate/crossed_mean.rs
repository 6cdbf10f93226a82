//! The mean over training seeds and users, or the difference of two such means, with a t interval: two-way random effects.
//!
//! A score is x_sn = m + a_s + b_n + e_sn of seed s and user n. With the mean squares of the analysis of variance
//! (Searle 1971, ch. 9), Var(mean) = (MS_users + max(0, MS_seeds − MS_rest)) / (S·N), where MS_rest is that of what neither
//! explains. A difference of two rows shares its users: those enter by the differences of each user, the seeds of each row by their
//! own. The degrees of freedom are Satterthwaite's (1946): Var² / Σ part²/df. With one seed that is the (paired) t test over
//! users; with many users and few seeds, that over seeds.
//!
//! The percentile bootstrap over five seeds covers 84 % where it says 95 %; this covers what it says (tested by simulation).
//! One seed says nothing of another: its interval is over users only.

use super::aggregates::{ProbImprovement, SortedRuns};
use super::bootstrap::{Interval, Resample, ScoreMatrix};
use crate::ratings::{student_t_p, student_t_quantile};

/// 1 − the level of the intervals.
const LEVEL: f64 = 0.05;

/// A mean or a difference of means, its variance, and the degrees of freedom of that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CrossedMean {
    pub mean: f64,
    variance: f64,
    df: f64,
}

impl CrossedMean {
    /// Of a row's scores.
    pub fn of(x: &ScoreMatrix) -> Self {
        Self::of_sides(&user_means(x), &[x])
    }

    /// Of `x` less `y`, the same users on both sides.
    pub fn of_difference(x: &ScoreMatrix, y: &ScoreMatrix) -> Self {
        let differences: Vec<f64> = user_means(x).iter().zip(user_means(y)).map(|(x, y)| x - y).collect();
        Self::of_sides(&differences, &[x, y])
    }

    /// Of Σ top / Σ bottom, by the delta method: the ratio is a mean of x + (top − ratio·bottom)/mean(bottom).
    pub fn of_ratio([top, bottom]: &[ScoreMatrix; 2]) -> Self {
        let runs = top.iter().map(Vec::len).sum::<usize>() as f64;
        let [above, below] = [top, bottom].map(|x| x.iter().flatten().sum::<f64>());
        // Where no user stayed for a single step, no reward was paid either.
        let below = below.max(1.0);
        let ratio = above / below;
        let of = |(t, b): (&f64, &f64)| ratio + (t - ratio * b) * runs / below;
        let linear = top.iter().zip(bottom).map(|(top, bottom)| top.iter().zip(bottom).map(of).collect());
        Self { mean: ratio, ..Self::of(&linear.collect()) }
    }

    /// Of the interquartile mean, whose variance is that of the winsorised scores over the kept share squared (Tukey and McLaughlin
    /// 1963).
    pub fn of_interquartile_mean(x: &ScoreMatrix) -> Self {
        let runs = SortedRuns::new(x);
        let mean = runs.interquartile_mean(&Resample::whole(x.len(), x[0].len()));
        let (low, high, kept) = runs.interquartile_range();
        let clipped = |row: &Vec<f64>| row.iter().map(|x| x.clamp(low, high) / kept).collect();
        Self { mean, ..Self::of(&x.iter().map(clipped).collect()) }
    }

    /// Of the probability of improvement: each side enters by its mean against all runs of the other (Hájek's projection).
    pub fn of_improvement(improvement: &ProbImprovement) -> Self {
        let [x, y] = improvement.sides();
        Self::of_sides(&user_means(&x), &[&x, &y])
    }

    fn of_sides(users: &[f64], sides: &[&ScoreMatrix]) -> Self {
        let n = users.len() as f64;
        let mean = users.iter().sum::<f64>() / n;
        let (mut variance, mut squares_over_df) = (0.0, 0.0);
        let mut add = |part: f64, df: f64| {
            if df > 0.0 {
                squares_over_df += part * part / df;
            }
        };
        if users.len() > 1 {
            let part = users.iter().map(|user| (user - mean).powi(2)).sum::<f64>() / (n - 1.0) / n;
            variance += part;
            add(part, n - 1.0);
        }
        for side in sides {
            let squares = SeedSquares::of(side);
            if squares.seeds > squares.rest {
                let s = side.len() as f64;
                let [seeds, rest] = [squares.seeds, squares.rest].map(|squares| squares / (s * n));
                variance += seeds - rest;
                add(seeds, s - 1.0);
                add(rest, (s - 1.0) * (n - 1.0));
            }
        }
        // Sums of equal numbers differ in their last digits: that is no variation.
        if variance.sqrt() <= 1e-12 * mean.abs() {
            (variance, squares_over_df) = (0.0, 0.0);
        }
        let df = if squares_over_df > 0.0 { variance * variance / squares_over_df } else { 0.0 };
        Self { mean, variance, df }
    }

    /// Whether there is more than one seed or user, and they differ.
    pub fn is_tested(&self) -> bool {
        self.variance > 0.0 && self.df > 0.0
    }

    /// The 95 % interval; without a width where nothing varies.
    pub fn interval(&self) -> Interval {
        let half = if self.is_tested() { student_t_quantile(LEVEL, self.df) * self.variance.sqrt() } else { 0.0 };
        Interval { mean: self.mean, low: self.mean - half, high: self.mean + half }
    }

    /// The interval of a share, which ends at 0 and 1.
    pub fn share_interval(&self) -> Interval {
        let Interval { mean, low, high } = self.interval();
        Interval { mean, low: low.max(0.0).min(mean), high: high.min(1.0).max(mean) }
    }

    /// How likely a mean so far from 0 is where the true one is 0; 1 where nothing was put to a test.
    pub fn p(&self) -> f64 {
        if self.is_tested() { student_t_p(self.mean / self.variance.sqrt(), self.df) } else { 1.0 }
    }
}

/// Of each user the mean over seeds.
fn user_means(x: &ScoreMatrix) -> Vec<f64> {
    let users = x.first().map_or(0, Vec::len);
    (0..users).map(|user| x.iter().map(|row| row[user]).sum::<f64>() / x.len() as f64).collect()
}

/// Mean squares of the seeds, and of what neither seeds nor users explain; 0 where there is one seed or one user.
struct SeedSquares {
    seeds: f64,
    rest: f64,
}

impl SeedSquares {
    fn of(x: &ScoreMatrix) -> Self {
        if x.len() < 2 {
            return Self { seeds: 0.0, rest: 0.0 };
        }
        let users = user_means(x);
        let (s, n) = (x.len() as f64, users.len() as f64);
        let mean = users.iter().sum::<f64>() / n;
        let of_seed: Vec<f64> = x.iter().map(|row| row.iter().sum::<f64>() / n).collect();
        let seeds = of_seed.iter().map(|seed| (seed - mean).powi(2)).sum::<f64>() * n / (s - 1.0);
        let rest = |(row, seed): (&Vec<f64>, &f64)| -> f64 {
            row.iter().zip(&users).map(|(x, user)| (x - user - seed + mean).powi(2)).sum()
        };
        let rest: f64 = x.iter().zip(&of_seed).map(rest).sum();
        Self { seeds, rest: if users.len() > 1 { rest / ((s - 1.0) * (n - 1.0)) } else { 0.0 } }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::super::bootstrap::{Bootstrap, Resampling};
    use super::*;
    use crate::nn::rng;

    fn near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-9 * wanted.abs().max(1.0), "{found} for {wanted}");
    }

    #[test]
    fn one_seed_is_the_paired_t_test_over_users() {
        // Differences 1, 2, 3, 6: mean 3, standard error √(14/3/4) = 1.0801; t = 2.7775 with 3 degrees of freedom.
        let x = vec![vec![2.0, 4.0, 6.0, 10.0]];
        let found = CrossedMean::of_difference(&x, &vec![vec![1.0, 2.0, 3.0, 4.0]]);
        let error = (14.0_f64 / 12.0).sqrt();
        near(found.p(), student_t_p(3.0 / error, 3.0));
        near(found.interval().high, 3.0 + 3.182_446_305_283_71 * error);
        assert_eq!(CrossedMean::of(&vec![vec![1.0, 2.0, 3.0, 6.0]]).p(), found.p());
    }

    #[test]
    fn one_number_a_seed_is_the_t_interval_over_seeds_and_two_rows_are_welchs() {
        let column = |values: &[f64]| -> ScoreMatrix { values.iter().map(|&value| vec![value]).collect() };
        let x = column(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        near(CrossedMean::of(&x).interval().high, 3.0 + 2.776_445_105_197_79 * 0.5_f64.sqrt());
        // SciPy: ttest_ind([1, 2, 3, 4, 5], [0, 1, 5], equal_var=False).pvalue.
        near(CrossedMean::of_difference(&x, &column(&[0.0, 1.0, 5.0])).p(), 0.595_834_480_392_379_5);
    }

    #[test]
    fn where_nothing_varies_nothing_is_tested() {
        for x in [vec![vec![0.1; 943]; 3], vec![vec![4.0]]] {
            let found = CrossedMean::of(&x);
            assert!(!found.is_tested() && found.p() == 1.0);
            assert_eq!((found.interval().low, found.interval().high), (found.mean, found.mean));
        }
        let equal = CrossedMean::of_difference(&vec![vec![0.3, 0.7]; 2], &vec![vec![0.3, 0.7]; 5]);
        assert_eq!((equal.mean, equal.p()), (0.0, 1.0));
    }

    #[test]
    fn sixteen_users_are_not_many() {
        // 2.1 standard errors: p 0.036 by the normal distribution, 0.053 by t with 15 degrees of freedom.
        let spread = |k: u32| if k.is_multiple_of(2) { 1.0 } else { -1.0 };
        let mean = 2.1 / 15.0_f64.sqrt();
        let found = CrossedMean::of(&vec![(0..16).map(|k| mean + spread(k)).collect()]);
        assert!((found.p() - 0.053).abs() < 5e-4, "{}", found.p());
        assert!(found.interval().low < 0.0);
    }

    #[test]
    fn over_many_users_intervals_are_those_of_the_bootstrap() {
        let mut numbers = rng(&[11]);
        let mut normal = || (0..12).map(|_| numbers.random::<f64>()).sum::<f64>() - 6.0;
        let x: ScoreMatrix = (0..3).map(|_| (0..600).map(|_| 3.0 + normal()).collect()).collect();
        let x: ScoreMatrix =
            x.iter().map(|row| row.iter().zip(&x[0]).map(|(x, user)| 0.5 * x + 2.0 * user).collect()).collect();
        let y: ScoreMatrix = vec![(0..600).map(|_| 7.0 + normal()).collect()];
        let bootstrap = Bootstrap { seed: 1, resamples: 4000, resampling: Resampling::Crossed };
        let (sorted, improvement) = (SortedRuns::new(&y), ProbImprovement::new(&x, &y));
        let drawn = bootstrap.intervals(&[(0, 3), (1, 1)], 600, |draws| {
            vec![
                draws[0].mean(&x),
                draws[0].mean(&x) - draws[1].mean(&y),
                draws[1].sum(&y) / draws[0].sum(&x),
                sorted.interquartile_mean(&draws[1]),
                improvement.improvement(&draws[0], &draws[1]),
            ]
        });
        let one = vec![x[0].clone()];
        let ratio = [y.clone(), one.clone()];
        let found = [
            CrossedMean::of(&x),
            CrossedMean::of_difference(&x, &y),
            CrossedMean::of_ratio(&ratio),
            CrossedMean::of_interquartile_mean(&y),
            CrossedMean::of_improvement(&improvement),
        ];
        for (place, (found, drawn)) in found.iter().zip(&drawn).enumerate().filter(|(place, _)| *place != 2) {
            assert!((found.mean - drawn.mean).abs() < 1e-12, "{place}");
            let (width, wanted) = (found.interval().high - found.interval().low, drawn.high - drawn.low);
            assert!((width / wanted - 1.0).abs() < 0.08, "{place}: {width} for {wanted}");
        }
        let drawn = bootstrap.intervals(&[(0, 1)], 600, |draws| vec![draws[0].sum(&y) / draws[0].sum(&one)])[0];
        let interval = found[2].interval();
        assert!((interval.mean - drawn.mean).abs() < 1e-12);
        assert!(((interval.high - interval.low) / (drawn.high - drawn.low) - 1.0).abs() < 0.08);
    }

    #[test]
    fn shares_end_at_none_and_all() {
        let rare = CrossedMean::of(&vec![vec![0.0, 0.0, 0.0, 1.0]]).share_interval();
        assert_eq!((rare.low, rare.mean), (0.0, 0.25));
        let high = CrossedMean::of(&vec![vec![1.0, 1.0, 0.0, 1.0]]).share_interval();
        assert_eq!((high.mean, high.high), (0.75, 1.0));
    }

    /// How often the interval of simulated rows holds what is true; `spread`: deviations of seeds, users and the rest.
    fn coverage([seeds, users]: [usize; 2], spread: [f64; 3], difference: bool) -> f64 {
        let (mut held, draws) = (0, 1500);
        for draw in 0..draws {
            let mut numbers = rng(&[7, draw]);
            // Nearly normal: four uniform numbers.
            let mut normal = || ((0..4).map(|_| numbers.random::<f64>()).sum::<f64>() - 2.0) * 3.0_f64.sqrt();
            let people: Vec<f64> = (0..users).map(|_| spread[1] * normal()).collect();
            let mut side = |same: f64| -> ScoreMatrix {
                let row = |_| {
                    let seed = spread[0] * normal();
                    people.iter().map(|person| seed + same * person + spread[2] * normal()).collect()
                };
                (0..seeds).map(row).collect()
            };
            let x = side(1.0);
            let found = if difference { CrossedMean::of_difference(&x, &side(0.5)) } else { CrossedMean::of(&x) };
            let Interval { low, high, .. } = found.interval();
            held += u32::from(low <= 0.0 && 0.0 <= high);
        }
        f64::from(held) / draws as f64
    }

    /// 1,500 draws know a coverage of 95 % to ± 1.1 %.
    #[test]
    fn intervals_cover_what_they_say_over_few_seeds_and_few_users() {
        for (shape, spread) in [
            ([5, 1], [1.0, 0.0, 0.0]),
            ([5, 16], [1.0, 0.5, 0.5]),
            ([5, 16], [0.2, 1.0, 0.5]),
            ([5, 16], [1.0, 1.0, 1.0]),
            ([1, 16], [0.0, 1.0, 0.0]),
        ] {
            for difference in [false, true] {
                let found = coverage(shape, spread, difference);
                assert!((0.93..0.97).contains(&found), "{shape:?} {spread:?} {difference}: {found}");
            }
        }
    }
}
