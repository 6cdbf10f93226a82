//! How two files differ: what they are, their schemas, counts and statistics, and their rows or tensors.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use pipeline::UsageError;
use pipeline::inspect::Request;
use serde::Serialize;

use super::description::Format;
use super::diff_rows::{self, RowDifference};
use super::diff_tensors::{self, TensorDifference};
use super::escape::{self, CELL, write_json};
use super::opened::{Opened, open};
use super::selection::{Draw, Selection, named};
use super::source::Source;
use super::statistics::Values;
use super::table_description::{ColumnDescription, TableDescription};
use super::text_output::{TextOutput, counted, grouped, output_style};
use super::value::CellValue;
use super::{describe, table};

/// The difference of two files.
#[derive(Debug, Serialize)]
struct Difference {
    one: Side,
    other: Side,
    /// Byte for byte.
    equal_bytes: bool,
    #[serde(flatten)]
    content: Option<Content>,
}

#[derive(Debug, Serialize)]
struct Side {
    file: String,
    format: Format,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Table(TableDifference),
    Tensors(Vec<TensorDifference>),
}

#[derive(Debug, Serialize)]
struct TableDifference {
    /// Columns that are not in both with the same type.
    schema: Vec<ColumnChange>,
    /// Whether every value was read; otherwise the figures are those of Parquet footers, and no rows are compared.
    scanned: bool,
    /// Figures of the common columns that differ.
    figures: Vec<FigureChange>,
    rows: Option<RowDifference>,
}

/// `null` where a file has no such column.
#[derive(Debug, Serialize)]
struct ColumnChange {
    column: String,
    one: Option<String>,
    other: Option<String>,
}

#[derive(Debug, Serialize)]
struct FigureChange {
    column: String,
    figure: &'static str,
    one: CellValue,
    other: CellValue,
}

/// Writes how the file of `other` differs from that of `one`; each a path and a name.
///
/// # Errors
/// [`UsageError`] where the two cannot be compared, or a key is no column of both; else when a file cannot be read.
pub(super) fn show(
    one: (&Path, &str),
    other: (&Path, &str),
    key: &[String],
    request: &Request,
    out: &mut dyn Write,
) -> Result<()> {
    let (path, other_path) = (one.0, other.0);
    let opened = (open(path)?, open(other_path).with_context(|| escape::shown(other.1, usize::MAX))?);
    let side = |path: &Path, name: &str, opened: &Opened| -> Result<Side> {
        let rows = if let Opened::Table(source) = opened { Some(source.rows()?) } else { None };
        Ok(Side { file: name.to_owned(), format: opened.format(), bytes: path.metadata()?.len(), rows })
    };
    let mut found = Difference {
        one: side(path, one.1, &opened.0)?,
        other: side(other_path, other.1, &opened.1)?,
        equal_bytes: false,
        content: None,
    };
    found.equal_bytes = found.one.bytes == found.other.bytes && same_bytes(path, other_path)?;
    if !found.equal_bytes {
        found.content = match &opened {
            (Opened::Table(one), Opened::Table(other)) => Some(Content::Table(tables(one, other, key, request)?)),
            (Opened::Tensors(one), Opened::Tensors(other)) => {
                Some(Content::Tensors(diff_tensors::compare(one, other, request)?))
            }
            (Opened::Page(..), Opened::Page(..)) => None,
            _ => {
                return Err(UsageError(format!("it holds something else than {}", escape::shown(other.1, CELL))).into());
            }
        };
    }
    match output_style(request.format)? {
        Some(output_style) => {
            let mut page = TextOutput::new(output_style);
            found.tell(&mut page);
            Ok(out.write_all(page.text.as_bytes())?)
        }
        None => write_json(&found, out),
    }
}

fn same_bytes(one: &Path, other: &Path) -> Result<bool> {
    let (mut one, mut other) = (BufReader::new(File::open(one)?), BufReader::new(File::open(other)?));
    let (mut a, mut b) = (Vec::new(), Vec::new());
    loop {
        a.clear();
        b.clear();
        (&mut one).take(1 << 16).read_to_end(&mut a)?;
        (&mut other).take(1 << 16).read_to_end(&mut b)?;
        if a != b || a.is_empty() {
            return Ok(a == b);
        }
    }
}

fn tables(one: &Source, other: &Source, key: &[String], request: &Request) -> Result<TableDifference> {
    let wanted = named(&request.columns, one.schema())?;
    let name = |column: usize| one.schema().field(column).name().clone();
    let kind = |source: &Source, name: &str| {
        source.schema().fields().iter().find(|field| field.name() == name).map(|field| field.data_type().to_string())
    };
    let mut schema = Vec::new();
    let mut common = Vec::new();
    for column in wanted.iter().map(|&column| name(column)) {
        let (in_one, in_other) = (kind(one, &column), kind(other, &column));
        if in_one == in_other {
            common.push(column);
        } else {
            schema.push(ColumnChange { column, one: in_one, other: in_other });
        }
    }
    if request.columns.is_empty() {
        let added = other.schema().fields().iter().filter(|field| kind(one, field.name()).is_none());
        schema.extend(added.map(|field| ColumnChange {
            column: field.name().clone(),
            one: None,
            other: Some(field.data_type().to_string()),
        }));
    }
    let scanned = request.scan || (one.is_small(common.len()) && other.is_small(common.len()));
    let described = |source: &Source| -> Result<TableDescription> {
        let places = places(source, &common);
        let selection = Selection { columns: places, filter: None, draw: Draw::First(0) };
        describe::describe(source, &selection, &Request { scan: scanned, ..request.clone() })
    };
    let (of_one, of_other) = (described(one)?, described(other)?);
    let figures = of_one.columns.iter().zip(&of_other.columns).flat_map(|(one, other)| figures(one, other, scanned));
    let figures = figures.collect();
    let places = |source| places(source, &common);
    let rows = match scanned && !common.is_empty() {
        true => Some(diff_rows::compare((one, &places(one)), (other, &places(other)), key, request)?),
        false => None,
    };
    Ok(TableDifference { schema, scanned, figures, rows })
}

fn places(source: &Source, names: &[String]) -> Vec<usize> {
    let place = |name: &String| source.schema().fields().iter().position(|field| field.name() == name);
    names.iter().filter_map(place).collect()
}

/// The figures of a column that differ.
fn figures(one: &ColumnDescription, other: &ColumnDescription, scanned: bool) -> Vec<FigureChange> {
    let (of_one, of_other) = (known(one, scanned), known(other, scanned));
    let change = |(one, other): ((&'static str, CellValue), (&'static str, CellValue))| {
        (one.1 != other.1).then_some((one, other))
    };
    let changes = of_one.into_iter().zip(of_other).filter_map(change);
    let column = escape::cut(&other.name, 200);
    changes.map(|((figure, one), (_, other))| FigureChange { column: column.clone(), figure, one, other }).collect()
}

/// The same figures for every column of one type.
fn known(column: &ColumnDescription, scanned: bool) -> Vec<(&'static str, CellValue)> {
    let count = |count: u64| CellValue::Whole(count.into());
    if !scanned {
        let footer = column.footer.as_ref();
        let nulls = footer.and_then(|footer| footer.nulls).map_or(CellValue::Null, count);
        let bound = |pick: fn(&super::FooterStatistics) -> &CellValue| {
            footer.map_or(CellValue::Null, |found| pick(found).clone())
        };
        return vec![("nulls", nulls), ("min", bound(|found| &found.min)), ("max", bound(|found| &found.max))];
    }
    let Some(statistics) = &column.statistics else { return Vec::new() };
    let mut all = vec![("nulls", count(statistics.nulls))];
    if let Some(distinct) = statistics.distinct {
        let more = CellValue::Text(format!("more than {}", distinct.count));
        all.push(("distinct", if distinct.exact { count(distinct.count) } else { more }));
    }
    match &statistics.values {
        Some(Values::Numbers(found) | Values::Moments(found) | Values::Lengths(found)) => all.extend([
            ("min", found.min.clone()),
            ("median", found.quantiles.q50.clone()),
            ("max", found.max.clone()),
            ("mean", found.mean.clone()),
            ("NaN", count(found.nan)),
            ("infinite", count(found.infinite)),
        ]),
        Some(Values::Flags(flags)) => all.push(("true", count(flags.r#true))),
        Some(Values::Texts(_)) => all.extend([("min", statistics.min()), ("max", statistics.max())]),
        None => {}
    }
    all
}

impl Difference {
    fn tell(&self, page: &mut TextOutput) {
        for (letter, side) in [("A", &self.one), ("B", &self.other)] {
            let rows = side.rows.map_or(String::new(), |rows| format!(", {}", counted(rows, "row")));
            let line = table::first_line(&side.file, side.format, side.bytes);
            page.line(&format!("{letter}  {line}{rows}"));
        }
        if self.equal_bytes {
            return page.line("equal, byte for byte");
        }
        match &self.content {
            Some(Content::Table(table)) => table.tell(page),
            Some(Content::Tensors(tensors)) => diff_tensors::tell(tensors, page),
            None => page.line("their bytes differ"),
        }
    }
}

impl TableDifference {
    fn tell(&self, page: &mut TextOutput) {
        let absent = |kind: &Option<String>| kind.as_ref().map_or("–".into(), |kind| escape::shown(kind, CELL));
        let rows: Vec<_> = self
            .schema
            .iter()
            .map(|change| vec![escape::shown(&change.column, CELL), absent(&change.one), absent(&change.other)])
            .collect();
        if rows.is_empty() {
            page.line("the same columns, of the same types");
        }
        page.table("Columns that differ", &["column", "A", "B"], &[], &rows);
        let row = |change: &FigureChange| {
            let cells = [&change.one, &change.other].map(table::bound);
            [vec![escape::shown(&change.column, CELL), change.figure.into()], cells.into()].concat()
        };
        let rows: Vec<_> = self.figures.iter().map(row).collect();
        page.table("Figures that differ", &["column", "figure", "A", "B"], &["A", "B"], &rows);
        if !self.scanned {
            page.line(" The figures are the footers' and no rows were compared: `--scan` reads both files.");
        }
        let Some(found) = &self.rows else { return };
        let by = if found.key.is_empty() {
            "in the same place".to_owned()
        } else {
            format!(
                "with the same {}",
                found.key.iter().map(|name| escape::shown(name, CELL)).collect::<Vec<_>>().join(", ")
            )
        };
        let rows = [
            (format!("equal, {by}"), found.equal),
            (format!("different, {by}"), found.different),
            ("only in A".into(), found.only_in_one),
            ("only in B".into(), found.only_in_other),
        ];
        let rows: Vec<_> = rows.into_iter().map(|(what, count)| vec![what, grouped(count)]).collect();
        page.table("Rows", &["what", "rows"], &["rows"], &rows);
        if found.repeated_keys > 0 {
            page.line(&format!(" {} come again, and were compared with the last", counted(found.repeated_keys, "key")));
        }
        if !found.columns_left_out.is_empty() {
            let names: Vec<_> = found.columns_left_out.iter().map(|name| escape::shown(name, CELL)).collect();
            page.line(&format!(" not compared row by row: {}", names.join(", ")));
        }
        let example = |example: &diff_rows::Example| {
            let key = example.key.iter().map(table::bound).collect::<Vec<_>>().join(", ");
            vec![grouped(example.row), key]
        };
        let rows: Vec<_> = found.examples.iter().map(example).collect();
        page.table("The first that differ", &["row of B", "key"], &["row of B"], &rows);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::*;
    use pipeline::inspect::{Format as Style, Show};
    use serde_json::{Value, json};

    use super::super::inspect;
    use super::super::testing::{inspected, parquet};
    use super::*;

    fn films(ids: &[i64], marks: &[Option<f64>]) -> RecordBatch {
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef),
            ("mark", Arc::new(Float64Array::from(marks.to_vec())) as ArrayRef),
        ])
        .unwrap()
    }

    fn compared(one: &RecordBatch, other: &RecordBatch, key: &[&str], format: Style) -> String {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, other) = (parquet(a.path(), one), parquet(b.path(), other));
        let key = key.iter().map(ToString::to_string).collect();
        let show = Show::Diff { other, name: "b".into(), key };
        inspected(&one, &Request { show, format, name: "a".into(), ..Request::default() })
    }

    fn json_of(one: &RecordBatch, other: &RecordBatch, key: &[&str]) -> Value {
        serde_json::from_str(&compared(one, other, key, Style::Json)).unwrap()
    }

    #[test]
    fn equal_files_are_equal() {
        let batch = films(&[1, 2], &[Some(1.0), None]);
        assert!(compared(&batch, &batch, &[], Style::Table).ends_with("equal, byte for byte\n"));
    }

    #[test]
    fn rows_are_compared_by_place_or_by_key() {
        let one = films(&[1, 2, 3], &[Some(1.0), None, Some(f64::NAN)]);
        let other = films(&[3, 1, 2, 4], &[Some(f64::NAN), Some(1.0), Some(9.0), None]);
        let found = json_of(&one, &other, &[]);
        let rows = &found["table"]["rows"];
        let counts =
            |rows: &Value| ["equal", "different", "only_in_one", "only_in_other"].map(|name| rows[name].clone());
        assert_eq!(counts(rows), [json!(0), json!(3), json!(0), json!(1)]);
        let found = json_of(&one, &other, &["id"]);
        let rows = &found["table"]["rows"];
        assert_eq!(counts(rows), [json!(2), json!(1), json!(0), json!(1)]);
        assert_eq!(rows["examples"], json!([{ "row": 2, "key": [2] }]));
        let figures = found["table"]["figures"].as_array().unwrap();
        assert!(figures.contains(&json!({ "column": "mark", "figure": "max", "one": 1.0, "other": 9.0 })), "{found}");
        let text = compared(&one, &other, &["id"], Style::Table);
        for line in [" different, with the same id      1", " id       distinct", "the same columns, of the same types"]
        {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn columns_come_go_and_change_their_type() {
        let one = films(&[1], &[Some(1.0)]);
        let other = RecordBatch::try_from_iter([
            ("id", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
            ("new", Arc::new(BooleanArray::from(vec![true])) as ArrayRef),
        ])
        .unwrap();
        let schema = json_of(&one, &other, &[])["table"]["schema"].clone();
        let wanted = json!([
            { "column": "id", "one": "Int64", "other": "Int32" },
            { "column": "mark", "one": "Float64", "other": null },
            { "column": "new", "one": null, "other": "Boolean" },
        ]);
        assert_eq!(schema, wanted);
    }

    #[test]
    fn a_key_that_one_of_them_lacks_is_a_wrong_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = parquet(folder.path(), &films(&[1], &[None]));
        let page = folder.path().join("page");
        std::fs::write(&page, "<html>").unwrap();
        for (other, key, words) in [(&path, "idd", "no column `idd`"), (&page, "id", "something else than")] {
            let copy = folder.path().join("copy");
            std::fs::copy(other, &copy).unwrap();
            if other == &path {
                // Not byte for byte the same, or nothing would be compared.
                parquet(folder.path(), &films(&[2], &[None]));
            }
            let show = Show::Diff { other: copy, name: "b".into(), key: vec![key.into()] };
            let error = inspect(&path, &Request { show, ..Request::default() }, &mut Vec::new()).unwrap_err();
            assert!(
                error.chain().any(|cause| cause.is::<UsageError>()) && format!("{error:#}").contains(words),
                "{error:#}"
            );
        }
    }
}
