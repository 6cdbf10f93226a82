//! Looks into a file: what is behind `apprentice inspect PATH`.
//!
//! Any Parquet, Arrow IPC or safetensors file, told apart by its first bytes: the objects of the store have no extension.
//! Of an HTML page only the title is told, because a browser shows the rest. Tables in text (.csv, .tsv, .ndjson), Arrow streams, and
//! many files at once are read by polars, which also answers `--sql` and `--filter` ([`query`]).
//! Tables are streamed batch by batch, tensors chunk by chunk, so the size of the file does not matter; where reading all
//! of it would take patience, only its frame is told unless somebody asks for more. The description is a value
//! ([`Description`]); as JSON it is all there, as text it is arranged for a person. Nothing read from a file reaches the
//! terminal unescaped.
//!
//! It knows nothing of stages, keys or provenance: the engine adds what it knows about an object.

mod arrow;
mod describe;
mod diff;
mod diff_rows;
mod diff_tensors;
mod episode;
#[cfg(test)]
mod episode_tests;
mod escape;
mod html;
mod numeric_summary;
mod parquet;
mod parquet_layout;
mod query;
mod revised;
mod role_calls;
mod rows;
mod safetensors;
mod selection;
mod source;
mod statistics;
mod table;
#[cfg(test)]
mod testing;
mod text_output;
mod value;
mod value_counts;
mod verify;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, ensure};
use pipeline::UsageError;
use pipeline::inspect::{Format as Style, Request, Show, Verdict};
use serde::Serialize;

use arrow::{ArrowFile, MAGIC};
use parquet::ParquetFile;
use query::{Query, Scan};
use safetensors::TensorsFile;
use selection::Selection;
use source::{Source, Table};
use text_output::OutputStyle;

use crate::artifact::{PARQUET_MAGIC, START, Unsupported, damaged, stranger};

pub use arrow::ArrowLayout;
pub use describe::{ColumnDescription, Head, NonFinite, TableDescription};
pub use numeric_summary::{Histogram, NumberSummary, Quantiles};
pub use parquet_layout::{FooterStatistics, ParquetLayout, RowGroup, StoredColumn};
pub use safetensors::TensorDescription;
pub use statistics::{ColumnStatistics, FlagSummary, Values};
pub use value::CellValue;
pub use value_counts::{Distinct, Frequent, TextSummary};

/// Version of the JSON; raised when a field changes its meaning or goes away, not when one is added.
const SCHEMA_VERSION: u32 = 1;

/// Everything there is to say about a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// Version of this description's JSON.
    pub schema_version: u32,
    /// The path as it was given.
    pub file: String,
    /// What kind of file it is.
    pub format: Format,
    /// Size of the file.
    pub bytes: u64,
    /// The key-value metadata of the file or its schema.
    pub metadata: BTreeMap<String, String>,
    /// `table` and `layout`, `tensors`, or `title`.
    #[serde(flatten)]
    pub content: Content,
}

/// The file formats that can be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow IPC, file format.
    Arrow,
    /// Apache Arrow IPC, streaming format.
    ArrowStream,
    /// Separated text.
    Csv,
    /// A JSON record a line.
    Ndjson,
    /// safetensors.
    Safetensors,
    /// A page for a browser.
    Html,
}

impl Format {
    /// Its name for people.
    fn noun(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Arrow => "Arrow IPC file",
            Self::ArrowStream => "Arrow IPC stream",
            Self::Csv => "CSV",
            Self::Ndjson => "NDJSON",
            Self::Safetensors => "safetensors",
            Self::Html => "HTML",
        }
    }
}

/// What is in the file. Only ever written, so it needs no tag: `format` says which one it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// Of a Parquet file.
    Parquet {
        /// Columns, statistics and first rows.
        table: TableDescription,
        /// Row groups and column chunks.
        layout: ParquetLayout,
    },
    /// Of an Arrow file.
    Arrow {
        /// Columns, statistics and first rows.
        table: TableDescription,
        /// Batches and dictionaries.
        layout: ArrowLayout,
    },
    /// Of text, of an Arrow stream, and of many files.
    Table {
        /// Columns, statistics and first rows.
        table: TableDescription,
        /// How many files the rows come from.
        files: usize,
    },
    /// Of a safetensors file.
    Safetensors {
        /// In the order of the file.
        tensors: Vec<TensorDescription>,
        /// Whether every value was read for the statistics; otherwise there are none.
        scanned: bool,
    },
    /// Of a page.
    Html {
        /// Its title; absent where its first 64 KiB name none.
        title: Option<String>,
    },
}

/// A file whose frame was read.
enum Opened {
    Table(Box<Source>),
    Tensors(TensorsFile),
    Page(File, u64),
}

/// Looks into the file at `path` and writes what is asked for; ends in a newline. See [`pipeline::inspect::Inspect`].
///
/// # Errors
/// [`UsageError`] where what is asked for does not fit the file, or it is of a kind that is not read here; else when the file
/// cannot be opened, is torn or damaged. The error names the file and what was found.
pub fn inspect(path: &Path, request: &Request, out: &mut dyn Write) -> Result<Verdict> {
    let name = name(path, request);
    let answer = answer(path, &name, request, out).map_err(|error| {
        // Nothing says that such a file is damaged, or that making it again would help.
        let is_unsupported = error.chain().any(|cause| cause.is::<Unsupported>());
        if is_unsupported { UsageError(format!("{error:#}")).into() } else { error }
    });
    answer.with_context(|| escape::shown(&name, usize::MAX))
}

fn answer(path: &Path, name: &str, request: &Request, out: &mut dyn Write) -> Result<Verdict> {
    let open = |path| match &request.sql {
        Some(text) => computed(open(path)?, text),
        None => open(path),
    };
    match &request.show {
        Show::Overview => overview(open(path)?, name, request, out)?,
        Show::Rows => match open(path)? {
            Opened::Table(source) => rows::write(&source, request, out)?,
            Opened::Tensors(_) | Opened::Page(..) => return Err(UsageError("it holds no rows".into()).into()),
        },
        Show::Verify => return verify::verify(path, name, request, out),
        Show::Episode(index) => episode::show(path, open(path)?, *index, request, out)?,
        Show::Diff { other, name: other_name, key } => {
            diff::show((path, name), (other, other_name), key, request, out)?
        }
    }
    Ok(Verdict::Whole)
}

fn name(path: &Path, request: &Request) -> String {
    if request.name.is_empty() { path.display().to_string() } else { request.name.clone() }
}

fn overview(opened: Opened, name: &str, request: &Request, out: &mut dyn Write) -> Result<()> {
    let description = describe(opened, name.to_owned(), request)?;
    match output_style(request.format)? {
        Some(output_style) => Ok(out.write_all(table::render(&description, output_style).as_bytes())?),
        None => write_json(&description, out),
    }
}

fn describe(opened: Opened, name: String, request: &Request) -> Result<Description> {
    match opened {
        Opened::Table(source) => {
            let selection = Selection::new(request, &source, false)?;
            let table = describe::describe(&source, &selection, request)?;
            Ok(match &source.table {
                Table::Parquet(file) => file.describe(name, table),
                Table::Arrow(file) => file.describe(name, table),
                Table::Query(_) => Description {
                    schema_version: SCHEMA_VERSION,
                    file: name,
                    format: source.scan.format,
                    bytes: source.scan.bytes,
                    metadata: BTreeMap::new(),
                    content: Content::Table { table, files: source.scan.files.len() },
                },
            })
        }
        Opened::Tensors(file) => file.describe(name, request),
        Opened::Page(file, bytes) => html::describe(file, name, bytes),
    }
}

/// Where text is read; `None` for JSON.
fn output_style(format: Style) -> Result<Option<OutputStyle>> {
    match format {
        Style::Table => Ok(Some(OutputStyle::terminal())),
        Style::Md => Ok(Some(OutputStyle::Markdown)),
        Style::Json => Ok(None),
        Style::Csv | Style::Ndjson => Err(UsageError(format!("{format} holds rows and nothing else")).into()),
    }
}

fn write_json(value: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    Ok(writeln!(out, "{}", escape::json(&serde_json::to_string_pretty(value)?))?)
}

fn open(path: &Path) -> Result<Opened> {
    // Asked before it is opened: opening a named pipe would wait for a writer.
    let kind = match std::fs::metadata(path) {
        Ok(kind) if kind.is_dir() => return many(path),
        Err(_) if path.to_string_lossy().contains(['*', '?', '[']) => return many(path),
        kind => kind.context("cannot be opened")?,
    };
    ensure!(kind.is_file(), "is not a regular file");
    let mut file = File::open(path).context("cannot be opened")?;
    let bytes = file.metadata()?.len();
    let mut start = Vec::new();
    (&mut file).take(START as u64).read_to_end(&mut start)?;
    file.rewind()?;
    if let Some(scan) = Scan::of_file(path, &start) {
        let table = match scan.format {
            Format::Parquet => Table::Parquet(ParquetFile::open(file, bytes)?),
            Format::Arrow => Table::Arrow(ArrowFile::open(file, bytes)?),
            _ => Table::Query(Query::all(&scan)?.into()),
        };
        return Ok(Opened::Table(Source { table, scan }.into()));
    }
    Ok(match start.as_slice() {
        start if safetensors::recognise(start) => Opened::Tensors(TensorsFile::open(file, bytes)?),
        start if html::recognise(start) => Opened::Page(file, bytes),
        start => return Err(unknown(start)),
    })
}

/// The table in a folder, or in the files that a pattern names.
fn many(place: &Path) -> Result<Opened> {
    let scan = Scan::of_many(place)?;
    Ok(Opened::Table(Source { table: Table::Query(Query::all(&scan)?.into()), scan }.into()))
}

/// What a query makes of a table.
fn computed(opened: Opened, text: &str) -> Result<Opened> {
    let Opened::Table(source) = opened else { return Err(UsageError("it holds no rows".into()).into()) };
    let table = Table::Query(Query::sql(source.queried()?, text)?.into());
    Ok(Opened::Table(Source { table, ..*source }.into()))
}

impl Opened {
    fn format(&self) -> Format {
        match self {
            Self::Table(source) => source.scan.format,
            Self::Tensors(_) => Format::Safetensors,
            Self::Page(..) => Format::Html,
        }
    }
}

/// What to say about a file that begins with these bytes and is none of ours.
fn unknown(start: &[u8]) -> Error {
    const HELP: &str = "help: Parquet begins with `PAR1`, an Arrow file with `ARROW1`, safetensors with the length of its \
                        header and `{`; text is a table where its name ends in .csv, .tsv or .ndjson";
    if start.is_empty() {
        return anyhow!("is empty (0 bytes), so it is neither Parquet nor Arrow nor safetensors\n{HELP}");
    }
    let start = &start[..start.len().min(START)];
    let first = &start[..start.len().min(16)];
    let hex: Vec<_> = first.iter().map(|byte| format!("{byte:02x}")).collect();
    let text: String = first.iter().map(|&b| if b.is_ascii_graphic() || b == b' ' { b as char } else { '.' }).collect();
    let begins = format!("it begins with {} (`{text}`)", hex.join(" "));
    Unsupported(match stranger(start) {
        Some(found) => format!("is {}: {begins}\nhelp: {}", found.is, found.help),
        None => format!("is of an unknown format: {begins}\n{HELP}"),
    })
    .into()
}

#[cfg(test)]
mod tests {
    use super::testing::{describe, inspected};
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, bytes).unwrap();
        let error = format!("{:#}", inspect(&path, &Request::default(), &mut Vec::new()).unwrap_err());
        let error = error.strip_prefix(&format!("{}: ", path.display())).expect("the error names the file").to_owned();
        assert_eq!(error.matches("help:").count(), 1, "{error}");
        error
    }

    #[test]
    fn an_unknown_file_is_shown_by_its_first_bytes() {
        let text = refused(b"user,item\x1b[31m\n1,2\n");
        let hex = "75 73 65 72 2c 69 74 65 6d 1b 5b 33 31 6d 0a 31";
        assert!(
            text.starts_with(&format!("is of an unknown format: it begins with {hex} (`user,item.[31m.1`)\n")),
            "{text}"
        );
        assert!(text.contains("`PAR1`") && text.contains("`ARROW1`") && text.contains("safetensors"), "{text}");
        assert!(refused(b"").starts_with("is empty (0 bytes)"));
        assert!(refused(b"PK\x03\x04").contains("ZIP"));
        assert!(
            refused(b"\xff\xff\xff\xff\0\0").starts_with("it cannot be read: the file is damaged ("),
            "an Arrow stream"
        );
        assert!(refused(b"{\"a\": 1}").contains("JSON"));
    }

    #[test]
    fn the_same_description_as_text_and_as_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no-extension\u{1b}[2J");
        let empty =
            ::safetensors::serialize(Vec::<(&str, ::safetensors::tensor::TensorView<'_>)>::new(), None).unwrap();
        std::fs::write(&path, &empty).unwrap();
        let text = inspected(&path, &Request::default());
        assert!(
            text.contains("no-extension\\u{1b}[2J: safetensors") && text.ends_with("0 tensors, 0 values\n"),
            "{text}"
        );
        let json = inspected(&path, &Request { format: Style::Json, ..Request::default() });
        assert!(!json.contains('\u{1b}'), "{json}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["schema_version", "file", "format", "bytes", "metadata", "tensors", "scanned"]);
        assert_eq!((&json["file"], &json["bytes"]), (&path.to_str().unwrap().into(), &empty.len().into()));
    }

    #[test]
    fn what_is_no_file_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let text = |path: &Path| format!("{:#}", describe(path, 0).unwrap_err());
        assert!(text(folder.path()).contains("holds no file\nhelp: "));
        assert!(text(&folder.path().join("absent")).contains("absent: cannot be opened"));
    }

    #[test]
    fn a_file_that_only_starts_is_called_torn() {
        assert!(refused(b"PAR1").contains("has only 4 of at least 12 bytes"));
        assert!(refused(b"ARROW1\0\0").contains("has only 8 of at least 18 bytes"));
        assert!(refused(b"PAR1 half a file and then nothing").contains("instead of `PAR1`"));
        assert!(refused(b"PAR1....\xff\xff\xff\x7fPAR1").contains("announce a Parquet footer of 2147483647 bytes"));
        assert!(refused(b"ARROW1\0\0 half a file and then nothing").contains("instead of `ARROW1`"));
        assert!(refused(b"\xff\0\0\0\0\0\0\0{\"a\"").contains("header of 255 bytes, but the whole file has 12"));
    }
}
