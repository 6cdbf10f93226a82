//! A side table of a log. The extension decides its format: `.csv`, `.tsv`, `.ndjson` (also `.jsonl`, `.json`: one record per line),
//! `.parquet`.
//!
//! The table is held in memory, every row as a record. Fields of delimited text may be quoted. JSON may also be one array of records.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::artifact::TextFile;
use crate::ingest::readers::bad_rows::{BadRows, Fault, OnBadRow};
use crate::ingest::readers::decompress::decompressed;
use crate::ingest::readers::delimited::{fields, is_header};
pub(in crate::ingest) use crate::ingest::readers::header::no_column;
use crate::ingest::readers::header::{Header, check_unique};
use crate::ingest::readers::integers;
use crate::ingest::readers::json_array::as_lines;
use crate::ingest::readers::parquet_parts::parts;
use crate::ingest::readers::parquet_value::value;
use crate::ingest::readers::record::{Record, record, text, trimmed};
use crate::ingest::readers::row_ends::rows as rows_of;
use crate::ingest::readers::shard::MISSING;

/// The format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ingest) enum FileFormat {
    /// Delimited fields with a header.
    Delimited(&'static str),
    /// One record per line.
    Records,
    /// Parquet.
    Parquet,
}

impl FileFormat {
    /// By the extension; a folder holds parts in Parquet.
    pub fn of(file: &TextFile) -> Result<Self> {
        if file.path().is_dir() {
            return Ok(Self::Parquet);
        }
        match file.path().extension().unwrap_or_default().to_string_lossy().as_ref() {
            "csv" => Ok(Self::Delimited(",")),
            "tsv" | "tab" => Ok(Self::Delimited("\t")),
            "ndjson" | "jsonl" | "json" => Ok(Self::Records),
            "parquet" => Ok(Self::Parquet),
            other => bail!(
                "{} has the unknown extension `{other}`\nhelp: name it .csv, .tsv, .ndjson or .parquet (the first three may be \
                 followed by .gz or .zst)",
                file.name().display()
            ),
        }
    }
}

/// What may separate the fields of a text.
pub(in crate::ingest) const SEPARATORS: [&str; 6] = [",", ";", "|", "::", "\t", " "];

impl FileFormat {
    /// The same for a file whose column names or separator may be given in the experiment.
    ///
    /// # Errors
    /// Where names are given, and the file names its columns as well.
    pub fn given(file: &TextFile, names: Option<&[String]>, separator: Option<&str>) -> Result<Self> {
        let separator = SEPARATORS.into_iter().find(|known| Some(*known) == separator);
        let form = separator.map_or_else(|| Self::of(file), |separator| Ok(Self::Delimited(separator)))?;
        ensure!(
            names.is_none() || matches!(form, Self::Delimited(_)),
            "{} names its columns\nhelp: leave out `names`, which is for CSV and TSV without a header",
            file.name().display()
        );
        Ok(form)
    }
}

/// The file of that name in an asset's folder, or the asset itself where it is that file.
///
/// # Errors
/// Where the asset is another file.
pub(in crate::ingest) fn file_of(asset: &Path, file: &str) -> Result<PathBuf> {
    if !asset.is_file() {
        return Ok(asset.join(file));
    }
    let name = asset.file_name().unwrap_or_default().to_string_lossy();
    ensure!(
        name == file,
        "the asset {} is one file, and `file` says `{file}`\nhelp: set `file: {name}`, or name the folder of `{file}` in `assets`",
        asset.display()
    );
    Ok(asset.to_path_buf())
}

/// Whether fields of delimited text may be quoted (RFC 4180).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quotes {
    /// Quoted fields in CSV, also with semicolons; with any other separator, as in TSV, a quote is an ordinary character.
    #[default]
    ByEnding,
    /// Quoted fields in both.
    Always,
    /// A quote is an ordinary character in both.
    Never,
}

impl Quotes {
    /// What reads this table and another one.
    pub(in crate::ingest) fn with(self, other: Self) -> Self {
        if other == Self::ByEnding { self } else { other }
    }

    /// Whether text with that separator has quoted fields.
    pub(in crate::ingest) fn allowed_in(self, separator: &str) -> bool {
        match self {
            Self::ByEnding => matches!(separator, "," | ";"),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// A table with the line numbers of its rows.
pub(in crate::ingest) struct SideTable {
    pub path: PathBuf,
    /// Names of the columns; of records, all names in the order of their appearance.
    pub names: Vec<String>,
    /// Line number (of Parquet: row number) from 1, and values; values of delimited text are texts.
    pub rows: Vec<(u64, Record)>,
}

impl SideTable {
    /// Reads it; a row with a wrong number of fields, or that is not a record, is invalid.
    ///
    /// `names` are the columns of a delimited text whose first line is a row; `separator` is that of the experiment.
    pub fn read(
        path: &Path,
        names: Option<&[String]>,
        separator: Option<&str>,
        quotes: Quotes,
        on_bad_row: OnBadRow,
        cx: &Context,
    ) -> Result<Self> {
        let file = if path.is_dir() { TextFile::new(path) } else { decompressed(path, cx)? };
        let path = file.name().to_path_buf();
        match FileFormat::given(&file, names, separator)? {
            FileFormat::Parquet => Self::from_parquet(file.path().to_path_buf()),
            FileFormat::Delimited(separator) => {
                let quotes = quotes.allowed_in(separator);
                let skip = usize::from(names.is_none());
                let Header { names, line: header, .. } = Header::given_or_read(&file, names, separator, quotes)?;
                let width = names.len();
                let rows = lines(&file, skip, separator.bytes().next().filter(|_| quotes), on_bad_row, cx, |line| {
                    if is_header(line, &header) {
                        return Err(Fault::repeated_header());
                    }
                    let fields = fields(line, separator, quotes)?;
                    if fields.len() != width {
                        return Err(Fault::fields(fields.len(), width));
                    }
                    let value = |field: String| if field == MISSING { Value::Null } else { Value::String(field) };
                    Ok(names.iter().cloned().zip(fields.into_iter().map(value)).collect())
                })?;
                Ok(Self { path, names, rows })
            }
            FileFormat::Records => {
                let rows = lines(&as_lines(file, cx)?, 0, None, on_bad_row, cx, record)?;
                // A record may leave out any name.
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

    /// The same without the spaces around names and texts.
    ///
    /// # Errors
    /// Where two columns then have one name.
    pub fn trimmed(mut self) -> Result<Self> {
        self.names.iter_mut().for_each(|name| *name = name.trim().to_owned());
        check_unique(&self.path, &self.names)?;
        for (_, row) in &mut self.rows {
            *row = trimmed(std::mem::take(row));
        }
        Ok(self)
    }

    fn from_parquet(path: PathBuf) -> Result<Self> {
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

    /// Calls `row` with each row and its id, which must be present and unique. Ids that are all integers written as floats are read
    /// as integers ([`integers`]).
    pub fn for_each_id(
        &self,
        column: &str,
        on_bad_row: OnBadRow,
        cx: &Context,
        mut row: impl FnMut(String, &Record) -> Result<(), Fault>,
    ) -> Result<()> {
        self.require_column(column)?;
        let (mut bad, mut seen) = (BadRows::default(), BTreeSet::new());
        let written = self.rows.iter().filter_map(|(_, record)| record.get(column)?.as_str());
        let are_floats = integers::are_floats(written.filter(|id| !id.is_empty()));
        if are_floats {
            integers::note_stripped(column, &self.path, cx);
        }
        for (line, record) in &self.rows {
            let id = text(record, column);
            let id = if are_floats { id.map(|id| integers::id(&id).unwrap_or(&id).to_owned()) } else { id };
            let checked = id.and_then(|id| match id {
                id if id.is_empty() => Err(Fault::value(column, "", "an id")),
                id if !seen.insert(id.clone()) => Err(Fault::value(column, &id, "a unique id")),
                id => row(id, record),
            });
            if let Err(fault) = checked {
                bad.add(fault, || *line);
            }
        }
        bad.enforce(&self.path, on_bad_row, cx)
    }

    /// Calls `row` with each row.
    pub fn for_each(
        &self,
        on_bad_row: OnBadRow,
        cx: &Context,
        mut row: impl FnMut(&Record) -> Result<(), Fault>,
    ) -> Result<()> {
        let mut bad = BadRows::default();
        for (line, record) in &self.rows {
            if let Err(fault) = row(record) {
                bad.add(fault, || *line);
            }
        }
        bad.enforce(&self.path, on_bad_row, cx)
    }

    /// Requires a column of this name.
    pub fn require_column(&self, name: &str) -> Result<()> {
        if self.rows.is_empty() || self.names.iter().any(|known| known == name) {
            return Ok(());
        }
        Err(no_column(&self.path, &self.names, name))
    }
}

/// The records of the non-empty rows after `skip`, with their line numbers.
fn lines(
    file: &TextFile,
    skip: usize,
    quoted_by: Option<u8>,
    on_bad_row: OnBadRow,
    cx: &Context,
    parse: impl Fn(&str) -> Result<Record, Fault>,
) -> Result<Vec<(u64, Record)>> {
    let bytes = file.bytes()?;
    let (mut rows, mut bad) = (Vec::new(), BadRows::default());
    for (number, line) in rows_of(&bytes, quoted_by, file)?.into_iter().skip(skip) {
        let text = str::from_utf8(line)
            .map_err(|_| Fault::row(format!("{:?}", String::from_utf8_lossy(line)), "UTF-8"))
            .map(|line| line.trim_end_matches(['\n', '\r']));
        if text.as_ref().is_ok_and(|text| text.trim().is_empty()) {
            continue;
        }
        match text.and_then(&parse) {
            Ok(record) => rows.push((number, record)),
            Err(fault) => bad.add(fault, || number),
        }
    }
    bad.enforce(file.name(), on_bad_row, cx)?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    /// pola-rs/polars#29235: an enumeration, and a text of older tools, is stored as bytes; a title must not be their digits.
    fn texts_that_are_stored_as_bytes_are_texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items.parquet");
        let titles: ArrayRef = Arc::new(BinaryArray::from(vec![Some("Heat".as_bytes()), None, Some("É".as_bytes())]));
        let batch = RecordBatch::try_from_iter([("title", titles)]).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let table =
            SideTable::read(&path, None, None, Quotes::ByEnding, OnBadRow::Refuse, &Context::detached(folder.path()))
                .unwrap();
        let titles: Vec<&Value> = table.rows.iter().map(|(_, record)| &record["title"]).collect();
        assert_eq!(titles, [&Value::from("Heat"), &Value::Null, &Value::from("É")]);
    }

    #[test]
    fn any_record_may_bring_a_column() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.ndjson");
        std::fs::write(&path, "{\"id\": \"a\"}\n{\"id\": \"b\", \"age\": 3}\n").unwrap();
        let table =
            SideTable::read(&path, None, None, Quotes::ByEnding, OnBadRow::Refuse, &Context::detached(folder.path()))
                .unwrap();
        assert_eq!(table.names, ["id", "age"]);
    }
}
