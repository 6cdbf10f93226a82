//! Numbers of many runs that are no sums: the interquartile mean, the performance profile, the probability of improvement
//! (Agarwal et al. 2021, arXiv 2108.13264). A run is a cell with a user.

use super::bootstrap::{Resample, ScoreMatrix};

/// The runs of one row, by value.
pub(super) struct SortedRuns {
    /// Value, cell, user.
    runs: Vec<(f64, usize, usize)>,
}

impl SortedRuns {
    /// The runs of a grid.
    pub fn new(grid: &ScoreMatrix) -> Self {
        let of = |(cell, row): (usize, &Vec<f64>)| {
            row.iter().enumerate().map(|(user, &value)| (value, cell, user)).collect::<Vec<_>>()
        };
        let mut runs: Vec<_> = grid.iter().enumerate().flat_map(of).collect();
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self { runs }
    }

    /// The interquartile mean: the mean without the lowest ⌊n/4⌋ and the highest ⌊n/4⌋ of n runs.
    pub fn interquartile_mean(&self, draw: &Resample) -> f64 {
        let all = draw.runs();
        let cut = (all / 4.0).floor();
        let (mut passed, mut sum) = (0.0, 0.0);
        for &(value, cell, user) in &self.runs {
            let count = draw.count(cell, user);
            // Of `count` equal runs those between the cuts.
            let kept = (passed + count).min(all - cut) - f64::max(passed, cut);
            if kept > 0.0 {
                sum += kept * value;
            }
            passed += count;
        }
        sum / (all - 2.0 * cut)
    }

    /// The lowest and the highest run between the cuts of [`interquartile_mean`](Self::interquartile_mean), and the share of runs there.
    pub fn interquartile_range(&self) -> (f64, f64, f64) {
        let (runs, cut) = (self.runs.len(), self.runs.len() / 4);
        (self.runs[cut].0, self.runs[runs - cut - 1].0, (runs - 2 * cut) as f64 / runs as f64)
    }

    /// The share of runs above each of the rising `thresholds`.
    pub fn share_above(&self, thresholds: &[f64], draw: &Resample) -> Vec<f64> {
        let mut share_above = Vec::with_capacity(thresholds.len());
        let (mut next, mut passed) = (0, 0.0);
        for &threshold in thresholds {
            while let Some(&(_, cell, user)) = self.runs.get(next).filter(|run| run.0 <= threshold) {
                passed += draw.count(cell, user);
                next += 1;
            }
            share_above.push(1.0 - passed / draw.runs());
        }
        share_above
    }
}

/// Every run of one row against every run of another with the same user.
pub(super) struct ProbImprovement {
    /// `[Sx][Sy][N]`: 1 where the one is better, ½ where they are equal.
    wins: Vec<Vec<Vec<f64>>>,
}

impl ProbImprovement {
    /// `x [Sx][N]` against `y [Sy][N]`.
    pub fn new(x: &ScoreMatrix, y: &ScoreMatrix) -> Self {
        let win = |(a, b): (&f64, &f64)| if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
        let against = |row: &Vec<f64>| y.iter().map(|other| row.iter().zip(other).map(win).collect()).collect();
        Self { wins: x.iter().map(against).collect() }
    }

    /// How each run of `x` does against all of `y`, and each of `y` against all of `x`: `[Sx][N]` and `[Sy][N]`, shares of wins of `x`.
    pub fn sides(&self) -> [ScoreMatrix; 2] {
        let users = self.wins[0][0].len();
        let mean = |rows: Vec<&Vec<f64>>| -> Vec<f64> {
            (0..users).map(|user| rows.iter().map(|row| row[user]).sum::<f64>() / rows.len() as f64).collect()
        };
        let x = self.wins.iter().map(|against| mean(against.iter().collect())).collect();
        let y = (0..self.wins[0].len()).map(|run| mean(self.wins.iter().map(|against| &against[run]).collect()));
        [x, y.collect()]
    }

    /// The probability of improvement: the mean over users of the share of pairs of runs that `x` wins. The draws share their
    /// users.
    pub fn improvement(&self, x: &Resample, y: &Resample) -> f64 {
        let mut sum = 0.0;
        for (wins, own) in self.wins.iter().zip(&x.cells) {
            for (wins, other) in wins.iter().zip(&y.cells) {
                sum += match (own.as_slice(), other.as_slice()) {
                    ([a], [b]) if a * b == 0.0 => 0.0,
                    ([a], [b]) => a * b * wins.iter().zip(&x.users).map(|(win, n)| win * n).sum::<f64>(),
                    _ => {
                        let pairs = own.iter().zip(other).zip(&x.users).map(|((a, b), n)| a * b * n);
                        wins.iter().zip(pairs).map(|(win, count)| win * count).sum()
                    }
                };
            }
        }
        sum / (x.runs() * y.cells.len() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_half_by_hand() {
        // Of ten runs the lowest two and the highest two are left out: (3 + 4 + 5 + 6 + 7 + 8)/6.
        let grid = vec![vec![10.0, 9.0, 1.0, 2.0, 3.0], vec![8.0, 4.0, 5.0, 7.0, 6.0]];
        let sorted = SortedRuns::new(&grid);
        assert_eq!(sorted.interquartile_mean(&Resample::whole(2, 5)), 5.5);
        // The first user five times, in both cells: five 10 and five 8, of which three and three stay.
        let draw = Resample { users: vec![5.0, 0.0, 0.0, 0.0, 0.0], cells: vec![vec![1.0]; 2] };
        assert_eq!(sorted.interquartile_mean(&draw), 9.0);
        assert_eq!(sorted.share_above(&[0.0, 5.0, 10.0], &Resample::whole(2, 5)), [1.0, 0.5, 0.0]);
        assert_eq!(sorted.share_above(&[8.0], &draw), [0.5]);
    }

    #[test]
    fn who_beats_whom_by_hand() {
        // User 0: 3 beats 1 and ties 3; user 1: 0 loses to 1 and beats nobody: (1 + ½)/2, 0.
        let improvement_of = ProbImprovement::new(&vec![vec![3.0, 0.0]], &vec![vec![1.0, 1.0], vec![3.0, 2.0]]);
        assert_eq!(improvement_of.improvement(&Resample::whole(1, 2), &Resample::whole(2, 2)), 0.375);
        let draw = |cells: Vec<Vec<f64>>| Resample { users: vec![2.0, 0.0], cells };
        assert_eq!(improvement_of.improvement(&draw(vec![vec![1.0]]), &draw(vec![vec![2.0], vec![0.0]])), 1.0);
    }
}
