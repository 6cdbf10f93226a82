//! Splits a log into a training part and a held-out test part.
//!
//! Users and items keep their numbers, so the tables beside the log stay as they are. Left out: a validation part (cut `train`
//! once more) and k-cores (a stage of their own, `filter.kcore`).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::{Context, Requirement, Stage};
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
    /// How the log is split.
    pub by: By,
    /// The fraction that is held out, in (0, 1): of each user's interactions (`time`, `random`), of the whole log (`global_time`)
    /// or of the users (`user`). Each side gets at least one if there are two or more. The other rules do not use it.
    pub test_fraction: f64,
    /// Seed of the draws of `random` and `user`.
    pub seed: u64,
}

/// How a log is split. Interactions of equal time keep the order of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Each user's last interactions are held out.
    #[default]
    Time,
    /// Interactions of each user are held out at random: for logs without times, such as Coat's, where the last rows are those
    /// of the last items.
    Random,
    /// The last interactions of the whole log are held out. All interactions at the time of the split are held out: every
    /// training interaction is earlier than every test interaction.
    GlobalTime,
    /// Whole users are held out, drawn by `seed`.
    User,
    /// The last n interactions of each user are held out, n at least 1; each user keeps at least one training interaction.
    LeaveNOut(usize),
    /// The test part is the input `test`, as the benchmark defines it. Rows of the log that are in it (the same user, item and
    /// time) are removed from the training part.
    Predefined,
}

impl Default for Split {
    fn default() -> Self {
        Self { by: By::Time, test_fraction: 0.2, seed: 0 }
    }
}

pipeline::ports! {
    /// The log to split.
    pub struct Inputs {
        /// The whole log.
        interactions: Interactions,
        /// The test part for `by: predefined`; of the same users and items.
        test: Option<Interactions>,
    }
}

pipeline::ports! {
    /// The two parts; together they are the log.
    pub struct Outputs {
        /// The training part, by user, then time.
        train: Interactions,
        /// The held-out part, by user, then time.
        test: Interactions,
    }
}

impl Stage for Split {
    const KIND: &'static str = "split";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "split a log into train and test: by time, at random, by user, the last n, or predefined";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        if !(self.test_fraction > 0.0 && self.test_fraction < 1.0) {
            return Err(("test_fraction".into(), "the held-out fraction lies between 0 and 1, both excluded".into()));
        }
        if self.by == By::LeaveNOut(0) {
            return Err(("by.leave_n_out".into(), "at least 1 interaction of each user is held out".into()));
        }
        Ok(())
    }

    fn requirements(&self) -> Vec<Requirement> {
        let given = self.by == By::Predefined;
        let (why, help) = match given {
            true => ("with `predefined` the test part is an input", "connect the benchmark's test part"),
            false => {
                ("the other rules take the test part from the log", "set `by: predefined`, or leave the input out")
            }
        };
        vec![Requirement { setting: "by", port: "test", connected: given, why: why.to_owned(), help }]
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let log = &inputs.interactions;
        ensure!(!log.is_empty(), "the log is empty");
        let rows_of = by_user(log);
        if self.by != By::Predefined {
            ensure!(
                inputs.test.is_none(),
                "the input `test` is used only where `by` is `predefined`\nhelp: set `by: predefined`, or leave the input out"
            );
        }
        let by_time = matches!(self.by, By::Time | By::LeaveNOut(_));
        if let Some(warning) = by_time.then(|| of_one_time(log, &rows_of)).flatten() {
            cx.warn(warning);
        }
        let held = match self.by {
            By::Time => last(&rows_of, log.len(), |rows| self.share(rows)),
            By::LeaveNOut(count) => last(&rows_of, log.len(), |rows| count.min(rows.saturating_sub(1))),
            By::Random => self.drawn(&rows_of, log.len()),
            By::GlobalTime => self.late(log)?,
            By::User => self.of_some(&rows_of, log.len()),
            By::Predefined => {
                let test = inputs.test.as_ref();
                let test =
                    test.context("`by: predefined` wants the input `test`\nhelp: connect the benchmark's test part")?;
                return given(log, &rows_of, test, cx);
            }
        };
        let (test, train): (Vec<usize>, Vec<usize>) = rows_of.into_iter().flatten().partition(|&row| held[row]);
        let empty = if test.is_empty() { ": the test part is empty, so nothing can be evaluated on it" } else { "" };
        cx.note("cut", format!("{} train, {} test{empty}", train.len(), test.len()));
        Ok(Outputs { train: log.take(&train), test: log.take(&test) })
    }
}

impl Split {
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

    /// The rows of the users that are drawn; users without any are not.
    fn of_some(&self, rows_of: &[Vec<usize>], rows: usize) -> Vec<bool> {
        let mut users: Vec<usize> = (0..rows_of.len()).filter(|&user| !rows_of[user].is_empty()).collect();
        users.shuffle(&mut rng(&[self.seed, 0x5b17]));
        let mut held = vec![false; rows];
        for &user in &users[..self.share(users.len())] {
            for &row in &rows_of[user] {
                held[row] = true;
            }
        }
        held
    }
}

/// What is wrong with a cut by time where most users have one time for all that they did, as in a log without times.
fn of_one_time(log: &Interactions, rows_of: &[Vec<usize>]) -> Option<String> {
    let several: Vec<&Vec<usize>> = rows_of.iter().filter(|rows| rows.len() > 1).collect();
    let time = |row: Option<&usize>| row.map(|&row| log.timestamp[row]);
    let (count, all) = (several.iter().filter(|rows| time(rows.first()) == time(rows.last())).count(), several.len());
    (2 * count > all).then(|| {
        format!(
            "all that a user did has one time, with {count} of {all} users: their last interactions are the last rows of the file\n\
             help: name the log's `timestamp`, or set `by: random`"
        )
    })
}

/// The rows of each user, by time.
fn by_user(log: &Interactions) -> Vec<Vec<usize>> {
    let users = log.user.iter().max().map_or(0, |&user| user as usize + 1);
    let mut rows_of: Vec<Vec<usize>> = vec![Vec::new(); users];
    for (row, &user) in log.user.iter().enumerate() {
        rows_of[user as usize].push(row);
    }
    rows_of.par_iter_mut().for_each(|rows| rows.sort_by_key(|&row| (log.timestamp[row], row)));
    rows_of
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

fn given(log: &Interactions, rows_of: &[Vec<usize>], test: &Interactions, cx: &Context) -> Result<Outputs> {
    ensure!(!test.is_empty(), "the input `test` is empty");
    let key = |log: &Interactions, row: usize| (log.user[row], log.item[row], log.timestamp[row]);
    let kept: BTreeSet<_> = (0..test.len()).map(|row| key(test, row)).collect();
    let train: Vec<usize> = rows_of.iter().flatten().copied().filter(|&row| !kept.contains(&key(log, row))).collect();
    ensure!(!train.is_empty(), "every row of the log is in the input `test`");
    let both = log.len() - train.len();
    cx.note("cut", format!("{} train, {} test as given ({both} rows were in both)", train.len(), test.len()));
    let in_order: Vec<usize> = by_user(test).into_iter().flatten().collect();
    Ok(Outputs { train: log.take(&train), test: test.take(&in_order) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of item i the i-th row.
    fn log() -> Interactions {
        Interactions {
            user: vec![0, 1, 0, 0, 0, 2, 0],
            item: vec![0, 1, 2, 3, 4, 5, 6],
            rating: vec![1.0; 7],
            timestamp: vec![5, 0, 1, 1, 9, 0, 2],
        }
    }

    fn cut(split: &Split, interactions: Interactions, test: Option<Interactions>) -> Result<[Vec<u32>; 2]> {
        let folder = tempfile::tempdir().unwrap();
        let outputs = split.run(Inputs { interactions, test }, &Context::detached(folder.path()))?;
        Ok([outputs.train.item, outputs.test.item])
    }

    #[test]
    fn each_users_last_interactions_are_kept_back() {
        let [train, test] = cut(&Split { test_fraction: 0.4, ..Split::default() }, log(), None).unwrap();
        assert_eq!(train, [2, 3, 6, 1, 5], "a user with one interaction stays in train");
        assert_eq!(test, [0, 4]);
    }

    #[test]
    fn a_log_without_times_is_told() {
        let told = |timestamp: Vec<i64>| {
            let log = Interactions { timestamp, ..log() };
            of_one_time(&log, &by_user(&log))
        };
        assert_eq!(told(log().timestamp), None);
        let said = told(vec![0; 7]).unwrap();
        assert!(said.starts_with("all that a user did has one time, with 1 of 1 users: "), "{said}");
    }

    #[test]
    fn so_many_of_each_users_last_interactions_are_kept_back() {
        let by = |count| Split { by: By::LeaveNOut(count), ..Split::default() };
        assert_eq!(cut(&by(1), log(), None).unwrap(), [vec![2, 3, 6, 0, 1, 5], vec![4]]);
        assert_eq!(cut(&by(9), log(), None).unwrap(), [vec![2, 1, 5], vec![3, 6, 0, 4]], "one stays");
        assert_eq!(by(0).check().unwrap_err().0, "by.leave_n_out");
    }

    #[test]
    fn what_is_learned_from_is_older_than_all_that_is_kept_back() {
        let by = |test| Split { by: By::GlobalTime, test_fraction: test, ..Split::default() };
        // Times in order: 0 0 1 1 2 5 9. The last 3 begin at 2; of the last 4 the first is at 1, as is another.
        assert_eq!(cut(&by(0.4), log(), None).unwrap(), [vec![2, 3, 1, 5], vec![6, 0, 4]]);
        assert_eq!(cut(&by(0.55), log(), None).unwrap(), [vec![1, 5], vec![2, 3, 6, 0, 4]]);
        let error = cut(&by(0.9), log(), None).unwrap_err().to_string();
        assert!(error.contains("no time before 0"), "{error}");
    }

    #[test]
    fn whole_users_are_kept_back() {
        let mut log = log();
        log.user = vec![0, 3, 0, 4, 4, 5, 0];
        let by = |seed| Split { by: By::User, test_fraction: 0.5, seed };
        let mut seen = BTreeSet::new();
        for seed in 0..20 {
            let [train, test] = cut(&by(seed), log.clone(), None).unwrap();
            assert_eq!(
                cut(&by(seed), log.clone(), None).unwrap(),
                [train.clone(), test.clone()],
                "equal seeds, equal cuts"
            );
            let users = |items: &[u32]| items.iter().map(|&i| log.user[i as usize]).collect::<BTreeSet<_>>();
            assert!(users(&train).is_disjoint(&users(&test)));
            assert_eq!((users(&train).len(), users(&test).len(), train.len() + test.len()), (2, 2, 7));
            seen.insert(users(&test));
        }
        assert!(seen.len() > 3, "{seen:?}");
    }

    #[test]
    fn what_is_given_is_kept_back_and_not_learned_from() {
        let by = Split { by: By::Predefined, ..Split::default() };
        // Item 4 at its time is in both; item 0 at another time is not the same row.
        let test =
            Interactions { user: vec![1, 0, 0], item: vec![6, 4, 0], rating: vec![2.0; 3], timestamp: vec![3, 9, 1] };
        assert_eq!(cut(&by, log(), Some(test.clone())).unwrap(), [vec![2, 3, 6, 0, 1, 5], vec![0, 4, 6]]);
        assert!(cut(&by, log(), None).unwrap_err().to_string().contains("wants the input `test`"));
        assert!(
            cut(&Split::default(), log(), Some(test))
                .unwrap_err()
                .to_string()
                .contains("only where `by` is `predefined`")
        );
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
            let split = Split { by: By::Random, test_fraction: 0.25, seed };
            split
                .run(Inputs { interactions: interactions.clone(), test: None }, &Context::detached(folder.path()))
                .unwrap()
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
