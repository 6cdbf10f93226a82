//! A table in a file, whatever the format: its schema, what its frame says, and its batches.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use pipeline::progress::{Bar, Progress};

use super::arrow::ArrowFile;
use super::filter::Filter;
use super::parquet::ParquetFile;
use crate::artifact::{catch_panics, damaged};

/// Values up to which a table is read as a whole without being asked to: about a second.
const FEW_VALUES: u64 = 20_000_000;
/// The same in bytes, for values that are long.
const FEW_BYTES: u64 = 256 << 20;

/// Batches of some columns of a file.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

/// A table in a file.
pub(super) enum Source {
    Parquet(ParquetFile),
    Arrow(ArrowFile),
}

impl Source {
    pub fn schema(&self) -> &SchemaRef {
        match self {
            Self::Parquet(file) => file.schema(),
            Self::Arrow(file) => file.schema(),
        }
    }

    /// How many rows the frame of the file announces.
    pub fn rows(&self) -> u64 {
        match self {
            Self::Parquet(file) => file.rows(),
            Self::Arrow(file) => file.rows(),
        }
    }

    /// Bytes of all values, unpacked where the file says so.
    fn bytes(&self) -> u64 {
        match self {
            Self::Parquet(file) => file.unpacked_bytes(),
            Self::Arrow(file) => file.bytes(),
        }
    }

    /// Whether reading `columns` of its columns takes no patience.
    pub fn is_small(&self, columns: usize) -> bool {
        self.rows().saturating_mul(columns as u64) <= FEW_VALUES && self.bytes() <= FEW_BYTES
    }

    fn batches(&self, columns: &[usize]) -> Result<Batches> {
        match self {
            Self::Parquet(file) => file.batches(columns),
            Self::Arrow(file) => file.batches(columns),
        }
    }

    /// Reads `columns`, ascending, batch by batch; of each batch only the rows that pass the filter.
    ///
    /// # Errors
    /// When the file cannot be opened again, or its column chunks or dictionaries are not where they should be.
    pub fn read<'a>(
        &'a self,
        columns: &[usize],
        filter: Option<&'a Filter>,
        progress: &Progress,
    ) -> Result<Pieces<'a>> {
        let mut read = columns.to_vec();
        read.extend(filter.iter().flat_map(|filter| &filter.columns));
        read.sort_unstable();
        read.dedup();
        let batches = self.batches(&read)?;
        // A small table is there before a bar could be read.
        let bar = (!self.is_small(read.len())).then(|| progress.bar("rows", Some(self.rows()), "rows"));
        Ok(Pieces { batches, read, filter, bar, row: 0 })
    }
}

/// The wanted rows of a table, batch by batch.
pub(super) struct Pieces<'a> {
    batches: Batches,
    /// The columns in each batch, ascending.
    read: Vec<usize>,
    filter: Option<&'a Filter>,
    bar: Option<Bar>,
    /// The row of the file that the next batch begins with.
    row: u64,
}

/// Some wanted rows.
pub(super) struct Piece {
    batch: RecordBatch,
    columns: Arc<[usize]>,
    /// The row of the file behind each row, where a filter left some out; else they follow `first`.
    numbers: Option<Vec<u64>>,
    first: u64,
}

impl Piece {
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// The values of a column of the file.
    pub fn column(&self, column: usize) -> &ArrayRef {
        self.batch.column(self.columns.binary_search(&column).expect("only columns that were asked for are read"))
    }

    /// The row of the file, from 0.
    pub fn number(&self, row: usize) -> u64 {
        self.numbers.as_ref().map_or(self.first + row as u64, |numbers| numbers[row])
    }
}

impl Pieces<'_> {
    /// Rows of the file that were read so far.
    pub fn seen(&self) -> u64 {
        self.row
    }

    fn piece(&mut self, batch: RecordBatch) -> Result<Piece> {
        let torn = |error: String| damaged(format!("cannot read on after row {}", self.row), error);
        if batch.num_columns() != self.read.len() {
            return Err(torn(format!("a batch has {} columns, not {}", batch.num_columns(), self.read.len())));
        }
        let (first, rows) = (self.row, batch.num_rows());
        let mut piece = Piece { batch, columns: self.read.clone().into(), numbers: None, first };
        if let Some(filter) = self.filter {
            let wanted = catch_panics(|| filter.wanted(&|column| Arc::clone(piece.column(column)))).map_err(torn)?;
            let numbers = wanted.iter().enumerate().filter(|(_, wanted)| *wanted == Some(true));
            piece.numbers = Some(numbers.map(|(row, _)| first + row as u64).collect());
            piece.batch = catch_panics(|| filter_record_batch(&piece.batch, &wanted)).map_err(torn)?;
        }
        self.row += rows as u64;
        if let Some(bar) = &self.bar {
            bar.inc(rows as u64);
        }
        Ok(piece)
    }
}

impl Iterator for Pieces<'_> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        let batches = &mut self.batches;
        match catch_panics(|| batches.next().transpose()) {
            Ok(batch) => batch.map(|batch| self.piece(batch)),
            Err(error) => Some(Err(damaged(format!("cannot read on after row {}", self.row), error))),
        }
    }
}
