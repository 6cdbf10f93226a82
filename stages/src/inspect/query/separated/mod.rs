//! Separated text, read once before polars reads it: what separates fields, what the columns are called, and as what nothing in them is
//! lost. polars alone fills up rows that are too short, takes `00123` for 123, and reads types off the beginning of the first files.

mod column;
mod form;
mod records;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, anyhow, ensure};
use polars::prelude::{Field as PolarsField, Schema};
use rayon::prelude::*;

use super::super::escape;
use column::Column;
use form::Form;
use records::{Behind, Field};

/// Records of a file from which the types of its columns are told.
const TYPED: u64 = 10_000;
/// Bytes that are read at once, and that tell the form.
const BLOCK: u64 = 1 << 20;
/// Bytes of a record, at most: a quote that is not closed must not take in a large file.
const LONGEST: usize = 64 << 20;

/// What polars has to be told of a text.
#[derive(Clone, Debug)]
pub(super) struct Separated {
    pub separator: u8,
    /// Whether fields are quoted; else a quote is an ordinary character.
    pub is_quoted: bool,
    pub has_header: bool,
    pub schema: Schema,
}

/// What was found in one file.
#[derive(Default)]
struct Found {
    columns: Vec<Column>,
    is_quoted: bool,
    /// The first line with an odd number of quotes inside of fields that are not quoted.
    odd: Option<u64>,
}

/// Why a file is no table.
enum Fault {
    /// Where quotes mean nothing it might be one.
    Quotes(Error),
    Other(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Fault {
    fn error(self) -> Error {
        match self {
            Self::Quotes(error) | Self::Other(error) => error,
        }
    }
}

impl Separated {
    /// Reads files that are one table, all of them.
    ///
    /// # Errors
    /// Where a file cannot be read or is empty, a row has not as many fields as there are columns, a quote is not closed, a text is no
    /// UTF-8, or the files have not the same columns: with file and line.
    pub fn of(files: &[PathBuf]) -> Result<Self> {
        let first = &files[0];
        let start = beginning(first).with_context(|| unreadable(first))?;
        ensure!(!start.trim_ascii().is_empty(), "{}has no rows and no columns\n{EMPTY}", place(files, first));
        // The last end of a line may have been added.
        let inner = &start[..start.len() - 1];
        ensure!(
            inner.contains(&b'\n') || !inner.trim_ascii_end().contains(&b'\r'),
            "{}its lines end in a carriage return alone, as some spreadsheets write them\nhelp: write it anew: `tr '\\r' '\\n' < old > new`",
            place(files, first)
        );
        let with = |quotes| Self::with(&Form::of(first, &start, quotes), files);
        // Programs that write tabs quote nothing as often as not.
        let is_csv = first.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        with(true).or_else(|fault| match fault {
            Fault::Quotes(error) if !is_csv => with(false).map_err(|_| error),
            fault => Err(fault.error()),
        })
    }

    fn with(form: &Form, files: &[PathBuf]) -> Result<Self, Fault> {
        let found: Vec<_> = files.par_iter().map(|path| Found::of(path, form, &place(files, path))).collect();
        let mut all = vec![Column::default(); form.names.len()];
        let (mut is_quoted, mut odd) = (false, None);
        for (path, found) in files.iter().zip(found) {
            let found = found?;
            all.iter_mut().zip(&found.columns).for_each(|(column, found)| column.merge(found));
            is_quoted |= found.is_quoted;
            odd = odd.or(found.odd.map(|line| (path, line)));
        }
        if let (true, Some((path, line))) = (is_quoted, odd) {
            // polars looks for ends of rows between an even and an odd number of quotes.
            let place = place(files, path);
            return Err(Fault::Quotes(anyhow!(
                "{place}line {line} has an odd number of quotes in a field that does not begin with one, while other fields are \
                 quoted\nhelp: {DOUBLED}"
            )));
        }
        let fields = form.names.iter().zip(&all).map(|(name, column)| PolarsField::new(name.into(), column.kind()));
        Ok(Self {
            separator: form.cut.separator,
            is_quoted: form.cut.quotes && is_quoted,
            has_header: form.has_header,
            schema: fields.collect(),
        })
    }
}

const EMPTY: &str = "help: a table in text has the names of its columns in the first line";
const DOUBLED: &str = "in a quoted field a quote is doubled (`\"Say \"\"Hello\"\" now\"`)";

impl Found {
    fn of(path: &Path, form: &Form, place: &str) -> Result<Self, Fault> {
        let mut found = Self { columns: vec![Column::default(); form.names.len()], ..Self::default() };
        let mut file = File::open(path).with_context(|| unreadable(path))?;
        let (mut text, mut fields) = (Vec::new(), Vec::new());
        let (mut from, mut line, mut row) = (0, 1, 0);
        loop {
            text.drain(..from);
            from = 0;
            let known = text.len();
            (&mut file).take(BLOCK).read_to_end(&mut text).with_context(|| unreadable(path))?;
            let is_end = text.len() == known;
            if row == 0 && text.starts_with(BOM) {
                from = BOM.len();
            }
            if is_end && text.len() > from && !text.ends_with(b"\n") {
                text.push(b'\n');
            }
            loop {
                let length = form.cut.record(&text[from..], &mut fields).map_err(|Behind| {
                    Fault::Quotes(anyhow!("{place}line {line} has text behind a closing quote\nhelp: {DOUBLED}"))
                })?;
                let Some(length) = length else { break };
                let record = &text[from..from + length];
                found.record(record, &fields, form, row).map_err(|found| anyhow!("{place}line {line} {found}"))?;
                if form.cut.quotes && record.contains(&b'"') {
                    found.quotes(record, &fields, line);
                    line += record.iter().filter(|&&byte| byte == b'\n').count() as u64;
                } else {
                    line += 1;
                }
                from += length;
                row += 1;
            }
            if (is_end && from < text.len()) || text.len() - from > LONGEST {
                let error = anyhow!("{place}line {line} opens a quote that is not closed\nhelp: {DOUBLED}");
                return Err(Fault::Quotes(error));
            }
            if is_end {
                break;
            }
        }
        if row == 0 {
            return Err(anyhow!("{place}has no rows and no columns\n{EMPTY}").into());
        }
        Ok(found)
    }

    /// Looks at a record; an error says what the line is.
    fn record(&mut self, record: &[u8], fields: &[Field], form: &Form, row: u64) -> Result<(), String> {
        if str::from_utf8(record).is_err() {
            return Err(
                "is no UTF-8\nhelp: write it anew: `iconv -f latin1 -t utf8 old > new`, with the encoding that it has"
                    .into(),
            );
        }
        if row == 0 && form.has_header {
            let names = form::header(record, fields);
            return if names == form.names { Ok(()) } else { Err(unlike(&names, &form.names)) };
        }
        let (found, wanted) = (fields.len(), form.names.len());
        if found != wanted {
            let several = |count: usize| format!("{count} field{}", if count == 1 { "" } else { "s" });
            return Err(match record.trim_ascii() {
                [] => format!("is blank, and the table has {wanted} columns\nhelp: remove the line"),
                _ => format!(
                    "has {}, and the table has {wanted} column{}\nhelp: correct the line; a field with a separator in it stands in \
                     double quotes",
                    several(found),
                    if wanted == 1 { "" } else { "s" }
                ),
            });
        }
        for (column, field) in self.columns.iter_mut().zip(fields) {
            let value = field.bytes(record);
            if row < TYPED {
                column.tell(value, field.quoted);
            }
            column.look(value);
        }
        Ok(())
    }

    fn quotes(&mut self, record: &[u8], fields: &[Field], line: u64) {
        self.is_quoted |= fields.iter().any(|field| field.quoted);
        let bare = fields.iter().filter(|field| !field.quoted);
        let quotes: usize = bare.map(|field| field.bytes(record).iter().filter(|&&byte| byte == b'"').count()).sum();
        if quotes % 2 == 1 {
            self.odd.get_or_insert(line);
        }
    }
}

/// The mark at the beginning of a text that some programs write.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The first bytes of a file without a mark, as whole lines where it has no more.
fn beginning(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut start = Vec::new();
    File::open(path)?.take(BLOCK).read_to_end(&mut start)?;
    if start.starts_with(BOM) {
        start.drain(..BOM.len());
    }
    if start.len() < BLOCK as usize && !start.ends_with(b"\n") {
        start.push(b'\n');
    }
    Ok(start)
}

/// What stands before a message about one of several files.
fn place(files: &[PathBuf], path: &Path) -> String {
    if files.len() == 1 {
        String::new()
    } else {
        format!("{}: ", escape::shown(&path.display().to_string(), usize::MAX))
    }
}

fn unreadable(path: &Path) -> String {
    format!("cannot read {}", escape::shown(&path.display().to_string(), usize::MAX))
}

/// What is wrong with the header of one file among several.
fn unlike(found: &[String], wanted: &[String]) -> String {
    let listed = |names: &[String]| {
        let shown: Vec<_> =
            names.iter().take(12).map(|name| format!("`{}`", pipeline::escape::shown(name, 40))).collect();
        format!("{}{}", shown.join(", "), if names.len() > shown.len() { ", …" } else { "" })
    };
    format!(
        "names the columns {}, and the first file has {}\nhelp: files are one table where all have the same columns in the same order; \
         a pattern such as 'folder/a*.csv' leaves some out",
        listed(found),
        listed(wanted)
    )
}
