//! Cuts a log into what may be learned from and what is kept back.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use pipeline::{Context, Stage};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::Interactions;
use crate::nn::rng;

/// `split`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Split {
    /// How the log is cut.
    pub by: By,
    /// The share of each user's interactions that is kept back, in (0, 1); at least one stays on either side where a user
    /// has two or more.
    pub test: f64,
    /// Seed of what `random` keeps back.
    pub seed: u64,
}

/// How a log is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Each user's last interactions are kept back; equal times keep the order of the log.
    #[default]
    Time,
    /// Any of each user's interactions are kept back, each equally likely: for logs without times, such as Coat's, where the
    /// last rows are those of the last items.
    Random,
}

impl Default for Split {
    fn default() -> Self {
        Self { by: By::Time, test: 0.2, seed: 0 }
    }
}

pipeline::ports! {
    /// What is cut.
    pub struct Inputs {
        /// The whole log.
        interactions: Interactions,
    }
}

pipeline::ports! {
    /// The two parts; together they are the log.
    pub struct Outputs {
        /// What may be learned from, by user, then time.
        train: Interactions,
        /// What is kept back, by user, then time.
        test: Interactions,
    }
}

impl Stage for Split {
    const KIND: &'static str = "split";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "cut a log into train and test, per user, by time";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if self.test > 0.0 && self.test < 1.0 {
            return Ok(());
        }
        Err(("test".into(), "the share that is kept back lies between 0 and 1, both excluded".into()))
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let log = &inputs.interactions;
        ensure!(!log.is_empty(), "the log is empty");
        let users = log.user.iter().max().map_or(0, |&user| user as usize + 1);
        let mut rows_of: Vec<Vec<usize>> = vec![Vec::new(); users];
        for (row, &user) in log.user.iter().enumerate() {
            rows_of[user as usize].push(row);
        }
        rows_of.par_iter_mut().for_each(|rows| rows.sort_by_key(|&row| (log.timestamp[row], row)));
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for (user, rows) in rows_of.iter_mut().enumerate() {
            let kept = (rows.len() as f64 * self.test).round() as usize;
            let kept = kept.clamp(usize::from(rows.len() > 1), rows.len().saturating_sub(1));
            let first = rows.len() - kept;
            if self.by == By::Random {
                let mut drawn = rows.clone();
                drawn.shuffle(&mut rng(&[self.seed, 0x5917, user as u64]));
                let held: BTreeSet<usize> = drawn[first..].iter().copied().collect();
                // Stable: both parts stay in the order of time.
                rows.sort_by_key(|row| held.contains(row));
            }
            let (learned, held) = rows.split_at(first);
            train.extend_from_slice(learned);
            test.extend_from_slice(held);
        }
        cx.note("cut", format!("{} train, {} test", train.len(), test.len()));
        Ok(Outputs { train: log.take(&train), test: log.take(&test) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_users_last_interactions_are_kept_back() {
        let interactions = Interactions {
            user: vec![0, 1, 0, 0, 0, 2, 0],
            item: vec![0, 1, 2, 3, 4, 5, 6],
            rating: vec![1.0; 7],
            timestamp: vec![5, 0, 1, 1, 9, 0, 2],
        };
        let folder = tempfile::tempdir().unwrap();
        let split = Split { test: 0.4, ..Split::default() };
        let outputs = split.run(Inputs { interactions }, &Context::detached(folder.path())).unwrap();
        assert_eq!(outputs.train.item, [2, 3, 6, 1, 5], "a user with one interaction stays in train");
        assert_eq!(outputs.test.item, [0, 4]);
    }
    #[test]
    fn any_interactions_are_kept_back_at_random_and_both_parts_stay_in_the_order_of_time() {
        let rows = 200_u32;
        let interactions = Interactions {
            user: (0..rows).map(|row| row % 2).collect(),
            item: (0..rows).collect(),
            rating: vec![1.0; rows as usize],
            timestamp: vec![0; rows as usize],
        };
        let folder = tempfile::tempdir().unwrap();
        let cut = |seed| {
            let split = Split { by: By::Random, test: 0.25, seed };
            split.run(Inputs { interactions: interactions.clone() }, &Context::detached(folder.path())).unwrap()
        };
        let outputs = cut(0);
        assert_eq!((outputs.train.len(), outputs.test.len()), (150, 50));
        let mut all: Vec<u32> = [outputs.train.item.clone(), outputs.test.item.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..rows).collect::<Vec<_>>());
        assert!(outputs.test.item[..25].is_sorted() && outputs.train.item[..75].is_sorted());
        let late = outputs.test.item.iter().filter(|&&item| item >= 100).count();
        assert!((13..=37).contains(&late), "{late} of 50 are of the second half");
        assert_ne!(cut(1).test, outputs.test);
        assert_eq!(cut(0).test, outputs.test);
    }
}
