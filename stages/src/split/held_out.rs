//! Which rows each rule holds out.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::{By, Split};
use crate::artifact::Interactions;
use crate::nn::rng;

impl Split {
    /// Of each row of `log` whether it is held out; `rows_of`: the rows of each user, by time.
    pub(super) fn held_out(&self, log: &Interactions, rows_of: &[Vec<usize>]) -> Result<Vec<bool>> {
        Ok(match self.by {
            By::Time => last(rows_of, log.len(), |rows| self.share(rows)),
            By::LeaveNOut(count) => last(rows_of, log.len(), |rows| count.min(rows.saturating_sub(1))),
            By::Random => self.drawn(rows_of, log.len()),
            By::GlobalTime => self.late(log)?,
            By::GlobalRandom => self.of_whole_log(log),
            By::User => self.of_some(&log.user, 0x5b17),
            By::Item => self.of_some(&log.item, 0x5b18),
            // The test part is an input.
            By::Predefined => vec![false; log.len()],
        })
    }

    /// How many of `count` are held out.
    fn share(&self, count: usize) -> usize {
        let kept = (count as f64 * self.test_fraction).round() as usize;
        kept.clamp(usize::from(count > 1), count.saturating_sub(1))
    }

    /// Any rows of each user.
    fn drawn(&self, rows_of: &[Vec<usize>], rows: usize) -> Vec<bool> {
        let mut held = vec![false; rows];
        for (user, of_user) in rows_of.iter().enumerate() {
            let mut drawn = of_user.clone();
            drawn.shuffle(&mut rng(&[self.seed, 0x5917, user as u64]));
            for &row in &drawn[drawn.len() - self.share(drawn.len())..] {
                held[row] = true;
            }
        }
        held
    }

    /// Any rows of the log.
    fn of_whole_log(&self, log: &Interactions) -> Vec<bool> {
        let mut held = vec![false; log.len()];
        for row in log.sample_rows(self.share(log.len()), self.seed) {
            held[row] = true;
        }
        held
    }

    /// The rows from the time of the cut on.
    fn late(&self, log: &Interactions) -> Result<Vec<bool>> {
        let mut times = log.timestamp.clone();
        times.par_sort_unstable();
        let cut = times[times.len() - self.share(times.len()).max(1)];
        if cut == times[0] {
            bail!(
                "the log has no time before {cut}, at which the share of {} is cut\nhelp: cut by `user`, or a smaller share",
                self.test_fraction
            );
        }
        Ok(log.timestamp.iter().map(|&time| time >= cut).collect())
    }

    /// The rows of the users, or items, that are drawn; `of`: whose each row is. Who has no row is not drawn.
    fn of_some(&self, of: &[u32], purpose: u64) -> Vec<bool> {
        let mut with_rows: Vec<u32> = of.iter().copied().collect::<BTreeSet<u32>>().into_iter().collect();
        with_rows.shuffle(&mut rng(&[self.seed, purpose]));
        let drawn: BTreeSet<u32> = with_rows[..self.share(with_rows.len())].iter().copied().collect();
        of.iter().map(|one| drawn.contains(one)).collect()
    }
}

/// The last rows of each user, as many as `kept` says of their count.
fn last(rows_of: &[Vec<usize>], rows: usize, kept: impl Fn(usize) -> usize) -> Vec<bool> {
    let mut held = vec![false; rows];
    for of_user in rows_of {
        for &row in &of_user[of_user.len() - kept(of_user.len())..] {
            held[row] = true;
        }
    }
    held
}
