//! A small table beside a log, told apart by the ending of its name: `.csv`, `.tsv`, `.ndjson` (also `.jsonl`, `.json`: one record a
//! line), `.parquet`.
//!
//! Whole in memory, every row a record. A row of separated text is one line; fields may stand in quotes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use pipeline::Context;
use serde_json::Value;

use super::bad_rows::{BadRows, Fault, OnBadRow};
use super::parquet_parts::parts;
use super::parquet_value::value;
use super::record::{Record, record, text};
use super::separated::quoted;
use super::unpacked::unpacked;

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Fields apart by this, with a header.
    Separated(&'static str),
    /// One record a line.
    Records,
    /// Parquet.
    Parquet,
}

impl Form {
    /// By the ending of the name; of a folder the parts are Parquet.
    pub fn of(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Ok(Self::Parquet);
        }
        match path.extension().unwrap_or_default().to_string_lossy().as_ref() {
            "csv" => Ok(Self::Separated(",")),
            "tsv" | "tab" => Ok(Self::Separated("\t")),
            "ndjson" | "jsonl" | "json" => Ok(Self::Records),
            "parquet" => Ok(Self::Parquet),
            other => bail!(
                "{} ends in `{other}`, which is no form known here\nhelp: name it .csv, .tsv, .ndjson or .parquet (the first three \
                 may end in .gz)",
                path.display()
            ),
        }
    }
}

/// A table and the lines of its rows.
pub(super) struct Grid {
    pub path: PathBuf,
    /// Names of the columns; of records, those of the first.
    pub names: Vec<String>,
    /// Line (of Parquet: number) from 1, and values; of separated text all are texts.
    pub rows: Vec<(u64, Record)>,
}

impl Grid {
    /// Reads it; rows with a wrong number of fields, or that are no record, are settled.
    pub fn read(path: &Path, on_bad_row: OnBadRow, cx: &Context) -> Result<Self> {
        let path = if path.is_dir() { path.to_path_buf() } else { unpacked(path, cx)? };
        match Form::of(&path)? {
            Form::Parquet => Self::of_parquet(path),
            Form::Separated(separator) => {
                let names = header(&path, separator)?;
                let width = names.len();
                let rows = lines(&path, 1, on_bad_row, cx, |line| {
                    let fields = quoted(line, separator)?;
                    if fields.len() != width {
                        return Err(Fault::row(format!("{} fields", fields.len()), width.to_string()));
                    }
                    Ok(names.iter().cloned().zip(fields.into_iter().map(Value::String)).collect())
                })?;
                Ok(Self { path, names, rows })
            }
            Form::Records => {
                let rows = lines(&path, 0, on_bad_row, cx, record)?;
                // Any record may leave out what it has nothing to say of.
                let (mut names, mut known) = (Vec::new(), BTreeSet::new());
                for name in rows.iter().flat_map(|(_, record)| record.keys()) {
                    if known.insert(name.as_str()) {
                        names.push(name.clone());
                    }
                }
                Ok(Self { path, names, rows })
            }
        }
    }

    fn of_parquet(path: PathBuf) -> Result<Self> {
        let (mut rows, mut names) = (Vec::new(), Vec::new());
        for part in parts(&path)? {
            for batch in part.batches(None)? {
                let batch = batch?;
                for field in batch.schema().fields() {
                    if !names.contains(field.name()) {
                        names.push(field.name().clone());
                    }
                }
                for row in 0..batch.num_rows() {
                    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
                    let said = columns.map(|(field, column)| Ok((field.name().clone(), value(column, row)?)));
                    let record = said.collect::<Result<Record>>();
                    rows.push((rows.len() as u64 + 1, record.with_context(|| part.path().display().to_string())?));
                }
            }
        }
        Ok(Self { path, names, rows })
    }

    /// Gives each row with its id, which must be there once; rows that do not fit are settled.
    pub fn listed(
        &self,
        column: &str,
        on_bad_row: OnBadRow,
        cx: &Context,
        mut row: impl FnMut(String, &Record) -> Result<(), Fault>,
    ) -> Result<()> {
        self.has(column)?;
        let (mut bad, mut seen) = (BadRows::default(), BTreeSet::new());
        for (line, record) in &self.rows {
            let taken = text(record, column).and_then(|id| match id {
                id if id.is_empty() => Err(Fault::value(column, "", "an id")),
                id if !seen.insert(id.clone()) => Err(Fault::value(column, &id, "an id of its own")),
                id => row(id, record),
            });
            if let Err(fault) = taken {
                bad.add(fault, || *line);
            }
        }
        bad.settle(&self.path, on_bad_row, cx)
    }

    /// That there is a column of this name.
    pub fn has(&self, name: &str) -> Result<()> {
        if self.rows.is_empty() || self.names.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(no_column(&self.path, &self.names, name))
    }
}

/// The names in the first line.
pub(super) fn header(path: &Path, separator: &str) -> Result<Vec<String>> {
    let mut line = String::new();
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    BufReader::new(file).read_line(&mut line).with_context(|| format!("cannot read {}", path.display()))?;
    // What some editors write before the first character of UTF-8.
    let names = quoted(line.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']), separator);
    let names = names.map_err(|fault| anyhow!("{}:1: {fault}\nhelp: name each column in one line", path.display()))?;
    ensure!(names != [""], "{} has no header\nhelp: its first line names the columns", path.display());
    Ok(names)
}

/// The place of a column in a header.
pub(super) fn place(path: &Path, names: &[String], name: &str) -> Result<usize> {
    let found = names.iter().position(|known| known == name);
    found.ok_or_else(|| no_column(path, names, name))
}

/// That a file lacks a column, and why that may be.
pub(super) fn no_column(path: &Path, names: &[String], name: &str) -> Error {
    let holds = |separator: char| names.iter().any(|known| known.contains(separator));
    let help = if holds('\t') {
        "its columns seem to be apart by tabs: name the file .tsv"
    } else if holds(';') {
        "its columns seem to be apart by semicolons: write it with commas, or with tabs as .tsv"
    } else if names.len() == 1 && holds(',') {
        "its columns seem to be apart by commas: name the file .csv"
    } else {
        "name one of these columns in the experiment"
    };
    anyhow!("{} has no column `{name}`; it has {}\nhelp: {help}", path.display(), names.join(", "))
}

/// What the filled lines after `skip` say.
fn lines(
    path: &Path,
    skip: usize,
    on_bad_row: OnBadRow,
    cx: &Context,
    parse: impl Fn(&str) -> Result<Record, Fault>,
) -> Result<Vec<(u64, Record)>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (mut rows, mut bad) = (Vec::new(), BadRows::default());
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate().skip(skip) {
        let text = str::from_utf8(line)
            .map_err(|_| Fault::row(format!("{:?}", String::from_utf8_lossy(line)), "UTF-8"))
            .map(|line| line.trim_end_matches('\r'));
        if text.as_ref().is_ok_and(|text| text.trim().is_empty()) {
            continue;
        }
        match text.and_then(&parse) {
            Ok(record) => rows.push((number as u64 + 1, record)),
            Err(fault) => bad.add(fault, || number as u64 + 1),
        }
    }
    bad.settle(path, on_bad_row, cx)?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn a_missing_column_hints_at_the_separator() {
        let help = |name: &str, header: &str, separator: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            std::fs::write(&path, header).unwrap();
            place(&path, &self::header(&path, separator).unwrap(), "stars").unwrap_err().to_string()
        };
        assert!(help("a.csv", "who;what;stars\n", ",").contains(
            "has no column `stars`; it has who;what;stars\nhelp: its columns seem to be apart by semicolons"
        ));
        assert!(help("a.csv", "who\twhat\tstars\n", ",").contains("apart by tabs: name the file .tsv"));
        assert!(help("a.tsv", "who,what,stars\n", "\t").contains("apart by commas: name the file .csv"));
        assert!(help("a.csv", "who,what\n", ",").contains("help: name one of these columns"));
    }

    /// pola-rs/polars#29235: an enumeration, and a text of older tools, is stored as bytes; a title must not be their digits.
    #[test]
    fn texts_that_are_stored_as_bytes_are_texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items.parquet");
        let titles: ArrayRef = Arc::new(BinaryArray::from(vec![Some("Heat".as_bytes()), None, Some("É".as_bytes())]));
        let batch = RecordBatch::try_from_iter([("title", titles)]).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let grid = Grid::read(&path, OnBadRow::Refuse, &Context::detached(folder.path())).unwrap();
        let titles: Vec<&Value> = grid.rows.iter().map(|(_, record)| &record["title"]).collect();
        assert_eq!(titles, [&Value::from("Heat"), &Value::Null, &Value::from("É")]);
    }

    #[test]
    fn any_record_may_bring_a_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.ndjson");
        std::fs::write(&path, "{\"id\": \"a\"}\n{\"id\": \"b\", \"age\": 3}\n").unwrap();
        let grid = Grid::read(&path, OnBadRow::Refuse, &Context::detached(folder.path())).unwrap();
        assert_eq!(grid.names, ["id", "age"]);
    }
}
