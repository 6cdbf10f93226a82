//! What ids and titles mean to a policy.

use std::sync::OnceLock;

use anyhow::Result;
use pipeline::UsageError;
use pipeline::recommend::{RecommendBatch, Recommended};
use rayon::prelude::*;

use crate::artifact::Ids;

/// Names in a batch from which on an index is made: a name is looked for in the whole list before.
const FEW: usize = 64;

/// The ids and titles of a policy, and its sizes.
pub(super) struct Names {
    ids: Ids,
    users: usize,
    items: usize,
    /// How many of the last items were added after the training.
    added: usize,
    index: OnceLock<Index>,
}

/// Row numbers in the order of the names. (A table of all names would be larger than many a policy.)
struct Index {
    users: Vec<u32>,
    items: Vec<u32>,
    titles: Vec<u32>,
}

fn ordered(names: &[String]) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..names.len() as u32).collect();
    rows.par_sort_unstable_by(|&a, &b| names[a as usize].cmp(&names[b as usize]).then(a.cmp(&b)));
    rows
}

/// The rows of a name in ascending order, by an index of the names where there is one.
fn found(name: &str, names: &[String], index: Option<&Vec<u32>>) -> Vec<u32> {
    match index {
        None => (0..).zip(names).filter(|(_, other)| *other == name).map(|(row, _)| row).collect(),
        Some(index) => {
            let first = index.partition_point(|&row| names[row as usize].as_str() < name);
            index[first..].iter().copied().take_while(|&row| names[row as usize] == name).collect()
        }
    }
}

impl Names {
    pub fn new(ids: Ids, [users, items]: [usize; 2], added: usize) -> Self {
        Self { ids, users, items, added, index: OnceLock::new() }
    }

    /// How many users the log has.
    pub fn users(&self) -> usize {
        self.users
    }

    /// Makes ready for the questions of a batch.
    ///
    /// # Errors
    /// When they go by ids and the file has none.
    pub fn prepare(&self, batch: &RecommendBatch) -> Result<(), UsageError> {
        if batch.rows {
            return Ok(());
        }
        if self.ids.users.is_empty() || self.ids.items.is_empty() {
            let what = "the policy's file does not say which users and items its rows stand for";
            return Err(UsageError(format!("{what}\nhelp: `apprentice recommend --rows` asks by row number, from 0")));
        }
        let names = batch
            .queries
            .iter()
            .map(|query| 1 + query.history.len() + query.exclude.len() + query.candidates.as_ref().map_or(0, Vec::len));
        if names.sum::<usize>() > FEW {
            self.index();
        }
        Ok(())
    }

    /// Makes the index of all names, once.
    pub fn index(&self) {
        let Ids { users, items, titles } = &self.ids;
        self.index.get_or_init(|| Index { users: ordered(users), items: ordered(items), titles: ordered(titles) });
    }

    /// The row of a user; that behind all of them is somebody new, where the batch allows it.
    ///
    /// # Errors
    /// When nobody has this id.
    pub fn user_row(&self, name: &str, batch: &RecommendBatch) -> Result<u32, UsageError> {
        let row = match batch.rows {
            true => row(name, self.users),
            false => found(name, &self.ids.users, self.index.get().map(|index| &index.users)).first().copied(),
        };
        if let Some(row) = row.or_else(|| batch.new_users.then_some(self.users as u32)) {
            return Ok(row);
        }
        let known = self.ids.users.iter().min().map_or_else(String::new, |id| format!(", such as {id:?}"));
        let users = self.users;
        let help = match batch.rows {
            true => format!("with `--rows` users are row numbers from 0, and it knows {users}"),
            false => format!("it knows the {users} users of its log by their ids{known}; `--new-user` answers anybody"),
        };
        Err(UsageError(format!("the policy knows no user {name:?}\nhelp: {help}")))
    }

    /// The row of an item by its id, or by its row number.
    pub fn item_id(&self, id: &str, by_row: bool) -> Option<u32> {
        match by_row {
            true => row(id, self.items),
            false => found(id, &self.ids.items, self.index.get().map(|index| &index.items)).first().copied(),
        }
    }

    /// The row of an item by its id or title, or by its row number.
    ///
    /// # Errors
    /// When no item is called so, or several are.
    pub fn item_row(&self, name: &str, by_row: bool) -> Result<u32, UsageError> {
        // An id goes before a title that reads like it.
        if let Some(id) = self.item_id(name, by_row) {
            return Ok(id);
        }
        let index = self.index.get();
        match found(name, &self.ids.titles, index.map(|index| &index.titles))[..] {
            [item] => Ok(item),
            [] => {
                let help = match by_row {
                    true => format!(
                        "with `--rows` items are row numbers from 0, and it knows {}; an exact title names one, too",
                        self.items
                    ),
                    false => "give its id or its exact title".to_owned(),
                };
                Err(UsageError(format!("the policy's catalogue has no item {name:?}\nhelp: {help}")))
            }
            ref several => {
                let ids: Vec<String> = several.iter().map(|&item| self.item(item, 0.0, by_row).id).collect();
                let (ids, count) = (ids.join(", "), several.len());
                Err(UsageError(format!("{count} items have the title {name:?}\nhelp: give the id of one: {ids}")))
            }
        }
    }

    /// An item as people call it, or by its row number.
    pub fn item(&self, row: u32, score: f32, by_row: bool) -> Recommended {
        let of = |names: &[String]| names.get(row as usize).cloned();
        let id = of(&self.ids.items).filter(|_| !by_row).unwrap_or_else(|| row.to_string());
        let new_item = row as usize + self.added >= self.items;
        Recommended { id, title: of(&self.ids.titles), score, new_item }
    }
}

/// A row number below `count` as one is written, so that `007` is none.
fn row(name: &str, count: usize) -> Option<u32> {
    name.parse().ok().filter(|row: &u32| row.to_string() == name && (*row as usize) < count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_an_index_the_same_rows_are_found() {
        let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let names = texts(&["b", "a", "", "c", "a", "é"]);
        let index = ordered(&names);
        for name in ["a", "b", "c", "", "é", "zz", "aa"] {
            assert_eq!(found(name, &names, None), found(name, &names, Some(&index)), "{name}");
        }
        assert_eq!(found("a", &names, Some(&index)), [1, 4]);
        assert_eq!((row("1", 2), row("01", 2), row("2", 2), row("-1", 2)), (Some(1), None, None, None));
    }
}
