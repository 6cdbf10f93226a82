//! A table in a file, whatever the format: its schema, what its frame says, and its batches.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, AsArray as _, RecordBatch, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, UInt64Type};
use pipeline::UsageError;
use pipeline::progress::{Bar, Progress};

use super::arrow::ArrowFile;
use super::batches::Batches;
use super::parquet::ParquetFile;
use super::query::{Query, Running, Scan};
use crate::artifact::{catch_panics, damaged};

/// Values up to which a table is read as a whole without being asked to: about a second.
const FEW_VALUES: u64 = 20_000_000;
/// The same in bytes, for values that are long.
const FEW_BYTES: u64 = 256 << 20;

/// A table in a file, or in many.
pub(super) struct Source {
    pub table: Table,
    /// Where polars reads the same.
    pub scan: Scan,
}

/// By whom a table is read.
pub(super) enum Table {
    Parquet(ParquetFile),
    Arrow(ArrowFile),
    /// Whatever has no frame to ask: text, streams, many files, and what `--sql` computes.
    Query(Box<Query>),
}

impl Source {
    pub fn schema(&self) -> &SchemaRef {
        match &self.table {
            Table::Parquet(file) => file.schema(),
            Table::Arrow(file) => file.schema(),
            Table::Query(query) => query.schema(),
        }
    }

    /// How many rows the frame of the file announces; without a frame they are counted.
    ///
    /// # Errors
    /// When there is no frame and the files cannot be read.
    pub fn rows(&self) -> Result<u64> {
        match &self.table {
            Table::Parquet(file) => Ok(file.rows()),
            Table::Arrow(file) => Ok(file.rows()),
            Table::Query(query) => query.count(),
        }
    }

    /// What the frame of a file says of the number of rows.
    fn announced(&self) -> Option<u64> {
        match &self.table {
            Table::Query(_) => None,
            _ => self.rows().ok(),
        }
    }

    /// The table as polars reads it.
    ///
    /// # Errors
    /// [`UsageError`] where a column has a type that polars has not.
    pub fn queried(&self) -> Result<&Scan> {
        let strange = self.schema().fields().iter().find(|field| is_strange(field.data_type()));
        match strange {
            Some(field) => {
                let (name, kind) = (pipeline::escape::shown(field.name(), 80), field.data_type());
                let help = "write the file without it, or as numbers or texts; without `--sql`, `--filter` and `--tail` it is shown as it is";
                Err(UsageError(format!("its column `{name}` is {kind}, which a query cannot read\nhelp: {help}"))
                    .into())
            }
            None => Ok(&self.scan),
        }
    }

    /// Bytes of all values, unpacked where the file says so.
    fn bytes(&self) -> u64 {
        match &self.table {
            Table::Parquet(file) => file.unpacked_bytes(),
            Table::Arrow(file) => file.bytes(),
            Table::Query(_) => self.scan.bytes,
        }
    }

    /// Whether reading `columns` of its columns takes no patience.
    pub fn is_small(&self, columns: usize) -> bool {
        self.announced().unwrap_or(0).saturating_mul(columns as u64) <= FEW_VALUES && self.bytes() <= FEW_BYTES
    }

    /// Reads `columns`, ascending, batch by batch; those of `chosen` where only some rows are wanted.
    ///
    /// # Errors
    /// When the file cannot be opened again, or its column chunks or dictionaries are not where they should be.
    pub fn read(&self, columns: &[usize], chosen: Option<&Query>, progress: &Progress) -> Result<Pieces> {
        let start = |query: &Query| {
            let schema = self.schema();
            let names: Vec<&str> = columns.iter().map(|&column| schema.field(column).name().as_str()).collect();
            let kinds = columns.iter().map(|&column| schema.field(column).data_type().clone()).collect();
            Stream::Query(query.start(&names), kinds)
        };
        let stream = match (&self.table, chosen) {
            (Table::Query(query), None) => start(query),
            (_, Some(chosen)) => start(chosen),
            (Table::Parquet(file), None) => Stream::File(file.batches(columns)?),
            (Table::Arrow(file), None) => Stream::File(file.batches(columns)?),
        };
        let of = if chosen.is_some() { None } else { self.announced() };
        // A small table is there before a bar could be read.
        let bar = (!self.is_small(columns.len())).then(|| progress.bar("rows", of, "rows"));
        Ok(Pieces { stream, read: columns.into(), is_numbered: chosen.is_some_and(Query::is_numbered), bar, row: 0 })
    }
}

/// Whether polars has no type for such values.
fn is_strange(kind: &DataType) -> bool {
    use DataType as T;
    match kind {
        T::Interval(_) | T::Union(..) | T::RunEndEncoded(..) | T::ListView(_) | T::LargeListView(_) | T::Float16 => {
            true
        }
        T::Dictionary(_, values) => is_strange(values),
        T::List(part) | T::LargeList(part) | T::FixedSizeList(part, _) | T::Map(part, _) => {
            is_strange(part.data_type())
        }
        T::Struct(parts) => parts.iter().any(|part| is_strange(part.data_type())),
        _ => false,
    }
}

enum Stream {
    File(Batches),
    /// And the types that the columns have in the file.
    Query(Running, Vec<DataType>),
}

/// The wanted rows of a table, batch by batch.
pub(super) struct Pieces {
    stream: Stream,
    /// The columns in each batch, ascending.
    read: Arc<[usize]>,
    /// Whether the first column of each batch is the number of the row.
    is_numbered: bool,
    bar: Option<Bar>,
    /// The row of the file that the next batch begins with.
    row: u64,
}

/// Some wanted rows.
pub(super) struct Piece {
    columns: Vec<ArrayRef>,
    /// Which columns of the file they are, ascending.
    read: Arc<[usize]>,
    rows: usize,
    /// The row of the file behind each row, where some were left out; else they follow `first`.
    numbers: Option<UInt64Array>,
    first: u64,
}

impl Piece {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The values of a column of the file.
    pub fn column(&self, column: usize) -> &ArrayRef {
        &self.columns[self.read.binary_search(&column).expect("only columns that were asked for are read")]
    }

    /// The row of the file, from 0.
    pub fn number(&self, row: usize) -> u64 {
        self.numbers.as_ref().map_or(self.first + row as u64, |numbers| numbers.value(row))
    }
}

impl Pieces {
    /// Rows that were read so far.
    pub fn seen(&self) -> u64 {
        self.row
    }

    fn piece(&mut self, batch: RecordBatch) -> Result<Piece> {
        let torn = |error: String| damaged(format!("cannot read on after row {}", self.row), error);
        let (mut columns, rows) = (batch.columns(), batch.num_rows());
        let mut numbers = None;
        if let (true, Some((first, rest))) = (self.is_numbered, columns.split_first()) {
            let wide = catch_panics(|| cast(first, &DataType::UInt64)).map_err(torn)?;
            numbers = Some(wide.as_primitive::<UInt64Type>().clone());
            columns = rest;
        }
        if columns.len() != self.read.len() {
            return Err(torn(format!("a batch has {} columns, not {}", columns.len(), self.read.len())));
        }
        let columns = match &self.stream {
            Stream::File(_) => columns.to_vec(),
            // polars has one type for several of arrow's.
            Stream::Query(_, kinds) => {
                let as_in_file = |(column, kind): (&ArrayRef, &DataType)| catch_panics(|| cast(column, kind));
                columns.iter().zip(kinds).map(as_in_file).collect::<Result<_, _>>().map_err(torn)?
            }
        };
        let piece = Piece { columns, read: Arc::clone(&self.read), rows, numbers, first: self.row };
        self.row += rows as u64;
        if let Some(bar) = &self.bar {
            bar.inc(rows as u64);
        }
        Ok(piece)
    }
}

impl Iterator for Pieces {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        let row = self.row;
        let batch = match &mut self.stream {
            Stream::File(batches) => catch_panics(|| batches.next().transpose())
                .map_err(|error| damaged(format!("cannot read on after row {row}"), error))
                .transpose(),
            Stream::Query(running, _) => running.batch(row),
        };
        batch.map(|batch| batch.and_then(|batch| self.piece(batch)))
    }
}
