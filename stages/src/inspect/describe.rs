//! A table, whatever file it lies in: its columns, their statistics and some of its rows, batch by batch.

use std::collections::BTreeMap;

use anyhow::Result;
use pipeline::inspect::Request;

use super::selection::{Draw, Selection};
use super::source::{Source, Table};
use super::statistics::{ColumnAccumulator, ColumnStatistics};
use super::table_description::{ColumnDescription, Head, TableDescription};
use super::value::Length;
use crate::artifact::{catch_panics, damaged};

/// Columns measured in one pass over the file. A column's state takes up to 8 MB (its million values), so a pass takes
/// about 128 MB however wide the table is.
const AT_ONCE: usize = 16;
/// Describes a table. It is scanned where it is small, where a filter needs it, and where the request says so.
///
/// # Errors
/// When the rows cannot be read.
pub(super) fn describe(source: &Source, selection: &Selection, request: &Request) -> Result<TableDescription> {
    let scanned = request.scan || selection.filter.is_some() || source.is_small(selection.columns.len());
    let mut head = Head { from_end: matches!(selection.draw, Draw::Last(_)), ..Head::default() };
    if let Draw::Random { seed, .. } = selection.draw {
        head.seed = Some(seed);
    }
    selection.rows(source, request, Length::Short, |(number, cells)| {
        head.push(number, cells);
        Ok(())
    })?;
    let measured = if scanned { Some(measure(source, selection, request)?) } else { None };
    let measured_rows = measured.as_ref().map(|(_, rows)| *rows);
    let (statistics, matching) = measured.unwrap_or_default();
    let rows = match (&source.table, measured_rows) {
        // They were just counted.
        (Table::Query(_), Some(rows)) if selection.filter.is_none() => rows,
        _ => source.rows()?,
    };
    let schema = source.schema();
    let column = |&index: &usize| {
        let field = schema.field(index);
        ColumnDescription {
            name: field.name().clone(),
            r#type: field.data_type().to_string(),
            nullable: field.is_nullable(),
            metadata: field.metadata().iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            statistics: statistics.get(&index).cloned(),
            footer: match &source.table {
                Table::Parquet(file) => file.footer_of(index),
                Table::Arrow(_) | Table::Query(_) => None,
            },
        }
    };
    Ok(TableDescription {
        rows,
        matching: selection.filter.as_ref().map(|_| matching),
        scanned,
        columns: selection.columns.iter().map(column).collect(),
        head,
    })
}

/// The statistics of each column, and the number of rows that they are of.
fn measure(
    source: &Source,
    selection: &Selection,
    request: &Request,
) -> Result<(BTreeMap<usize, ColumnStatistics>, u64)> {
    let schema = source.schema();
    let columns = selection.ascending();
    // A table without columns still has rows.
    let passes: Vec<&[usize]> = if columns.is_empty() { vec![&[]] } else { columns.chunks(AT_ONCE).collect() };
    let mut all = BTreeMap::new();
    let mut matching = 0;
    for wanted in passes {
        let mut gauges: Vec<_> =
            wanted.iter().map(|&index| ColumnAccumulator::new(schema.field(index).data_type())).collect();
        let mut pieces = source.read(wanted, selection.filter.as_ref(), &request.progress)?;
        matching = 0;
        while let Some(piece) = pieces.next() {
            let piece = piece?;
            for (gauge, &column) in gauges.iter_mut().zip(wanted) {
                catch_panics(|| gauge.push(piece.column(column)))
                    .map_err(|error| damaged(format!("cannot read the rows up to {}", pieces.seen()), error))?;
            }
            matching += piece.rows() as u64;
        }
        let is_framed = !matches!(source.table, Table::Query(_)) && selection.filter.is_none();
        if is_framed && pieces.seen() != source.rows()? {
            return Err(damaged(
                "its rows and its footer disagree",
                format!("{} rows announced, {} read", source.rows()?, pieces.seen()),
            ));
        }
        all.extend(wanted.iter().copied().zip(gauges.into_iter().map(ColumnAccumulator::finish)));
    }
    Ok((all, matching))
}

#[cfg(test)]
mod tests {
    use crate::inspect::CellValue;
    use crate::inspect::NonFinite;
    use std::sync::Arc;

    use arrow::array::{Array, ArrayRef, Float64Array, Int8Array, Int64Array, RecordBatch, StringArray};
    use serde_json::json;

    use super::super::testing::{described, inspected, parquet};
    use super::super::{Content, inspect};
    use super::*;

    fn table(batch: &RecordBatch, request: &Request) -> TableDescription {
        match described(batch, request).content {
            Content::Parquet { table, .. } => table,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wide_table_is_read_in_passes_and_keeps_its_order() {
        let column = |index: usize| {
            let values: ArrayRef = Arc::new(Float64Array::from(vec![index as f64, f64::NAN]));
            (format!("c{index}"), values)
        };
        let batch = RecordBatch::try_from_iter((0..40).map(column)).unwrap();
        let table = table(&batch, &Request { head: Some(3), ..Request::default() });
        assert_eq!((table.rows, table.columns.len(), table.matching), (2, 40, None));
        let nan = |column: usize| match table.columns[column].statistics.as_ref().unwrap().values.as_ref().unwrap() {
            super::super::Values::Numbers(numbers) => (numbers.min.clone(), numbers.nan),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (table.columns[39].name.as_str(), nan(39), nan(17)),
            ("c39", (CellValue::Real(39.0), 1), (CellValue::Real(17.0), 1))
        );
        assert_eq!(table.head.rows[0][39], CellValue::Real(39.0));
        assert_eq!(table.head.non_finite[0], NonFinite { row: 1, column: 0, value: "NaN" });
    }

    fn numbered() -> RecordBatch {
        let names: StringArray = (0..1000).map(|row| Some(format!("n{}", row % 7))).collect();
        RecordBatch::try_from_iter([
            ("row", Arc::new(Int64Array::from_iter_values(0..1000)) as ArrayRef),
            ("name", Arc::new(names) as ArrayRef),
        ])
        .unwrap()
    }

    #[test]
    fn filter_columns_and_sample_shape_the_whole_description() {
        let request = Request {
            filter: Some("row >= 990".into()),
            columns: vec!["name,row".into()],
            sample: Some(3),
            ..Request::default()
        };
        let found = table(&numbered(), &request);
        assert_eq!((found.rows, found.matching, found.scanned), (1000, Some(10), true));
        let names: Vec<_> = found.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["name", "row"]);
        assert_eq!(found.columns[1].statistics.as_ref().unwrap().min(), CellValue::Whole(990));
        assert_eq!((found.head.rows.len(), found.head.seed), (3, Some(0)));
        for (number, cells) in found.head.numbers.iter().zip(&found.head.rows) {
            assert_eq!(
                cells[1],
                CellValue::Whole(i128::from(*number)),
                "a row keeps its number and its values together"
            );
            assert!(*number >= 990);
        }
        assert_eq!(table(&numbered(), &request).head, found.head, "equal seeds draw alike");
    }

    #[test]
    fn a_filter_that_nothing_passes_leaves_an_empty_table() {
        let found = table(&numbered(), &Request { filter: Some("row < 0".into()), ..Request::default() });
        assert_eq!((found.matching, found.head.rows.len()), (Some(0), 0));
    }

    #[test]
    fn a_column_that_is_not_there_is_a_wrong_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = parquet(folder.path(), &numbered());
        let request = Request { columns: vec!["nmae".into()], ..Request::default() };
        let error = inspect(&path, &request, &mut Vec::new()).unwrap_err();
        assert!(error.chain().any(|cause| cause.is::<pipeline::UsageError>()), "{error:#}");
        assert!(
            format!("{error:#}").ends_with("there is no column `nmae`\nhelp: the columns are row, name"),
            "{error:#}"
        );
    }

    #[test]
    fn a_large_table_is_answered_from_its_footer_unless_somebody_asks_for_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.parquet");
        let batch = |first: i8| {
            let values: Int8Array = (0..1_000_000).map(|row| (row > 0).then_some(first)).collect();
            RecordBatch::try_from_iter([("x", Arc::new(values) as ArrayRef)]).unwrap()
        };
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch(0).schema(), None).unwrap();
        for first in 0..21 {
            writer.write(&batch(first)).unwrap();
            writer.flush().unwrap();
        }
        writer.close().unwrap();
        let table = |request: &Request| {
            let Content::Parquet { table, layout } =
                super::super::description_of(super::super::open(&path).unwrap(), "x".into(), request).unwrap().content
            else {
                panic!("Parquet")
            };
            assert_eq!((table.rows, layout.row_groups.len()), (21_000_000, 21));
            table
        };
        let found = table(&Request { head: Some(2), ..Request::default() });
        let footer = serde_json::to_value(&found.columns[0].footer).unwrap();
        assert_eq!(footer, json!({ "nulls": 21, "min": 0, "max": 20 }));
        assert_eq!((found.scanned, &found.columns[0].statistics, found.head.rows.len()), (false, &None, 2));
        let shown = inspected(&path, &Request::default());
        assert!(shown.contains("the footer's") && shown.contains("`--scan`"), "{shown}");
        let found = table(&Request { scan: true, ..Request::default() });
        assert_eq!(found.columns[0].statistics.as_ref().map(|found| found.nulls), Some(21));
    }

    #[test]
    fn the_footer_answers_for_a_column_by_its_place_among_nested_ones() {
        let found = table(&numbered(), &Request::default());
        let footer = serde_json::to_value(&found.columns[0].footer).unwrap();
        assert_eq!(footer, json!({ "nulls": 0, "min": 0, "max": 999 }));
        assert_eq!(numbered().column(1).len(), 1000);
    }
}
