//! Where in each ranking the relevant items stand: what ranking metrics are made from.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{Array as _, ArrayRef, ListArray, ListBuilder, StringArray, UInt32Array, UInt32Builder};
use pipeline::{Artifact, IdSpaces};

use super::{frame, row_groups};

/// One ranking for one user.
#[derive(Clone, Debug, PartialEq)]
pub struct RankingHit {
    /// The system.
    pub system: String,
    /// The cell of its training seed (`seed=3`), or the repetition; may be empty.
    pub cell: String,
    /// Row of the user.
    pub user: u32,
    /// Number of items that are relevant for the user.
    pub relevant: u32,
    /// Ranks of those that are among the first items, from 1, ascending.
    pub ranks: Vec<u32>,
}

/// Parquet, one row a system, cell and user: `system: utf8`, `cell: utf8`, `user: u32`, `relevant: u32`, `ranks: list<u32>` (from 1,
/// ascending, up to the largest cut-off). Every mean of [`RankingMetrics`](super::RankingMetrics) but `coverage` follows from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RankingHits(pub Vec<RankingHit>);

impl Artifact for RankingHits {
    const KIND: &'static str = "ranking_hits";
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
        row_groups::write(path, self.0.len(), |range| {
            let rows = || self.0[range.clone()].iter();
            let mut ranks = ListBuilder::new(UInt32Builder::new());
            for row in rows() {
                ranks.values().append_slice(&row.ranks);
                ranks.append(true);
            }
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("system", Arc::new(StringArray::from_iter_values(rows().map(|row| &row.system)))),
                ("cell", Arc::new(StringArray::from_iter_values(rows().map(|row| &row.cell)))),
                ("user", Arc::new(UInt32Array::from_iter_values(rows().map(|row| row.user)))),
                ("relevant", Arc::new(UInt32Array::from_iter_values(rows().map(|row| row.relevant)))),
                ("ranks", Arc::new(ranks.finish())),
            ];
            frame::batch_within(Self::KIND, Self::FORMAT, spaces, columns)
        })
    }

    fn read(path: &Path) -> Result<Self> {
        let batch = frame::read_parquet(path, Self::KIND, Self::FORMAT)?;
        let text = |name| frame::column::<StringArray>(&batch, name);
        let number = |name| frame::column::<UInt32Array>(&batch, name);
        let (system, cell, user, relevant) = (text("system")?, text("cell")?, number("user")?, number("relevant")?);
        let ranks = frame::column::<ListArray>(&batch, "ranks")?;
        let row = |row: usize| -> Result<RankingHit> {
            let values = ranks.value(row);
            let values = values.as_any().downcast_ref::<UInt32Array>().context("a list of ranks is not u32")?;
            Ok(RankingHit {
                system: system.value(row).to_owned(),
                cell: cell.value(row).to_owned(),
                user: user.value(row),
                relevant: relevant.value(row),
                ranks: values.values().to_vec(),
            })
        };
        Ok(Self((0..batch.num_rows()).map(row).collect::<Result<_>>()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hits");
        let row = RankingHit { system: "a2c".into(), cell: "seed=1".into(), user: 7, relevant: 3, ranks: vec![1, 9] };
        let hits = RankingHits(vec![row.clone(), RankingHit { ranks: vec![], cell: String::new(), ..row }]);
        hits.write(&path).unwrap();
        assert_eq!(RankingHits::read(&path).unwrap(), hits);
    }
}
