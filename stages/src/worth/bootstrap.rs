//! Mean returns of every cell of a study, and of resamples of its draws and users.
//!
//! Draws are drawn with replacement within each half, users once for the whole study, because the same users play in both halves and
//! with every arm. Each statistic is computed from the means of one resample, curve and inverse included, so its interval has all of
//! their uncertainty (paired bootstrap; Efron and Tibshirani 1993, ch. 8 and 13).

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use rand::RngExt;
use rayon::prelude::*;

use crate::artifact::Arm;
use crate::nn::rng;

/// The mean return of an arm in a world with N ratings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mean {
    pub world: String,
    pub arm: Arm,
    pub n: u32,
}

/// The mean returns of everything, by cell.
pub(super) type Means = BTreeMap<Mean, f64>;

/// The returns of a study: of each half, cell and draw one a user.
#[derive(Default)]
pub(super) struct Study {
    users: Option<Vec<u32>>,
    /// Half → cell → draw → returns.
    halves: BTreeMap<String, BTreeMap<Mean, BTreeMap<u32, Vec<f32>>>>,
}

impl Study {
    /// Adds the returns of one cell and draw of `half`.
    pub fn add(&mut self, half: &str, cell: Mean, draw: u32, users: &[u32], returns: Vec<f32>) -> Result<()> {
        let known = self.users.get_or_insert_with(|| users.to_vec());
        ensure!(
            known == users,
            "half `{half}` was evaluated with {} users, another one with {}, or with others\nhelp: evaluate all \
             with the same users; `users` draws them in `worth.returns` and takes the first ones in `evaluate`, so leave it out of both",
            users.len(),
            known.len()
        );
        let cells = self.halves.entry(half.to_owned()).or_default();
        let said = format!("{cell:?}");
        let other = cells.entry(cell).or_default().insert(draw, returns);
        ensure!(other.is_none(), "draw {draw} of half `{half}` came twice: {said}");
        Ok(())
    }

    /// The halves with their numbers of draws, in words.
    pub fn size(&self) -> String {
        let draws = |cells: &BTreeMap<Mean, BTreeMap<u32, Vec<f32>>>| {
            let counts: Vec<usize> = cells.values().map(BTreeMap::len).collect();
            let (least, most) = (counts.iter().min().copied().unwrap_or(0), counts.iter().max().copied().unwrap_or(0));
            if least == most { format!("{most} draws") } else { format!("{least} to {most} draws") }
        };
        let halves = self.halves.iter().map(|(half, cells)| format!("{half}: {}", draws(cells)));
        let users = self.users.as_ref().map_or(0, Vec::len);
        format!("{users} users; {}", halves.collect::<Vec<_>>().join(", "))
    }

    /// Refuses a study in which a cell is missing in a half: its mean would be of other halves than its neighbour's.
    pub fn check(&self) -> Result<()> {
        let Some((first, cells)) = self.halves.iter().next() else { anyhow::bail!("no returns at all") };
        for (half, others) in &self.halves {
            if let Some(cell) = cells.keys().find(|cell| !others.contains_key(cell)) {
                anyhow::bail!(
                    "half `{half}` lacks {cell:?}, which half `{first}` has\nhelp: evaluate both halves with the same settings"
                );
            }
            if let Some(cell) = others.keys().find(|cell| !cells.contains_key(cell)) {
                anyhow::bail!(
                    "half `{first}` lacks {cell:?}, which half `{half}` has\nhelp: evaluate both halves with the same settings"
                );
            }
        }
        Ok(())
    }

    /// The means of the study itself.
    pub fn means(&self) -> Means {
        let users = vec![1.0; self.users.as_ref().map_or(0, Vec::len)];
        self.weighted(&users, &mut |_, draws| vec![1.0; draws])
    }

    /// `of` each of `count` resamples of `seed`, in their order.
    pub fn resampled<T: Send>(&self, count: usize, seed: u64, of: impl Fn(Means) -> T + Sync) -> Vec<T> {
        let users = self.users.as_ref().map_or(0, Vec::len);
        let one = |resample: usize| {
            let counts = |of: usize, purpose: &[u64]| {
                let mut draw = rng(&[&[seed, resample as u64], purpose].concat());
                let mut counts = vec![0.0; of];
                (0..of).for_each(|_| counts[draw.random_range(0..of)] += 1.0);
                counts
            };
            let users = counts(users, &[0x05e5]);
            of(self.weighted(&users, &mut |half, draws| counts(draws, &[0xd2a3, half as u64, draws as u64])))
        };
        (0..count).into_par_iter().map(one).collect()
    }

    /// The mean of every cell over halves, with these counts of users and, of the draws of a half, those that `draws` gives. Arms with
    /// equal numbers of draws get the same counts, which pairs them.
    fn weighted(&self, users: &[f64], draws: &mut dyn FnMut(usize, usize) -> Vec<f64>) -> Means {
        let mut means = Means::new();
        let everybody: f64 = users.iter().sum();
        for (at, cells) in self.halves.values().enumerate() {
            let mut counts: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
            for (cell, of_draws) in cells {
                let counts = counts.entry(of_draws.len()).or_insert_with(|| draws(at, of_draws.len()));
                let mut sum = 0.0;
                for (returns, count) in of_draws.values().zip(&*counts).filter(|(_, count)| **count > 0.0) {
                    sum += count * returns.iter().zip(users).map(|(&x, n)| f64::from(x) * n).sum::<f64>();
                }
                let mean = sum / everybody / counts.iter().sum::<f64>() / self.halves.len() as f64;
                *means.entry(cell.clone()).or_default() += mean;
            }
        }
        means
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(n: u32) -> Mean {
        Mean { world: "w".into(), arm: Arm::new("popular", ""), n }
    }

    #[test]
    fn means_are_over_halves_draws_and_users() {
        let mut study = Study::default();
        study.add("a", cell(1), 0, &[3, 5], vec![1.0, 2.0]).unwrap();
        study.add("a", cell(1), 1, &[3, 5], vec![3.0, 4.0]).unwrap();
        study.add("b", cell(1), 0, &[3, 5], vec![10.0, 20.0]).unwrap();
        assert_eq!(study.means()[&cell(1)], (2.5 + 15.0) / 2.0);
        assert_eq!(study.size(), "2 users; a: 2 draws, b: 1 draws");
        assert!(study.add("b", cell(1), 0, &[3, 5], vec![0.0; 2]).is_err(), "twice");
        assert!(study.add("b", cell(1), 1, &[3], vec![0.0]).is_err(), "other users");
        study.add("b", cell(2), 0, &[3, 5], vec![0.0; 2]).unwrap();
        assert!(study.check().unwrap_err().to_string().starts_with("half `a` lacks"));
    }

    #[test]
    fn resamples_vary_as_the_mean_does_and_pair_arms() {
        let mut study = Study::default();
        let users: Vec<u32> = (0..40).collect();
        for draw in 0..25 {
            // Draws differ by a standard deviation of about 7.2, users not at all.
            let level = draw as f32;
            study.add("a", cell(1), draw, &users, vec![level; 40]).unwrap();
            study.add("a", cell(2), draw, &users, vec![level + 1.0; 40]).unwrap();
        }
        let found = study.resampled(2000, 1, |means| (means[&cell(1)], means[&cell(2)]));
        assert_eq!(found, study.resampled(2000, 1, |means| (means[&cell(1)], means[&cell(2)])));
        let mean = found.iter().map(|(x, _)| x).sum::<f64>() / 2000.0;
        let deviation = (found.iter().map(|(x, _)| (x - mean).powi(2)).sum::<f64>() / 2000.0).sqrt();
        assert!((mean - 12.0).abs() < 0.2 && (deviation - 7.21 / 5.0).abs() < 0.1, "{mean} {deviation}");
        assert!(found.iter().all(|(x, y)| (y - x - 1.0).abs() < 1e-9));
    }
}
