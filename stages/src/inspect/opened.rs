//! A file whose frame was read: which format it is, by its first bytes.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use anyhow::{Context as _, Error, Result, anyhow, ensure};
use pipeline::UsageError;

use super::arrow::ArrowFile;
use super::description::Format;
use super::html;
use super::parquet::ParquetFile;
use super::query::{Query, Scan};
use super::safetensors::{self, TensorsFile};
use super::source::{Source, Table};
use crate::artifact::{START, Unsupported, stranger};

/// A file whose frame was read.
pub(super) enum Opened {
    Table(Box<Source>),
    Tensors(TensorsFile),
    Page(File, u64),
}

pub(super) fn open(path: &Path) -> Result<Opened> {
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
pub(super) fn computed(opened: Opened, text: &str) -> Result<Opened> {
    let Opened::Table(source) = opened else { return Err(UsageError("it holds no rows".into()).into()) };
    let table = Table::Query(Query::sql(source.queried()?, text)?.into());
    Ok(Opened::Table(Source { table, ..*source }.into()))
}

impl Opened {
    pub(super) fn format(&self) -> Format {
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
