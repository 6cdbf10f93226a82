//! The k-core of a log: the largest part of it in which every user and every item has enough interactions.
//!
//! Users below `min_per_user` and items below `min_per_item` are left out, turn by turn, until none is: what is left does not depend on the
//! order (Seidman 1983, for two kinds of nodes). Each row counts, also where a user meets an item twice. Left out: merging of such
//! rows.

use anyhow::{Result, ensure};
use pipeline::{Context, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::{Interactions, Items, Users};

/// `filter.kcore`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KCore {
    /// Minimum number of interactions per user, at least 1; 5 as in the usual "5-core".
    pub min_per_user: u32,
    /// Minimum number of interactions per item, at least 1; 5 as in the usual "5-core".
    pub min_per_item: u32,
}

impl Default for KCore {
    fn default() -> Self {
        Self { min_per_user: 5, min_per_item: 5 }
    }
}

pipeline::ports! {
    /// A log with its tables.
    pub struct Inputs {
        /// The log.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The users.
        users: Users,
    }
}

pipeline::ports! {
    /// The core of the log; its users and items are numbered anew.
    pub struct Outputs {
        /// The rows that are left, in their order.
        interactions: Interactions,
        /// The items that are left, in their order.
        items: Items,
        /// The users who are left, in their order.
        users: Users,
    }
}

impl Stage for KCore {
    const KIND: &'static str = "filter.kcore";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str = "remove users and items with few interactions until all have enough";
    const REINDEXES: bool = true;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        for (field, count) in [("min_per_user", self.min_per_user), ("min_per_item", self.min_per_item)] {
            if count == 0 {
                return Err((field.into(), "at least 1: who has no interaction is always left out".into()));
            }
        }
        Ok(())
    }

    fn run(&self, inputs: Inputs, cx: &Context) -> Result<Outputs> {
        let Inputs { interactions: log, items, users } = inputs;
        log.check_within("interactions", users.len(), items.len())?;
        let (rows, rounds) = self.core(&log, users.len(), items.len());
        ensure!(
            !rows.is_empty(),
            "nothing is left of {} interactions: there is no core of {} a user and {} an item\nhelp: ask for fewer",
            log.len(),
            self.min_per_user,
            self.min_per_item
        );
        let mut log = log.take(&rows);
        let kept_users = renumber(&mut log.user, users.len());
        let kept_items = renumber(&mut log.item, items.len());
        let outputs = Outputs { interactions: log, items: items.take(&kept_items), users: users.take(&kept_users) };
        cx.note(
            "left",
            format!(
                "{} interactions, {} of {} users, {} of {} items ({rounds} rounds)",
                outputs.interactions.len(),
                kept_users.len(),
                users.len(),
                kept_items.len(),
                items.len()
            ),
        );
        Ok(outputs)
    }
}

impl KCore {
    /// The rows that are left, and how many rounds left some out.
    fn core(&self, log: &Interactions, users: usize, items: usize) -> (Vec<usize>, usize) {
        let mut rows: Vec<usize> = (0..log.len()).collect();
        for rounds in 0.. {
            let (mut of_user, mut of_item) = (vec![0_u32; users], vec![0_u32; items]);
            for &row in &rows {
                of_user[log.user[row] as usize] += 1;
                of_item[log.item[row] as usize] += 1;
            }
            let before = rows.len();
            rows.retain(|&row| {
                of_user[log.user[row] as usize] >= self.min_per_user
                    && of_item[log.item[row] as usize] >= self.min_per_item
            });
            if rows.len() == before {
                return (rows, rounds);
            }
        }
        unreachable!("each round leaves out a row or is the last")
    }
}

/// Numbers anew what occurs, in the order of the old numbers, which are given.
fn renumber(column: &mut [u32], count: usize) -> Vec<usize> {
    let mut occurs = vec![false; count];
    for &number in &*column {
        occurs[number as usize] = true;
    }
    let kept: Vec<usize> = (0..count).filter(|&number| occurs[number]).collect();
    let mut new = vec![0; count];
    for (number, &old) in kept.iter().enumerate() {
        new[old] = number as u32;
    }
    for number in column {
        *number = new[*number as usize];
    }
    kept
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn names(letters: &str) -> Vec<String> {
        letters.chars().map(String::from).collect()
    }

    /// Users a to e, items v to z: a and c like w and y; b holds on to x, x to d, and d has nothing else; e never came.
    fn inputs() -> Inputs {
        let rows = [(0, 1), (3, 2), (0, 3), (1, 2), (2, 3), (1, 1), (2, 1), (0, 1)];
        Inputs {
            interactions: Interactions {
                user: rows.iter().map(|row| row.0).collect(),
                item: rows.iter().map(|row| row.1).collect(),
                rating: (0..8_u8).map(f32::from).collect(),
                timestamp: (0..8).collect(),
            },
            items: Items {
                id: names("vwxyz"),
                title: names("VWXYZ"),
                year: (0..5).map(Some).collect(),
                genres: vec![vec![]; 5],
                features: BTreeMap::from([("colour".to_owned(), names("fghij"))]),
            },
            users: Users { id: names("abcde"), features: BTreeMap::from([("age".to_owned(), names("12345"))]) },
        }
    }

    fn run(users: u32, items: u32) -> Result<Outputs> {
        let folder = tempfile::tempdir().unwrap();
        KCore { min_per_user: users, min_per_item: items }.run(inputs(), &Context::detached(folder.path()))
    }

    #[test]
    fn leaving_out_one_may_leave_out_the_next() {
        let core = run(2, 2).unwrap();
        // Without d, x has one row; without x, b has one; then all others have two.
        assert_eq!((core.users.id, core.items.id), (names("ac"), names("wy")));
        assert_eq!(core.users.features["age"], names("13"));
        assert_eq!((core.items.title, core.items.year), (names("WY"), vec![Some(1), Some(3)]));
        assert_eq!(core.interactions.user, [0, 0, 1, 1, 0]);
        assert_eq!(core.interactions.item, [0, 1, 1, 0, 0]);
        assert_eq!(core.interactions.rating, [0.0, 2.0, 4.0, 6.0, 7.0]);
    }

    /// What is wrong with an experiment with these inputs of its stages `cut`, `world` and `offers`.
    fn wired(split: &str, items: &str, users: &str) -> Option<String> {
        let tables = format!("items: {items}, users: {users}");
        let text = format!(
            "name: x
assets: {{ toy: {{ from: [{{ generate: toy-log }}] }} }}
stages:
  log: {{ use: ingest.recbole, with: {{ asset: toy }} }}
  core: {{ use: filter.kcore, inputs: {{ interactions: log.interactions, items: log.items, users: log.users }} }}
  cut: {{ use: split, inputs: {{ interactions: {split} }} }}
  world: {{ use: world.bias, inputs: {{ interactions: cut.train, {tables} }} }}
  offers: {{ use: retrieve, inputs: {{ interactions: cut.train, {tables} }} }}
"
        );
        let faults = pipeline::spec::check("x.yaml", "".into(), text, &[], &crate::CATALOG).err()?;
        // Without the frame, and in one line.
        Some(faults.render(false).split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn tables_from_before_it_fit_no_log_from_behind_it() {
        assert_eq!(wired("core.interactions", "core.items", "core.users"), None);
        assert_eq!(wired("log.interactions", "log.items", "log.users"), None);
        let numbered = "for which `core` numbered users and items anew";
        let error = wired("core.interactions", "log.items", "log.users").unwrap();
        for part in [
            format!("`world.items` is `log.items`, but `world.interactions` is `cut.train`, {numbered}").as_str(),
            "x.yaml:7:71",
            "help: connect `core.items`, or what was made of it",
            format!("`world.users` is `log.users`, but `world.interactions` is `cut.train`, {numbered}").as_str(),
            format!("`offers.items` is `log.items`, but `offers.interactions` is `cut.train`, {numbered}").as_str(),
            "4 errors in x.yaml",
        ] {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
        let error = wired("log.interactions", "core.items", "core.users").unwrap();
        for part in [
            format!("`world.interactions` is `cut.train`, but `world.items` is `core.items`, {numbered}").as_str(),
            "help: connect `core.interactions`, or what was made of it",
            "2 errors in x.yaml",
        ] {
            assert!(error.contains(part), "no `{part}` in {error}");
        }
    }

    #[test]
    fn a_log_of_another_catalogue_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut inputs = inputs();
        inputs.items = inputs.items.take(&[0, 1, 2]);
        let error = KCore::default().run(inputs, &Context::detached(folder.path())).err().unwrap().to_string();
        assert!(error.contains("item 3, but there are 5 users and 3 items") && error.contains("\nhelp: "), "{error}");
    }

    #[test]
    fn thresholds_are_apart_and_who_never_came_goes() {
        let core = run(1, 1).unwrap();
        assert_eq!((core.interactions.len(), core.users.len(), core.items.len()), (8, 4, 3));
        let core = run(3, 1).unwrap();
        assert_eq!((core.users.id, core.items.id), (names("a"), names("wy")));
        let error = run(4, 1).err().unwrap().to_string();
        assert!(error.contains("nothing is left of 8 interactions"), "{error}");
        assert_eq!(KCore { min_per_user: 1, min_per_item: 0 }.check().unwrap_err().0, "min_per_item");
    }
}
