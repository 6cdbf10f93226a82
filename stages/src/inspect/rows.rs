//! Rows and nothing else, for a person or for another program. However many there are, only a random draw and a table for
//! the terminal are kept in memory; every other form is written as it is read.

use std::collections::HashSet;
use std::io::Write;

use anyhow::Result;
use pipeline::inspect::{Format, Request};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;

use super::escape::{self, CELL};
use super::selection::{Draw, Selection};
use super::source::Source;
use super::table::is_number;
use super::text_output::{OutputStyle, TextOutput, markdown_header, markdown_row};
use super::value::{CellValue, Length};

/// Rows of an answer that a terminal shows unless somebody says how many.
const ANSWER: usize = 100;

/// Writes the rows of a table that the request asks for.
///
/// # Errors
/// When the rows cannot be read, or the writer gives up.
pub(super) fn write(source: &Source, request: &Request, out: &mut dyn Write) -> Result<()> {
    // What a query answers was asked for, all of it; a terminal shows as much as can be looked at.
    let all = matches!(request.format, Format::Csv | Format::Ndjson) || request.sql.is_some();
    let selection = Selection::new(request, source, all)?;
    let fields: Vec<_> = selection.columns.iter().map(|&column| source.schema().field(column)).collect();
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    match request.format {
        Format::Csv => {
            writeln!(out, "{}", names.iter().map(|name| escape::csv(name)).collect::<Vec<_>>().join(","))?;
            selection.rows(source, request, Length::Whole, |(_, cells)| Ok(writeln!(out, "{}", csv_line(&cells))?))
        }
        Format::Ndjson => {
            let names = &unique(&names);
            selection.rows(source, request, Length::Whole, |(_, cells)| {
                Ok(writeln!(out, "{}", escape::json(&serde_json::to_string(&Object { names, cells: &cells })?))?)
            })
        }
        Format::Json => {
            let columns =
                fields.iter().map(|field| json!({ "name": field.name(), "type": field.data_type().to_string() }));
            let names = &unique(&names);
            let mut about = json!({
                "rows_in_file": if request.sql.is_some() { None } else { Some(source.rows()?) },
                "columns": columns.collect::<Vec<_>>(),
                "seed": if let Draw::Random { seed, .. } = selection.draw { Some(seed) } else { None },
            });
            if request.sql.is_some() {
                // Its rows are in no file.
                about.as_object_mut().and_then(|about| about.shift_remove("rows_in_file"));
            }
            let about = escape::json(&about.to_string());
            write!(out, "{},\"rows\":[", about.strip_suffix('}').unwrap_or(&about))?;
            let mut before = "\n";
            selection.rows(source, request, Length::Whole, |(_, cells)| {
                let row = serde_json::to_string(&Object { names, cells: &cells })?;
                write!(out, "{before}{}", escape::json(&row))?;
                before = ",\n";
                Ok(())
            })?;
            Ok(writeln!(out, "\n]}}")?)
        }
        Format::Md => {
            let names: Vec<_> = names.iter().map(|name| escape::shown(name, usize::MAX)).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let right = fields.iter().zip(&names).filter(|(field, _)| is_number(&field.data_type().to_string()));
            let right: Vec<&str> = right.map(|(_, &name)| name).collect();
            write!(out, "{}", markdown_header(&names, &right))?;
            selection.rows(source, request, Length::Whole, |(_, cells)| {
                Ok(write!(out, "{}", markdown_row(&cells.iter().map(CellValue::text).collect::<Vec<_>>()))?)
            })
        }
        Format::Table => table(source, &selection, request, out),
    }
}

fn table(source: &Source, selection: &Selection, request: &Request, out: &mut dyn Write) -> Result<()> {
    let fields: Vec<_> = selection.columns.iter().map(|&column| source.schema().field(column)).collect();
    // The rows of an answer are those of no file: a number would tell nothing.
    let number = request.sql.is_none();
    let names = fields.iter().map(|field| escape::shown(field.name(), CELL));
    let names: Vec<_> = number.then(String::new).into_iter().chain(names).collect();
    let header: Vec<_> = names.iter().map(String::as_str).collect();
    let right = fields.iter().zip(&header[usize::from(number)..]);
    let right = right.filter(|(field, _)| is_number(&field.data_type().to_string()));
    let right: Vec<_> = right.map(|(_, &name)| name).collect();
    let mut rows = Vec::new();
    let is_cut = selection.draw == Draw::All;
    // One more tells that there are more.
    let shown = if is_cut { &Selection { draw: Draw::First(ANSWER + 1), ..selection.clone() } } else { selection };
    shown.rows(source, request, Length::Short, |(place, cells)| {
        let cells = cells.iter().map(|cell| escape::cut(&cell.text(), CELL));
        rows.push(number.then(|| place.to_string()).into_iter().chain(cells).collect());
        Ok(())
    })?;
    let more = is_cut && rows.len() > ANSWER;
    rows.truncate(if is_cut { ANSWER } else { rows.len() });
    let mut page = TextOutput::new(OutputStyle::terminal());
    page.table("", &header, &right, &rows);
    if rows.is_empty() {
        page.line("no rows");
    }
    if more {
        page.line(&format!(" The first {ANSWER} rows; `--head N` shows more, `--format csv` writes all."));
    }
    Ok(write!(out, "{}", page.text.trim_start_matches('\n'))?)
}

/// A missing value is an empty field; lists and records are JSON.
fn csv_line(cells: &[CellValue]) -> String {
    let field = |cell: &CellValue| match cell {
        CellValue::Null => String::new(),
        CellValue::Text(text) => escape::csv(text),
        CellValue::List(..) | CellValue::Record(_) => escape::csv(&serde_json::to_string(cell).unwrap_or_default()),
        CellValue::Real(value) if !value.is_finite() => value.to_string(),
        CellValue::Flag(_) | CellValue::Whole(_) | CellValue::Real(_) => cell.text(),
    };
    cells.iter().map(field).collect::<Vec<_>>().join(",")
}

/// The names with those that are taken numbered: an object has each only once.
fn unique(names: &[&str]) -> Vec<String> {
    let mut taken = HashSet::new();
    let free = |name: &&str| {
        let numbered = (2..).map(|number| format!("{name}#{number}"));
        let mut all = std::iter::once((*name).to_owned()).chain(numbered);
        all.find(|name| taken.insert(name.clone())).unwrap_or_default()
    };
    names.iter().map(free).collect()
}

/// A row by the names of its columns. JSON has no word for NaN and infinity: they are `null`.
struct Object<'a> {
    names: &'a [String],
    cells: &'a [CellValue],
}

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        self.names.iter().zip(self.cells).try_for_each(|(name, cell)| map.serialize_entry(name, cell))?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::*;
    use arrow::datatypes::Int32Type;
    use pipeline::inspect::Show;
    use serde_json::Value;

    use super::super::testing::{inspected, parquet};
    use super::*;

    fn hostile() -> RecordBatch {
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some((0..70).map(Some)), None]);
        let texts = StringArray::from(vec![Some("a,\"b\"\nc|d\u{1b}[2J\u{202e}"), Some("")]);
        RecordBatch::try_from_iter([
            ("n_1", Arc::new(Float64Array::from(vec![Some(f64::NAN), Some(0.5)])) as ArrayRef),
            ("text\u{9b}", Arc::new(texts) as ArrayRef),
            ("list", Arc::new(lists) as ArrayRef),
        ])
        .unwrap()
    }

    fn written(format: Format) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = parquet(folder.path(), &hostile());
        let text = inspected(&path, &Request { show: Show::Rows, format, ..Request::default() });
        assert!(!text.chars().any(|c| escape::is_unsafe(c) && c != '\n'), "{format}: {text:?}");
        text
    }

    #[test]
    fn csv_gives_back_what_was_in_the_file() {
        let list: Vec<_> = (0..70).map(|n| n.to_string()).collect();
        let wanted = format!(
            "n_1,text\\u{{9b}},list\nNaN,\"a,\"\"b\"\"\nc|d\\u{{1b}}[2J\\u{{202e}}\",\"[{}]\"\n0.5,\"\",\n",
            list.join(",")
        );
        assert_eq!(written(Format::Csv), wanted);
    }

    #[test]
    fn ndjson_has_an_object_a_line_with_the_values_as_they_are() {
        let text = written(Format::Ndjson);
        let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows[0]["text\u{9b}"], "a,\"b\"\nc|d\u{1b}[2J\u{202e}");
        assert_eq!((&rows[0]["n_1"], rows[0]["list"].as_array().unwrap().len()), (&Value::Null, 70));
        assert_eq!(rows[1], json!({ "n_1": 0.5, "text\u{9b}": "", "list": null }));
    }

    #[test]
    fn json_is_one_value() {
        let whole: Value = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!((&whole["rows_in_file"], whole["rows"].as_array().unwrap().len()), (&json!(2), 2));
        assert_eq!(whole["columns"][0], json!({ "name": "n_1", "type": "Float64" }));
    }

    #[test]
    fn markdown_keeps_one_row_on_one_line() {
        let text = written(Format::Md);
        assert_eq!(text.lines().count(), 4);
        assert!(text.starts_with("| n\\_1 | text\\\\u{9b} | list |\n| ---: | --- | --- |\n| NaN | a,"), "{text}");
        assert!(text.contains(r"c\|d\\u{1b}\[2J"), "{text}");
    }

    #[test]
    fn the_terminal_gets_a_table() {
        let text = written(Format::Table);
        assert!(text.contains("    n_1   text\\u{9b}") && text.contains("a,\"b\"\\nc|d\\u{1b}[2J"), "{text}");
    }

    #[test]
    fn names_that_come_twice_are_numbered() {
        assert_eq!(unique(&["a", "b", "a", "a#2", "a"]), ["a", "b", "a#2", "a#2#2", "a#3"]);
    }
}
