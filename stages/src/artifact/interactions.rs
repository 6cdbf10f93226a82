//! The log: who rated what, when.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{ArrayRef, Float32Array, Int64Array, UInt32Array};
use pipeline::{Artifact, IdSpaces, Sizes};

use super::items::ONE_NUMBERING;
use super::{frame, row_groups};

/// Parquet, one row an interaction, in the order of the source:
/// `user: u32` and `item: u32` (rows of [`Users`](super::Users) and [`Items`](super::Items)), `rating: f32` (the log's own
/// scale), `timestamp: i64` (seconds since 1970, 0 where the log has none).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interactions {
    /// Row of the user.
    pub user: Vec<u32>,
    /// Row of the item.
    pub item: Vec<u32>,
    /// The rating on the log's scale.
    pub rating: Vec<f32>,
    /// Seconds since 1970.
    pub timestamp: Vec<i64>,
}

impl Interactions {
    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.user.len()
    }
    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.user.is_empty()
    }
    /// Whether every row, of the log at the input `port`, is of one of `users` and one of `items`.
    ///
    /// # Errors
    /// With the first row that is not, and both sizes.
    pub fn check_within(&self, port: &str, users: usize, items: usize) -> Result<()> {
        let strange = |(&user, &item): (&u32, &u32)| user as usize >= users || item as usize >= items;
        if let Some(row) = self.user.iter().zip(&self.item).position(strange) {
            bail!(
                "row {row} of the log at `{port}` is of user {} and item {}, but there are {users} users and {items} items, \
                 counted from 0\n{ONE_NUMBERING}",
                self.user[row],
                self.item[row]
            );
        }
        Ok(())
    }
    /// The rating that all rows have, where there are two or more: a log that only says what people chose.
    #[must_use]
    pub fn only_rating(&self) -> Option<f32> {
        let (&first, rest) = self.rating.split_first()?;
        (!rest.is_empty() && rest.iter().all(|&rating| rating == first)).then_some(first)
    }
    /// The rows at `keep`, in that order.
    #[must_use]
    pub fn take(&self, keep: &[usize]) -> Self {
        Self {
            user: keep.iter().map(|&i| self.user[i]).collect(),
            item: keep.iter().map(|&i| self.item[i]).collect(),
            rating: keep.iter().map(|&i| self.rating[i]).collect(),
            timestamp: keep.iter().map(|&i| self.timestamp[i]).collect(),
        }
    }
}

impl Artifact for Interactions {
    const KIND: &'static str = "interactions";
    const EXTENSION: &'static str = "parquet";
    /// 2: with the spaces of ids that its row numbers belong to.
    const FORMAT: u32 = 2;
    const NUMBERED: bool = true;

    fn sizes_of(path: &Path) -> Result<Sizes> {
        frame::parquet_rows(path, "interactions")
    }

    fn write(&self, path: &Path) -> Result<()> {
        self.write_within(path, &IdSpaces::default())
    }

    fn id_spaces_of(path: &Path) -> Result<IdSpaces> {
        frame::parquet_id_spaces(path, Self::KIND, Self::FORMAT)
    }

    fn write_within(&self, path: &Path, spaces: &IdSpaces) -> Result<()> {
        row_groups::write(path, self.len(), |rows| {
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("user", Arc::new(UInt32Array::from(self.user[rows.clone()].to_vec()))),
                ("item", Arc::new(UInt32Array::from(self.item[rows.clone()].to_vec()))),
                ("rating", Arc::new(Float32Array::from(self.rating[rows.clone()].to_vec()))),
                ("timestamp", Arc::new(Int64Array::from(self.timestamp[rows].to_vec()))),
            ];
            frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)
        })
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        Ok(Self {
            user: frame::column::<UInt32Array>(&batch, "user")?.values().to_vec(),
            item: frame::column::<UInt32Array>(&batch, "item")?.values().to_vec(),
            rating: frame::column::<Float32Array>(&batch, "rating")?.values().to_vec(),
            timestamp: frame::column::<Int64Array>(&batch, "timestamp")?.values().to_vec(),
        })
    }
}
