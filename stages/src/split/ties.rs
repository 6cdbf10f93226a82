//! The order of a user's interactions, and what decides between those of equal time.

use pipeline::Context;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::Interactions;

/// The order of a user's interactions of equal time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// As in the log: the same interactions in a file of another order are split in another way.
    #[default]
    FileOrder,
    /// Random, by `seed`; the order of the rows in the file has no influence.
    Random,
}

impl Ties {
    /// The rows of each user, by time.
    pub(super) fn by_user(self, log: &Interactions, seed: u64) -> Vec<Vec<usize>> {
        let users = log.user.iter().max().map_or(0, |&user| user as usize + 1);
        let mut rows_of: Vec<Vec<usize>> = vec![Vec::new(); users];
        for (row, &user) in log.user.iter().enumerate() {
            rows_of[user as usize].push(row);
        }
        let rank: Vec<usize> = match self {
            Self::FileOrder => (0..log.len()).collect(),
            Self::Random => {
                let mut rank = vec![0; log.len()];
                log.sample_order(seed).into_iter().enumerate().for_each(|(place, row)| rank[row] = place);
                rank
            }
        };
        rows_of.par_iter_mut().for_each(|rows| rows.sort_by_key(|&row| (log.timestamp[row], rank[row])));
        rows_of
    }
}

/// Users whose interactions of equal time are on both sides of the cut.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TiedCuts {
    tied: usize,
    /// How many of them have one time for all that they did, as in a log without times.
    timeless: usize,
    /// Users with interactions on both sides.
    all: usize,
}

impl TiedCuts {
    /// Counts them; `rows_of`: the rows of each user in the order of the split, `held`: whether each row is held out.
    pub fn count(log: &Interactions, rows_of: &[Vec<usize>], held: &[bool]) -> Self {
        let mut counts = Self { tied: 0, timeless: 0, all: 0 };
        for rows in rows_of {
            let time = |place: usize| log.timestamp[rows[place]];
            let Some(first_held) = rows.iter().position(|&row| held[row]).filter(|&place| place > 0) else { continue };
            counts.all += 1;
            counts.tied += usize::from(time(first_held - 1) == time(first_held));
            counts.timeless += usize::from(time(0) == time(rows.len() - 1));
        }
        counts
    }

    /// Warns where the order of the file decided.
    pub fn report(&self, ties: Ties, cx: &Context) {
        match ties {
            _ if self.tied == 0 => {}
            Ties::FileOrder => cx.warn(self.warning()),
            Ties::Random => {
                cx.note("cut between equal times", format!("{} of {} users, by lot", self.tied, self.all));
            }
        }
    }

    fn warning(&self) -> String {
        let Self { tied, timeless, all } = self;
        if 2 * timeless > *all {
            return format!(
                "all that a user did has one time, with {timeless} of {all} users: their last interactions are the last rows of the \
                 file\nhelp: name the log's `timestamp`, or set `by: random`"
            );
        }
        format!(
            "with {tied} of {all} users the cut is between interactions of equal time: the order of the file decided which are \
             held out\nhelp: set `ties: random` for a seeded draw"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// User 0 has times 1, 2, 2, 3, user 1 the time 0 twice, user 2 times 4 and 5, user 3 one interaction.
    fn log() -> Interactions {
        Interactions {
            user: vec![0, 0, 0, 0, 1, 1, 2, 2, 3],
            item: (0..9).collect(),
            rating: vec![1.0; 9],
            timestamp: vec![3, 2, 2, 1, 0, 0, 4, 5, 9],
        }
    }

    #[test]
    fn equal_times_keep_the_order_of_the_file_or_are_shuffled_independently_of_it() {
        let log = log();
        assert_eq!(Ties::FileOrder.by_user(&log, 0)[..2], [vec![3, 1, 2, 0], vec![4, 5]]);
        let mut orders = std::collections::BTreeSet::new();
        let reversed = log.take(&[8, 7, 6, 5, 4, 3, 2, 1, 0]);
        for seed in 0..20 {
            let drawn = Ties::Random.by_user(&log, seed);
            assert_eq!((drawn[0][0], drawn[0][3]), (3, 0), "times stay in order");
            let other: Vec<Vec<usize>> = Ties::Random.by_user(&reversed, seed);
            let other: Vec<Vec<usize>> =
                other.into_iter().map(|rows| rows.into_iter().map(|row| 8 - row).collect()).collect();
            assert_eq!(other, drawn, "the same rows from the reversed file");
            orders.insert((drawn[0][1], drawn[1][0]));
        }
        assert_eq!(orders.len(), 4, "each order of both ties is drawn by some seed");
    }

    #[test]
    fn users_whose_cut_lies_between_equal_times_are_counted() {
        let log = log();
        let rows_of = Ties::FileOrder.by_user(&log, 0);
        // Held out: of user 0 the second of time 2 and what follows, of users 1 and 2 the last, of user 3 nothing.
        let held = [true, false, true, false, false, true, false, true, false];
        let counts = TiedCuts::count(&log, &rows_of, &held);
        assert_eq!(counts, TiedCuts { tied: 2, timeless: 1, all: 3 });
        let held = [true, false, false, false, false, true, false, true, false];
        assert_eq!(TiedCuts::count(&log, &rows_of, &held).tied, 1, "time 2 is on one side");
    }

    #[test]
    fn a_log_without_times_is_told_apart() {
        let said = |tied, timeless| TiedCuts { tied, timeless, all: 5 }.warning();
        assert!(said(3, 3).starts_with("all that a user did has one time, with 3 of 5 users: "), "{}", said(3, 3));
        let tied = said(3, 2);
        assert!(tied.starts_with("with 3 of 5 users the cut is between interactions of equal time: "), "{tied}");
        assert!(tied.ends_with("help: set `ties: random` for a seeded draw"), "{tied}");
    }
}
