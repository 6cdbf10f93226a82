//! The return of every episode of a study of log sizes: what recommenders achieve that learned from N ratings.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Array, DictionaryArray, Float32Array, StringArray, UInt16Array, UInt32Array};
use arrow::datatypes::UInt16Type;
use pipeline::{Artifact, IdSpaces};

use super::frame;

/// A recommender: what learns, and which scores of items it is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Arm {
    /// The learner; empty where nothing is learned and the scores alone rank.
    pub learner: String,
    /// The scores; empty where none are given.
    pub scores: String,
}

impl Arm {
    /// The arm of these names.
    #[must_use]
    pub fn new(learner: &str, scores: &str) -> Self {
        Self { learner: learner.to_owned(), scores: scores.to_owned() }
    }
}

/// Where an arm was evaluated, and what it had learned from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReturnCell {
    /// The arm.
    pub arm: Arm,
    /// The evaluation world.
    pub world: String,
    /// N: the number of ratings.
    pub n: u32,
    /// The number of the draw of the ratings.
    pub draw: u32,
}

/// Parquet, one row an episode, by cell, then user: `learner: dictionary<utf8>`, `scores: dictionary<utf8>`,
/// `world: dictionary<utf8>`, `n: u32`, `draw: u32`, `user: u32`, `return: f32` (Σ of all rewards of the episode).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Returns {
    /// The users of every cell, ascending.
    pub users: Vec<u32>,
    /// Each cell with one return a user.
    pub cells: Vec<(ReturnCell, Vec<f32>)>,
}

impl Artifact for Returns {
    const KIND: &'static str = "returns";
    const EXTENSION: &'static str = "parquet";
    const FORMAT: u32 = 1;
    const NUMBERED: bool = true;

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        for (cell, returns) in &self.cells {
            anyhow::ensure!(returns.len() == self.users.len(), "{cell:?} has not one return a user");
        }
        let count = self.users.len();
        let each = |number: fn(&ReturnCell) -> u32| {
            UInt32Array::from_iter_values(
                self.cells.iter().flat_map(|(cell, _)| std::iter::repeat_n(number(cell), count)),
            )
        };
        let columns: Vec<(&str, arrow::array::ArrayRef)> = vec![
            ("learner", Arc::new(self.words(|cell| &cell.arm.learner)?)),
            ("scores", Arc::new(self.words(|cell| &cell.arm.scores)?)),
            ("world", Arc::new(self.words(|cell| &cell.world)?)),
            ("n", Arc::new(each(|cell| cell.n))),
            ("draw", Arc::new(each(|cell| cell.draw))),
            ("user", Arc::new(UInt32Array::from_iter_values(self.cells.iter().flat_map(|_| &self.users).copied()))),
            ("return", Arc::new(Float32Array::from_iter_values(self.cells.iter().flat_map(|(_, x)| x).copied()))),
        ];
        frame::write_parquet(path, &frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)?)
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let words = |name| Words::of(frame::column::<DictionaryArray<UInt16Type>>(&batch, name)?);
        let (learner, scores, world) = (words("learner")?, words("scores")?, words("world")?);
        let numbers = |name| frame::column::<UInt32Array>(&batch, name);
        let (n, draw, user) = (numbers("n")?, numbers("draw")?, numbers("user")?);
        let value = frame::column::<Float32Array>(&batch, "return")?;
        let mut found = Self::default();
        let mut row = 0;
        while row < batch.num_rows() {
            let same = |at: usize| {
                [&learner, &scores, &world].iter().all(|words| words.keys.value(at) == words.keys.value(row))
                    && (n.value(at), draw.value(at)) == (n.value(row), draw.value(row))
            };
            let end = (row..batch.num_rows()).find(|&at| !same(at)).unwrap_or(batch.num_rows());
            let users: Vec<u32> = (row..end).map(|at| user.value(at)).collect();
            if row == 0 {
                found.users = users;
            } else {
                anyhow::ensure!(users == found.users, "the rows from {row} on are not of the users of the first cell");
            }
            let cell = ReturnCell {
                arm: Arm::new(learner.value(row), scores.value(row)),
                world: world.value(row).to_owned(),
                n: n.value(row),
                draw: draw.value(row),
            };
            found.cells.push((cell, (row..end).map(|at| value.value(at)).collect()));
            row = end;
        }
        Ok(found)
    }
}

impl Returns {
    /// One word a row, each kept once.
    fn words(&self, of: impl Fn(&ReturnCell) -> &String) -> Result<DictionaryArray<UInt16Type>> {
        let mut places: HashMap<&str, u16> = HashMap::new();
        let mut words: Vec<&str> = Vec::new();
        let mut keys: Vec<u16> = Vec::with_capacity(self.cells.len() * self.users.len());
        for (cell, returns) in &self.cells {
            let word = of(cell).as_str();
            let place = match places.get(word) {
                Some(&place) => place,
                None => {
                    let place = u16::try_from(words.len()).context("more than 65,536 names")?;
                    words.push(word);
                    places.insert(word, place);
                    place
                }
            };
            keys.extend(std::iter::repeat_n(place, returns.len()));
        }
        Ok(DictionaryArray::try_new(UInt16Array::from(keys), Arc::new(StringArray::from(words)))?)
    }
}

/// A column of words with their places.
struct Words<'a> {
    keys: &'a UInt16Array,
    words: &'a StringArray,
}

impl<'a> Words<'a> {
    fn of(column: &'a DictionaryArray<UInt16Type>) -> Result<Self> {
        let words = column.values().as_any().downcast_ref::<StringArray>().context("a dictionary of words")?;
        Ok(Self { keys: column.keys(), words })
    }

    fn value(&self, row: usize) -> &'a str {
        self.words.value(usize::from(self.keys.value(row)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let cell = |learner: &str, scores: &str, n, draw| ReturnCell {
            arm: Arm::new(learner, scores),
            world: "mf".to_owned(),
            n,
            draw,
        };
        let returns = Returns {
            users: vec![1, 4],
            cells: vec![
                (cell("biases", "", 100, 0), vec![1.0, 2.5]),
                (cell("biases", "", 100, 1), vec![0.0, -1.0]),
                (cell("", "llm", 0, 0), vec![3.0, 4.0]),
            ],
        };
        let path = folder.path().join("returns");
        returns.write(&path).unwrap();
        assert_eq!(Returns::read(&path).unwrap(), returns);
        let uneven = Returns { users: vec![0], ..returns };
        assert!(uneven.write(&folder.path().join("uneven")).unwrap_err().to_string().contains("not one return a user"));
    }
}
