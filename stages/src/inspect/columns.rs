//! A table, whatever file it lies in: its columns, their statistics and its first rows, batch by batch.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use serde::Serialize;

use super::cell::Cell;
use super::damaged;
use super::guard::guarded;
use super::statistics::{ColumnStatistics, Gauge};

/// Columns measured in one pass over the file. A column's state takes up to 8 MB (its million values), so a pass takes
/// about 128 MB however wide the table is.
const AT_ONCE: usize = 16;

/// What a table holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableDescription {
    /// Number of rows.
    pub rows: u64,
    /// In the order of the schema.
    pub columns: Vec<ColumnDescription>,
    /// The first rows.
    pub head: Head,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnDescription {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub r#type: String,
    /// Whether the schema allows missing values.
    pub nullable: bool,
    /// What the schema says about it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What its values look like.
    pub statistics: ColumnStatistics,
}

/// The first rows of a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Head {
    /// A list of values for each row, in the order of the columns.
    pub rows: Vec<Vec<Cell>>,
    /// The numbers in `rows` that JSON can only write as `null`.
    pub non_finite: Vec<NonFinite>,
}

/// A NaN or infinite number in [`Head::rows`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NonFinite {
    /// Row, from 0.
    pub row: usize,
    /// Column, from 0.
    pub column: usize,
    /// `NaN`, `inf` or `-inf`.
    pub value: &'static str,
}

/// Batches of some columns of a file.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

/// Describes the table that `open` reads. `open` is given the columns wanted, ascending, and may be called several times.
///
/// # Errors
/// When the rows cannot be read.
pub(super) fn describe(
    schema: &Schema,
    head: usize,
    open: impl Fn(&[usize]) -> Result<Batches>,
) -> Result<TableDescription> {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    // A table without columns still has rows.
    let passes: Vec<&[usize]> = if all.is_empty() { vec![&[]] } else { all.chunks(AT_ONCE).collect() };
    let mut rows = 0;
    let mut columns = Vec::new();
    let mut heads: Vec<Vec<Cell>> = Vec::new();
    for wanted in passes {
        let mut gauges: Vec<_> = wanted.iter().map(|&index| Gauge::new(schema.field(index).data_type())).collect();
        let mut cells = vec![Vec::new(); wanted.len()];
        rows = 0;
        let mut batches = open(wanted)?;
        loop {
            let torn = |error: String| damaged(format!("cannot read on after row {rows}"), error);
            let Some(batch) = guarded(|| batches.next().transpose()).map_err(torn)? else { break };
            ensure!(
                batch.num_columns() == wanted.len(),
                "a batch has {} columns, not {}",
                batch.num_columns(),
                wanted.len()
            );
            for ((gauge, cells), array) in gauges.iter_mut().zip(&mut cells).zip(batch.columns()) {
                gauge.push(array).map_err(|error| torn(error.to_string()))?;
                let missing = head.saturating_sub(cells.len()).min(array.len());
                cells.extend((0..missing).map(|row| Cell::at(array, row)));
            }
            rows += batch.num_rows() as u64;
        }
        heads.extend(cells);
        for (&index, gauge) in wanted.iter().zip(gauges) {
            let field = schema.field(index);
            columns.push(ColumnDescription {
                name: field.name().clone(),
                r#type: field.data_type().to_string(),
                nullable: field.is_nullable(),
                metadata: field.metadata().iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
                statistics: gauge.finish(),
            });
        }
    }
    Ok(TableDescription { rows, columns, head: Head::new(heads) })
}

impl Head {
    /// From the first values of each column, as many of each.
    fn new(columns: Vec<Vec<Cell>>) -> Self {
        let mut head = Self::default();
        for (column, cells) in columns.into_iter().enumerate() {
            head.rows.resize(head.rows.len().max(cells.len()), Vec::new());
            for (row, cell) in cells.into_iter().enumerate() {
                head.non_finite.extend(cell.non_finite().map(|value| NonFinite { row, column, value }));
                head.rows[row].push(cell);
            }
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array};

    use super::*;

    #[test]
    fn a_wide_table_is_read_in_passes_and_keeps_its_order() {
        let column = |index: usize| {
            let values: ArrayRef = Arc::new(Float64Array::from(vec![index as f64, f64::NAN]));
            (format!("c{index}"), values)
        };
        let batch = RecordBatch::try_from_iter((0..40).map(column)).unwrap();
        let passes = std::cell::Cell::new(0);
        let open = |wanted: &[usize]| -> Result<Batches> {
            passes.set(passes.get() + 1);
            Ok(Box::new([batch.project(wanted), batch.project(wanted)].into_iter()))
        };
        let table = describe(&batch.schema(), 3, open).unwrap();
        assert_eq!((passes.get(), table.rows, table.columns.len()), (3, 4, 40));
        assert_eq!(table.columns[39].name, "c39");
        assert_eq!(table.head.rows.len(), 3);
        assert_eq!(table.head.rows[2][39], Cell::Real(39.0));
        assert_eq!(table.head.non_finite[0], NonFinite { row: 1, column: 0, value: "NaN" });
    }

    #[test]
    fn an_error_says_after_which_row() {
        let batch = RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(vec![1.0])) as ArrayRef)]).unwrap();
        let open = |_: &[usize]| -> Result<Batches> {
            Ok(Box::new([Ok(batch.clone()), Err(ArrowError::ParseError("torn".into()))].into_iter()))
        };
        let error = format!("{:#}", describe(&batch.schema(), 3, open).unwrap_err());
        assert!(error.starts_with("cannot read on after row 1") && error.contains("torn"), "{error}");
    }
}
