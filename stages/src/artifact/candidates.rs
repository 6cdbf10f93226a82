//! The candidates of a retriever.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use arrow::array::{BooleanArray, Float32Array, UInt32Array};
use pipeline::{Artifact, IdSpaces};

use super::items::ONE_NUMBERING;
use super::{World, frame, row_groups};

/// Parquet, one row a user and rank, by user, then rank: `user: u32`, `rank: u32` (from 0, the best), `item: u32`,
/// `score: f32` (the retriever's own scale, never rising with the rank), `filter_quit_items: bool` (the same in every row). Every
/// user has at least one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidates {
    /// For each user, items best first.
    pub items: Vec<Vec<u32>>,
    /// The score of each.
    pub scores: Vec<Vec<f32>>,
    /// Whether candidates at which the simulated user would quit are skipped.
    pub filter_quit_items: bool,
}

impl Candidates {
    /// Whether they are for the users and items of `world`, as far as numbers tell.
    ///
    /// # Errors
    /// With what differs.
    pub fn check_world(&self, world: &World) -> Result<()> {
        let (users, items) = (world.users(), world.items());
        ensure!(
            self.items.len() == users,
            "the candidates have {} users, the world has {users}\n{ONE_NUMBERING}",
            self.items.len()
        );
        let known = self.items.iter().flatten().all(|&item| (item as usize) < items);
        ensure!(known, "the candidates hold an item outside of the world's {items} items\n{ONE_NUMBERING}");
        Ok(())
    }
}

impl Artifact for Candidates {
    const KIND: &'static str = "candidates";
    const EXTENSION: &'static str = "parquet";
    /// 2: with the spaces of ids that its row numbers belong to. 3: the column `filter_quit_items` has its name.
    const FORMAT: u32 = 3;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        ensure!(self.items.len() == self.scores.len(), "candidates and scores are of different users");
        for (user, (items, scores)) in self.items.iter().zip(&self.scores).enumerate() {
            ensure!(!items.is_empty(), "user {user} has an empty list, which the file cannot say");
            ensure!(items.len() == scores.len(), "user {user} has {} items and {} scores", items.len(), scores.len());
        }
        // Where the list of each user begins, and the end of the last.
        let mut starts = vec![0];
        starts.extend(self.items.iter().scan(0, |rows, items| {
            *rows += items.len();
            Some(*rows)
        }));
        let rows = starts[self.items.len()];
        row_groups::write(path, rows, |range| {
            let first = starts.partition_point(|start| *start <= range.start) - 1;
            let ranks = || {
                let users = (first..self.items.len()).take_while(|&user| starts[user] < range.end);
                users.flat_map(|user| {
                    let start = starts[user];
                    let rows = range.start.max(start)..range.end.min(starts[user + 1]);
                    rows.map(move |row| (user, row - start))
                })
            };
            let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
                ("user", Arc::new(UInt32Array::from_iter_values(ranks().map(|(user, _)| user as u32)))),
                ("rank", Arc::new(UInt32Array::from_iter_values(ranks().map(|(_, rank)| rank as u32)))),
                ("item", Arc::new(UInt32Array::from_iter_values(ranks().map(|(u, r)| self.items[u][r])))),
                ("score", Arc::new(Float32Array::from_iter_values(ranks().map(|(u, r)| self.scores[u][r])))),
                ("filter_quit_items", Arc::new(BooleanArray::from(vec![self.filter_quit_items; range.len()]))),
            ];
            frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)
        })
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let ids = |name| frame::column::<UInt32Array>(&batch, name);
        let (user, rank, item) = (ids("user")?, ids("rank")?, ids("item")?);
        let score = frame::column::<Float32Array>(&batch, "score")?;
        let filter_quit_items = frame::column::<BooleanArray>(&batch, "filter_quit_items")?;
        let mut candidates =
            Self { filter_quit_items: !filter_quit_items.is_empty() && filter_quit_items.value(0), ..Self::default() };
        for row in 0..batch.num_rows() {
            let (u, r) = (user.value(row) as usize, rank.value(row) as usize);
            if r == 0 {
                ensure!(u == candidates.items.len(), "row {row} opens the list of user {u} out of order");
                candidates.items.push(Vec::new());
                candidates.scores.push(Vec::new());
            }
            let next = candidates.items.last().map_or(0, Vec::len);
            ensure!(u + 1 == candidates.items.len() && r == next, "row {row} is rank {r} of user {u}, out of order");
            candidates.items[u].push(item.value(row));
            candidates.scores[u].push(score.value(row));
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More rows than a row group holds, whose border lies within the list of a user.
    #[test]
    fn a_long_table_gives_back_what_was_written() {
        let lists = (0..70_000_usize).map(|user| (0..1 + user as u32 % 31).collect::<Vec<u32>>());
        let items: Vec<Vec<u32>> = lists.collect();
        let scores = items.iter().map(|list| list.iter().map(|&item| -(item as f32)).collect()).collect();
        let candidates = Candidates { items, scores, filter_quit_items: false };
        let folder = tempfile::tempdir().unwrap();
        candidates.write(&folder.path().join("candidates")).unwrap();
        assert!(Candidates::read(&folder.path().join("candidates")).unwrap() == candidates);
    }

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let candidates = Candidates {
            items: vec![vec![3, 1], vec![2]],
            scores: vec![vec![1.5, 1.0], vec![-2.0]],
            filter_quit_items: true,
        };
        let path = folder.path().join("candidates");
        candidates.write(&path).unwrap();
        assert_eq!(Candidates::read(&path).unwrap(), candidates);
        let none = Candidates::default();
        none.write(&folder.path().join("none")).unwrap();
        assert_eq!(Candidates::read(&folder.path().join("none")).unwrap(), none);
        let empty = Candidates { items: vec![vec![]], scores: vec![vec![]], filter_quit_items: false };
        assert!(empty.write(&folder.path().join("empty")).unwrap_err().to_string().starts_with("user 0 has an empty"));
    }
}
