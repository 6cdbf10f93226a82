//! What was found out about a log, for people and for programs.

use pipeline::log_experiment::LogExperiment;
use serde_json::{Map, Value};

use super::downstream::Sizes;
use super::yaml_text::{self, counted};
use crate::artifact::Interactions;

/// Sentences for people, and values for programs.
#[derive(Default)]
pub(super) struct Findings {
    sentences: Vec<(String, String)>,
    details: Map<String, Value>,
}

/// The counts of a log.
pub(super) struct Counts {
    /// How many rows repeat the user and the item of an earlier row, and how many of these are copies of it, also in rating and time.
    pub repeats: (usize, usize),
    /// All counts in words.
    pub words: String,
    /// Why nothing can be learned from such a log.
    pub warning: Option<String>,
}

impl Findings {
    pub fn say(&mut self, name: &str, sentence: impl Into<String>) {
        self.sentences.push((name.to_owned(), sentence.into()));
    }

    pub fn detail(&mut self, name: &str, value: Value) {
        self.details.insert(name.to_owned(), value);
    }

    /// The counts of the log, whose tables have those sizes.
    pub fn counts(&mut self, sizes: Sizes, log: &Interactions) -> Counts {
        let (users, items) = (distinct(&log.user), distinct(&log.item));
        let repeats = repeated_rows(log);
        let of = |of_log: usize, of_table: usize, noun: &str, table: &str| match of_table > of_log {
            true => format!("{} (the {table} has {})", counted(of_log, noun), counted(of_table, noun)),
            false => counted(of_log, noun),
        };
        let words = format!(
            "{} of {} and {}",
            counted(sizes.rows, "row"),
            of(users, sizes.users, "user", "table of users"),
            of(items, sizes.items, "item", "catalogue")
        );
        self.say("rows", &words);
        for (name, count) in [
            ("rows", sizes.rows),
            ("users", sizes.users),
            ("items", sizes.items),
            ("users_of_log", users),
            ("items_of_log", items),
            ("repeats", repeats.0),
        ] {
            self.detail(name, count.into());
        }
        if repeats.0 > 0 {
            self.say("repeats", yaml_text::repeats(repeats.0, sizes.rows));
        }
        let warning = warning(users, items);
        if let Some(warning) = &warning {
            self.say("warning", warning);
        }
        self.detail("warning", warning.clone().into());
        Counts { repeats, words, warning }
    }

    pub fn into_experiment(self, text: String) -> LogExperiment {
        LogExperiment { text, findings: self.sentences, details: Value::Object(self.details) }
    }
}

/// How many of the numbers that stand for users or items occur.
fn distinct(ids: &[u32]) -> usize {
    let mut occurs = vec![false; ids.iter().max().map_or(0, |last| *last as usize + 1)];
    ids.iter().for_each(|id| occurs[*id as usize] = true);
    occurs.into_iter().filter(|occurs| *occurs).count()
}

/// What a log of one item or of one user cannot tell.
fn warning(users: usize, items: usize) -> Option<String> {
    let (noun, why) = match (users, items) {
        (_, 1) => ("item", "there is nothing to rank, and every policy recommends the same"),
        (1, _) => ("user", "nothing is learned from what others chose, and no interval over users can be given"),
        _ => return None,
    };
    let (role, other) = (noun, if noun == "item" { "item=COLUMN" } else { "user=COLUMN" });
    Some(format!(
        "the log has one {noun} only: {why}. If it should have more, another column holds the {role}s: name it with `--columns {other}`"
    ))
}

/// How many rows repeat the user and the item of an earlier row, and how many of these are copies of it, also in rating and time.
fn repeated_rows(log: &Interactions) -> (usize, usize) {
    fn repeats<T: Ord>(mut keys: Vec<T>) -> usize {
        let rows = keys.len();
        keys.sort_unstable();
        keys.dedup();
        rows - keys.len()
    }
    let row = |row: usize| (log.user[row], log.item[row], log.rating[row].to_bits(), log.timestamp[row]);
    let pairs = log.user.iter().zip(&log.item).collect();
    (repeats::<(&u32, &u32)>(pairs), repeats((0..log.len()).map(row).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(log: &Interactions, users: usize, items: usize) -> Counts {
        Findings::default().counts(Sizes { users, items, rows: log.len() }, log)
    }

    #[test]
    fn the_log_and_its_tables_are_counted_apart() {
        let log =
            Interactions { user: vec![0, 1, 1], item: vec![3, 3, 5], rating: vec![1.0; 3], timestamp: vec![0; 3] };
        assert_eq!(counts(&log, 2, 2).words, "3 rows of 2 users and 2 items");
        assert_eq!(
            counts(&log, 9, 13_864).words,
            "3 rows of 2 users (the table of users has 9 users) and 2 items (the catalogue has 13,864 items)"
        );
        let one = Interactions { user: vec![0], item: vec![0], rating: vec![1.0], timestamp: vec![0] };
        assert_eq!(counts(&one, 1, 1).words, "1 row of 1 user and 1 item");
    }

    #[test]
    fn one_item_or_one_user_is_warned_of() {
        let log = |user: Vec<u32>, item: Vec<u32>| {
            let rows = user.len();
            counts(&Interactions { user, item, rating: vec![1.0; rows], timestamp: vec![0; rows] }, 9, 9).warning
        };
        let item = log(vec![0, 1], vec![4, 4]).unwrap();
        assert!(
            item.contains("one item only") && item.contains("nothing to rank") && item.contains("item=COLUMN"),
            "{item}"
        );
        let user = log(vec![3, 3], vec![4, 5]).unwrap();
        assert!(user.contains("one user only") && user.contains("user=COLUMN"), "{user}");
        assert_eq!(log(vec![0, 1], vec![4, 5]), None);
    }
}
