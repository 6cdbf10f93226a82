//! One atomic file of RecBole: tab-separated, the header names each field and its type (`rating:float`).

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use polars::prelude::{Column, CsvParseOptions, CsvReadOptions, DataFrame, SerReader};

/// The parsed file; every column is text until it is asked for as something else.
pub(super) struct AtomicFile {
    pub path: PathBuf,
    frame: DataFrame,
}

impl AtomicFile {
    /// Reads the one file in `folder` with that extension; `None` when there is none.
    pub fn find(folder: &Path, extension: &str) -> Result<Option<Self>> {
        only(folder, extension)?.map(|path| Self::read(&path)).transpose()
    }

    fn read(path: &Path) -> Result<Self> {
        let parse = CsvParseOptions::default().with_separator(b'\t').with_quote_char(None);
        let frame = CsvReadOptions::default()
            .with_parse_options(parse)
            .with_has_header(true)
            .with_infer_schema_length(Some(0))
            .try_into_reader_with_file_path(Some(path.to_path_buf()))
            .and_then(SerReader::finish);
        let mut frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                // polars does not say where; the line is worth a second look at the file.
                diagnose(path)?;
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let names = names_of(path, frame.get_column_names().iter().map(|name| name.as_str()))?;
        frame.set_column_names(&names)?;
        Ok(Self { path: path.to_path_buf(), frame })
    }

    /// The fields' names without their types.
    pub fn names(&self) -> Vec<String> {
        self.frame.get_column_names().iter().map(|name| name.to_string()).collect()
    }

    fn column(&self, name: &str) -> Result<&Column> {
        self.frame.column(name).ok().with_context(|| no_field(&self.path, name, &self.names()))
    }

    /// A field as text; a missing value is empty.
    pub fn text(&self, name: &str) -> Result<Vec<&str>> {
        Ok(self.column(name)?.str()?.iter().map(Option::unwrap_or_default).collect())
    }

    /// A field as whole numbers; what is none reads as missing. Returns also the rows whose text was neither empty nor a
    /// number, so that the caller can say so.
    pub fn whole(&self, name: &str) -> Result<(Vec<Option<i32>>, Vec<usize>)> {
        let text = self.text(name)?;
        let values: Vec<Option<i32>> = text.iter().map(|text| text.parse().ok()).collect();
        let unread = (0..text.len()).filter(|&row| values[row].is_none() && !text[row].is_empty()).collect();
        Ok((values, unread))
    }

    /// The physical line of a row, from 1: blank lines are no rows.
    pub fn line_of(&self, row: usize) -> usize {
        let Ok(file) = File::open(&self.path) else { return row + 2 };
        let filled = BufReader::new(file)
            .split(b'\n')
            .enumerate()
            .filter(|(_, line)| line.as_ref().is_ok_and(|line| !line.iter().all(u8::is_ascii_whitespace)));
        filled.map(|(line, _)| line + 1).nth(row + 1).unwrap_or(row + 2)
    }
}

/// The one file in `folder` with that extension; `None` when there is none.
pub(super) fn only(folder: &Path, extension: &str) -> Result<Option<PathBuf>> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    found.retain(|path| path.extension().is_some_and(|e| e == extension));
    found.sort();
    ensure!(found.len() < 2, "{} holds {} .{extension} files, wanted one", folder.display(), found.len());
    Ok(found.pop())
}

/// The names of a header such as `user_id:token`, without their types.
pub(super) fn names_of<'h>(path: &Path, header: impl Iterator<Item = &'h str>) -> Result<Vec<String>> {
    let name = |field: &str| {
        let (name, _) = field.split_once(':').with_context(|| {
            format!(
                "{}:1: the header field `{field}` has no type; wanted `name:type`, as in `rating:float`",
                path.display()
            )
        })?;
        Ok(name.to_owned())
    };
    header.map(name).collect()
}

/// Finds the first line that is not UTF-8 or has another number of fields than the header.
fn diagnose(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut wanted = None;
    for (number, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = line.with_context(|| format!("cannot read {}", path.display()))?;
        let place = format!("{}:{}", path.display(), number + 1);
        let Ok(text) = std::str::from_utf8(&line) else {
            bail!("{place}: the line is not UTF-8: {:?}", String::from_utf8_lossy(&line));
        };
        let fields = text.trim_end_matches('\r').split('\t').count();
        let wanted = *wanted.get_or_insert(fields);
        ensure!(
            fields <= wanted || text.trim().is_empty(),
            "{place}: found {fields} fields, wanted {wanted} as in the header: {text:?}"
        );
    }
    Ok(())
}

/// What is wrong where a file lacks a field.
pub fn no_field(path: &Path, name: &str, names: &[String]) -> String {
    format!(
        "{} has no field `{name}`; it has {}\nhelp: the stage's settings name the fields (`title`, `year`, `genres`, `rating`, \
         `timestamp`): correct the one that says `{name}`",
        path.display(),
        names.join(", ")
    )
}
