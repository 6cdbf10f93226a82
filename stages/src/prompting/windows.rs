//! A user's log as windows: what was taken up to a time, and the item taken next, hidden among other items.
//!
//! A window is a question with a known answer. The stages that measure prompts, choose examples or learn hints ask it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use rand::RngExt;
use rand::seq::SliceRandom;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Strategy;
use super::log_row::LogRow;
use crate::artifact::Interactions;
use crate::nn::rng;

const USERS: u64 = 0x5e55;
const NEGATIVES: u64 = 0x9e6a;

/// The rows of each user, oldest first; rows of one second in the order of the log.
pub(crate) fn histories(log: &Interactions, users: usize) -> Vec<Vec<LogRow>> {
    let mut rows = vec![Vec::new(); users];
    for row in 0..log.len() {
        let (item, rating, timestamp) = (log.item[row], log.rating[row], log.timestamp[row]);
        rows[log.user[row] as usize].push(LogRow { item, rating, timestamp });
    }
    for history in &mut rows {
        history.sort_by_key(|row: &LogRow| row.timestamp);
    }
    rows
}

/// The warning that a log has no times, where one of `strategies` tells an order.
pub(crate) fn untimed(log: &Interactions, strategies: &[Strategy]) -> Option<String> {
    let same = log.timestamp.windows(2).all(|pair| pair[0] == pair[1]);
    let told = strategies.iter().find(|strategy| strategy.tells_an_order()).filter(|_| same)?;
    Some(format!("the log has no times: what `{}` tells as an order is that of its rows", told.name()))
}

/// What a user had taken, and the item taken next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    pub user: u32,
    /// Oldest first.
    pub history: Vec<LogRow>,
    pub target: u32,
}

/// One window each of up to `count` users who took `min_history` items before a held-out one, in ascending order of users. A larger
/// count includes the windows of a smaller one. The target is the user's first row of `test` that is no older than those rows of
/// `train`; the history are the rows of `train` that are no younger than it.
pub(crate) fn held_out(
    train: &[Vec<LogRow>],
    test: &[Vec<LogRow>],
    count: usize,
    min_history: usize,
    seed: u64,
) -> Vec<Window> {
    sampled(train.len(), count, seed, |user| {
        let (past, future) = (&train[user], &test[user]);
        future.iter().find_map(|next| {
            let known = past.partition_point(|row| row.timestamp <= next.timestamp);
            let taken = past[..known].iter().any(|row| row.item == next.item);
            (known >= min_history && !taken).then(|| Window {
                user: user as u32,
                history: past[..known].to_vec(),
                target: next.item,
            })
        })
    })
}

/// As [`held_out`], from the training log alone: the target is the user's last row.
pub(crate) fn last_of_log(train: &[Vec<LogRow>], count: usize, min_history: usize, seed: u64) -> Vec<Window> {
    sampled(train.len(), count, seed, |user| {
        let (last, past) = train[user].split_last()?;
        let taken = past.iter().any(|row| row.item == last.item);
        (past.len() >= min_history && !taken).then(|| Window {
            user: user as u32,
            history: past.to_vec(),
            target: last.item,
        })
    })
}

fn sampled(users: usize, count: usize, seed: u64, of: impl Fn(usize) -> Option<Window>) -> Vec<Window> {
    let mut order: Vec<usize> = (0..users).collect();
    order.shuffle(&mut rng(&[seed, USERS]));
    let mut found: Vec<Window> = order.into_iter().filter_map(of).take(count).collect();
    found.sort_by_key(|window| window.user);
    found
}

/// How the other candidates of a window are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Negatives {
    /// In proportion to their number of ratings in the training log, so that being well known does not betray the target.
    #[default]
    Popular,
    /// Each item alike.
    Uniform,
}

/// Draws the candidates of windows.
pub(crate) struct Sampler {
    /// Cumulative weights of the items.
    cumulative: Vec<f64>,
    /// What each user took, in any log.
    taken: Vec<BTreeSet<u32>>,
    n_candidates: usize,
    seed: u64,
}

impl Sampler {
    /// For windows of these logs, of which the first is the training log. An item without a rating there is never drawn by
    /// [`Negatives::Popular`].
    pub fn new(logs: &[&[Vec<LogRow>]], items: usize, how: Negatives, n_candidates: usize, seed: u64) -> Self {
        let mut weights = vec![if how == Negatives::Uniform { 1.0 } else { 0.0 }; items];
        if how == Negatives::Popular {
            logs[0].iter().flatten().for_each(|row| weights[row.item as usize] += 1.0);
        }
        let mut sum = 0.0;
        let cumulative = weights.iter().map(|weight| {
            sum += weight;
            sum
        });
        let cumulative = cumulative.collect();
        let of = |user: usize| logs.iter().flat_map(|log| &log[user]).map(|row| row.item).collect();
        Self { cumulative, taken: (0..logs[0].len()).map(of).collect(), n_candidates, seed }
    }

    /// The target among other items that the user never took, in a random order; drawn from the seed, the user and the target alone.
    ///
    /// # Errors
    /// When the catalogue has too few items that the user did not take.
    pub fn candidates(&self, window: &Window) -> Result<Vec<u32>> {
        let taken = &self.taken[window.user as usize];
        let weight =
            |item: usize| self.cumulative[item] - item.checked_sub(1).map_or(0.0, |before| self.cumulative[before]);
        let free = (0..self.cumulative.len()).filter(|&item| weight(item) > 0.0 && !taken.contains(&(item as u32)));
        ensure!(
            free.count() + 1 >= self.n_candidates,
            "user {} took all but too few items of the catalogue to draw {} candidates\nhelp: lower `n_candidates`",
            window.user,
            self.n_candidates
        );
        let mut draw = rng(&[self.seed, NEGATIVES, window.user.into(), window.target.into()]);
        let all = self.cumulative.last().copied().unwrap_or(0.0);
        let mut drawn = vec![window.target];
        while drawn.len() < self.n_candidates {
            let at = draw.random::<f64>() * all;
            let item = self.cumulative.partition_point(|&sum| sum <= at).min(self.cumulative.len() - 1) as u32;
            if !taken.contains(&item) && !drawn.contains(&item) {
                drawn.push(item);
            }
        }
        drawn.shuffle(&mut draw);
        Ok(drawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(rows: &[(u32, u32, i64)]) -> Interactions {
        Interactions {
            user: rows.iter().map(|row| row.0).collect(),
            item: rows.iter().map(|row| row.1).collect(),
            rating: vec![4.0; rows.len()],
            timestamp: rows.iter().map(|row| row.2).collect(),
        }
    }

    fn items(rows: &[LogRow]) -> Vec<u32> {
        rows.iter().map(|row| row.item).collect()
    }

    #[test]
    fn a_history_is_told_in_time_and_holds_nothing_of_the_future() {
        let train = histories(&log(&[(0, 5, 30), (0, 6, 10), (0, 7, 30), (0, 8, 50), (1, 5, 1)]), 3);
        assert_eq!(items(&train[0]), [6, 5, 7, 8], "equal times in the order of the log");
        let test = histories(&log(&[(0, 9, 5), (0, 5, 31), (0, 4, 40), (1, 4, 0)]), 3);
        let found = held_out(&train, &test, 9, 3, 0);
        assert_eq!(found.len(), 1, "user 1 has no history, user 2 no row");
        // 9 is older than the history; 5 was taken before.
        assert_eq!((found[0].user, items(&found[0].history), found[0].target), (0, vec![6, 5, 7], 4));
        let last = last_of_log(&train, 9, 3, 0);
        assert_eq!((last.len(), items(&last[0].history), last[0].target), (1, vec![6, 5, 7], 8));
    }

    #[test]
    fn a_log_without_times_is_told_of() {
        let (timed, none) = (log(&[(0, 1, 1), (0, 2, 2)]), log(&[(0, 1, 0), (0, 2, 0)]));
        assert!(untimed(&none, &[Strategy::TopRated, Strategy::Recent]).unwrap().contains("`recent`"));
        assert_eq!(untimed(&none, &[Strategy::TopRated]), None);
        assert_eq!(untimed(&timed, &[Strategy::Recent]), None);
    }

    #[test]
    fn more_windows_hold_the_fewer() {
        let rows: Vec<(u32, u32, i64)> = (0..50).flat_map(|user| [(user, 0, 1), (user, 1, 2)]).collect();
        let train = histories(&log(&rows), 50);
        let users = |count, seed| -> Vec<u32> {
            last_of_log(&train, count, 1, seed).iter().map(|window| window.user).collect()
        };
        let (few, more) = (users(5, 1), users(20, 1));
        assert!(few.len() == 5 && more.len() == 20 && few.iter().all(|user| more.contains(user)) && few.is_sorted());
        assert_ne!(few, users(5, 2));
    }

    #[test]
    fn candidates_are_new_to_the_user_and_as_popular_as_asked() {
        // Item 1 was taken nine times as often as item 2; item 3 never.
        let rows: Vec<(u32, u32, i64)> = (1..=10).map(|user| (user, if user == 10 { 2 } else { 1 }, 0)).collect();
        let rows = [&[(0, 4, 0), (0, 0, 1)][..], &rows].concat();
        let train = histories(&log(&rows), 300);
        let count = |how, item: u32| {
            let sampler = Sampler::new(&[&train], 5, how, 2, 7);
            let of = |user: u32| {
                let window = Window { user, history: vec![], target: 0 };
                sampler.candidates(&window).unwrap()
            };
            assert_eq!(of(20), of(20));
            (11..300).filter(|&user| of(user).contains(&item)).count()
        };
        assert_eq!(count(Negatives::Popular, 3), 0);
        let [often, seldom] = [1, 2].map(|item| count(Negatives::Popular, item));
        assert!(often > 5 * seldom && seldom > 5, "{often} {seldom}");
        let even = [1, 2, 3].map(|item| count(Negatives::Uniform, item));
        assert!(even.iter().all(|&found| found > 40), "{even:?}");
        let sampler = Sampler::new(&[&train], 5, Negatives::Uniform, 4, 7);
        let window = Window { user: 0, history: vec![], target: 0 };
        let mut all = sampler.candidates(&window).unwrap();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3], "4 was taken");
        let error = Sampler::new(&[&train], 5, Negatives::Popular, 4, 7).candidates(&window).unwrap_err().to_string();
        assert!(error.contains("\nhelp: lower `n_candidates`"), "{error}");
    }
}
