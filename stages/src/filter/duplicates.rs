//! Repeats of a user and an item: one row of them is kept.
//!
//! A log of plays, purchases or visits holds a user and an item many times, and models count each row. What the repeats say is kept as the
//! rating: the first, the last, the mean, the sum, or how often.

use std::collections::HashMap;

use anyhow::Result;
use pipeline::{Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::Interactions;

/// `filter.duplicates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Duplicates {
    /// What is kept of the rows of one user and one item.
    pub keep: Keep,
}

/// What is kept of the rows of one user and one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The earliest row; of equal times the first in the log.
    First,
    /// The latest row; of equal times the last in the log: what the user thinks now.
    Last,
    /// The latest row, with the mean of all ratings.
    Mean,
    /// The latest row, with the sum of all ratings, such as minutes in all.
    Sum,
    /// The latest row, with the number of rows as its rating, such as how often something was played.
    Count,
}

pipeline::ports! {
    /// A log.
    pub struct Inputs {
        /// The log.
        interactions: Interactions,
    }
}

pipeline::ports! {
    /// The log without repeats.
    pub struct Outputs {
        /// One row a user and item, each at the place of the row that is kept.
        interactions: Interactions,
    }
}

impl Stage for Duplicates {
    const KIND: &'static str = "filter.duplicates";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "keep one row of each user and item: the first, the last, the mean, the sum or the count";
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let log = &inputs.interactions;
        let (interactions, repeated) = self.distinct(log);
        cx.note("repeats", self.told(log.len(), interactions.len(), repeated));
        Ok(Outputs { interactions })
    }
}

/// What is known of a user and an item.
struct Met {
    kept: usize,
    sum: f64,
    count: u32,
}

impl Duplicates {
    /// What was left out of so many rows, and by which rule.
    fn told(&self, rows: usize, left: usize, repeated: usize) -> String {
        let (word, kept) = match self.keep {
            Keep::First => ("first", "the earliest row"),
            Keep::Last => ("last", "the latest row"),
            Keep::Mean => ("mean", "the latest row, with the mean of all ratings"),
            Keep::Sum => ("sum", "the latest row, with the sum of all ratings"),
            Keep::Count => ("count", "the latest row, with the number of rows as its rating"),
        };
        let repeats = match rows - left {
            0 => return format!("none of {rows} rows"),
            1 => format!("1 of {rows} rows is a repeat of a user and an item"),
            repeats => format!("{repeats} of {rows} rows are repeats of a user and an item"),
        };
        let pairs = if repeated == 1 { "1 pair has" } else { &format!("{repeated} pairs have") };
        format!("{repeats}; {pairs} repeats, of which `keep: {word}` keeps {kept}: {left} rows are left")
    }

    /// The rows that are left, and how many of them had repeats.
    fn distinct(&self, log: &Interactions) -> (Interactions, usize) {
        let mut met: HashMap<(u32, u32), Met> = HashMap::with_capacity(log.len());
        for row in 0..log.len() {
            let rating = f64::from(log.rating[row]);
            let first = Met { kept: row, sum: 0.0, count: 0 };
            let met = met.entry((log.user[row], log.item[row])).or_insert(first);
            met.sum += rating;
            met.count += 1;
            let (time, of_kept) = (log.timestamp[row], log.timestamp[met.kept]);
            if if self.keep == Keep::First { time < of_kept } else { time >= of_kept } {
                met.kept = row;
            }
        }
        let mut left: Vec<Met> = met.into_values().collect();
        left.sort_unstable_by_key(|met| met.kept);
        let rows: Vec<usize> = left.iter().map(|met| met.kept).collect();
        let mut distinct = log.take(&rows);
        for (rating, met) in distinct.rating.iter_mut().zip(&left) {
            match self.keep {
                Keep::First | Keep::Last => {}
                Keep::Mean => *rating = (met.sum / f64::from(met.count)) as f32,
                Keep::Sum => *rating = met.sum as f32,
                Keep::Count => *rating = met.count as f32,
            }
        }
        let repeated = left.iter().filter(|met| met.count > 1).count();
        (distinct, repeated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// User 0 met item 7 at the times 5, 2, 5 and 9 with the ratings 1 to 4; the others met an item once.
    fn log() -> Interactions {
        Interactions {
            user: vec![0, 1, 0, 0, 2, 0],
            item: vec![7, 7, 7, 7, 3, 7],
            rating: vec![1.0, 5.0, 2.0, 3.0, 6.0, 4.0],
            timestamp: vec![5, 5, 2, 5, 1, 9],
        }
    }

    #[test]
    fn the_note_says_how_many_and_by_which_rule() {
        let told = |keep, log: &Interactions| {
            let (left, repeated) = Duplicates { keep }.distinct(log);
            Duplicates { keep }.told(log.len(), left.len(), repeated)
        };
        assert_eq!(
            told(Keep::Sum, &log()),
            "3 of 6 rows are repeats of a user and an item; 1 pair has repeats, of which `keep: sum` keeps the latest row, with the sum of \
             all ratings: 3 rows are left"
        );
        assert_eq!(told(Keep::Last, &log().take(&[1, 4, 5])), "none of 3 rows");
    }

    #[test]
    fn each_rule_by_hand() {
        let of = |keep| {
            let (left, repeated) = Duplicates { keep }.distinct(&log());
            assert_eq!(repeated, 1);
            assert_eq!(left.len(), 3);
            let at = left.user.iter().position(|&user| user == 0).unwrap();
            (at, left.rating[at], left.timestamp[at])
        };
        assert_eq!(of(Keep::First), (1, 2.0, 2));
        assert_eq!(of(Keep::Last), (2, 4.0, 9));
        assert_eq!(of(Keep::Mean), (2, 2.5, 9));
        assert_eq!(of(Keep::Sum), (2, 10.0, 9));
        assert_eq!(of(Keep::Count), (2, 4.0, 9));
    }

    #[test]
    fn of_equal_times_the_place_in_the_log_decides_and_what_is_distinct_stays() {
        let twins =
            Interactions { user: vec![0; 3], item: vec![1; 3], rating: vec![1.0, 2.0, 3.0], timestamp: vec![0; 3] };
        let of = |keep| Duplicates { keep }.distinct(&twins).0.rating;
        assert_eq!((of(Keep::First), of(Keep::Last)), (vec![1.0], vec![3.0]));
        let once = log().take(&[1, 4, 5]);
        let counted = Duplicates { keep: Keep::Last }.distinct(&once);
        assert_eq!(counted, (once, 0));
        let folder = tempfile::tempdir().unwrap();
        let run = Duplicates { keep: Keep::Mean }
            .run(Inputs { interactions: Interactions::default() }, &Context::detached(folder.path()));
        assert!(run.unwrap().interactions.is_empty());
    }
}
