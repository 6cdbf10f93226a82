//! One atomic file of RecBole: the header names each field and its type (`rating:float`), and a tab stands between two fields.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::Context;

use crate::artifact::TextFile;
use crate::ingest::readers::bad_rows::{BadRows, Fault, OnBadRow};
use crate::ingest::readers::delimited::{fields, is_header};
use crate::ingest::readers::header::check_unique;
use crate::ingest::readers::integers;

/// The types of fields that RecBole knows.
const TYPES: [&str; 4] = ["token", "token_seq", "float", "float_seq"];

/// What may stand between two fields, the usual first: RecBole has a setting for it, and files are found with each.
const SEPARATORS: [&str; 4] = ["\t", ",", " ", ";"];

/// What a header says.
pub(in crate::ingest) struct AtomicHeader {
    /// The file, as messages name it.
    pub file: PathBuf,
    /// The fields' names, each once.
    pub names: Vec<String>,
    /// Their types, each of [`TYPES`].
    types: Vec<String>,
    /// The separator of fields.
    pub separator: &'static str,
    /// The line itself.
    pub line: String,
}

impl AtomicHeader {
    /// The header of a file.
    ///
    /// # Errors
    /// Where a field has no type of RecBole, or a name is not unique.
    pub fn read(file: &TextFile) -> Result<Self> {
        let line = file.first_line()?;
        let parted = |separator: &str| fields(&line, separator, separator == ",").unwrap_or_default();
        let is_typed = |field: &String| field.split_once(':').is_some_and(|(_, kind)| TYPES.contains(&kind));
        let whole = SEPARATORS.into_iter().find(|separator| {
            let fields = parted(separator);
            !fields.is_empty() && fields.iter().all(is_typed)
        });
        let Some(separator) = whole else {
            // The separator that gives the most typed fields is the likely one; one of its fields is at fault.
            let like = |separator: &str| {
                let fields = parted(separator);
                let typed = fields.iter().filter(|field| is_typed(field)).count();
                (typed, fields.iter().filter(|field| field.matches(':').count() == 1).count())
            };
            let likely = SEPARATORS.into_iter().rev().max_by_key(|separator| like(separator)).unwrap_or("\t");
            return Err(fault(file.name(), &parted(likely)));
        };
        let typed = parted(separator);
        let (names, types): (Vec<_>, Vec<_>) = typed
            .iter()
            .filter_map(|field| field.split_once(':'))
            .map(|(name, kind)| (name.to_owned(), kind.to_owned()))
            .unzip();
        check_unique(file.name(), &names)?;
        Ok(Self { file: file.name().to_path_buf(), names, types, separator, line })
    }

    /// Notes the separator on the run where it is not a tab.
    pub fn note_separator(&self, cx: &Context) {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        match self.separator {
            "\t" => {}
            other => cx.note("form", format!("the separator of {name} is {other:?}, not a tab")),
        }
    }

    /// Whether a field holds several values a row.
    pub fn is_sequence(&self, name: &str) -> bool {
        let at = self.names.iter().position(|known| known == name);
        at.is_some_and(|at| self.types[at].ends_with("_seq"))
    }

    /// The position of a field of single values; `help` names its setting.
    pub fn single(&self, name: &str, help: &str) -> Result<usize> {
        let at = self.names.iter().position(|known| known == name);
        let at = at.with_context(|| {
            format!("{} has no field `{name}`; it has {}\nhelp: {help}", self.file.display(), self.names.join(", "))
        })?;
        ensure!(
            !self.types[at].ends_with("_seq"),
            "{}: the field `{name}` is of type `{}`, but holds one value a row here\nhelp: {help}",
            self.file.display(),
            self.types[at]
        );
        Ok(at)
    }
}

/// The error of a header with these fields.
fn fault(file: &Path, fields: &[String]) -> anyhow::Error {
    let place = file.display();
    if let Some(bare) = fields.iter().find(|field| !field.contains(':')) {
        return anyhow::anyhow!(
            "{place}:1: the header field `{bare}` has no type; wanted `name:type`, as in `rating:float`\nhelp: name fields and \
             types in the first line, separated by tabs; a table without types is read by `ingest.table`"
        );
    }
    let typed = fields.iter().filter_map(|field| field.split_once(':'));
    let wrong: Vec<(&str, &str)> = typed.filter(|(_, kind)| !TYPES.contains(kind)).collect();
    let written: Vec<String> = wrong.iter().map(|(name, kind)| format!("`{name}:{kind}`")).collect();
    let suggestion = |(name, kind): &(&str, &str)| {
        let closest = TYPES.into_iter().max_by(|a, b| similarity(a, kind).total_cmp(&similarity(b, kind)))?;
        (similarity(closest, kind) >= 0.5).then(|| format!("`{name}:{closest}`"))
    };
    let help = match wrong.iter().map(suggestion).collect::<Option<Vec<_>>>() {
        Some(suggestions) => format!("did you mean {}?", suggestions.join(", ")),
        None => "separate the fields by tabs".to_owned(),
    };
    anyhow::anyhow!("{place}:1: unknown type: {}; wanted `{}`\nhelp: {help}", written.join(", "), TYPES.join("`, `"))
}

fn similarity(one: &str, other: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(one, other)
}

/// The parsed file; every column is text until it is converted.
pub(in crate::ingest) struct AtomicFile {
    pub header: AtomicHeader,
    /// By row.
    rows: Vec<Vec<String>>,
    /// The physical line of each row, from 1: blank lines are no rows.
    lines: Vec<u64>,
}

impl AtomicFile {
    /// Reads the one file in `folder` with that extension; `None` where there is none.
    pub fn find(folder: &Path, extension: &str, on_bad_row: OnBadRow, cx: &Context) -> Result<Option<Self>> {
        let found = with_extension(folder, extension)?;
        ensure!(found.len() < 2, "{} holds {} .{extension} files, wanted one", folder.display(), found.len());
        found.first().map(|path| Self::read(path, on_bad_row, cx)).transpose()
    }

    fn read(path: &Path, on_bad_row: OnBadRow, cx: &Context) -> Result<Self> {
        let file = TextFile::new(path);
        let header = AtomicHeader::read(&file)?;
        header.note_separator(cx);
        let (mut rows, mut lines, mut bad) = (Vec::new(), Vec::new(), BadRows::default());
        for (number, line) in (1..).zip(file.bytes()?.split(|byte| *byte == b'\n')).skip(1) {
            match header.row(line) {
                Ok(fields) if fields.is_empty() => {}
                Ok(fields) => {
                    rows.push(fields);
                    lines.push(number);
                }
                Err(fault) => bad.add(fault, || number),
            }
        }
        bad.enforce(path, on_bad_row, cx)?;
        Ok(Self { header, rows, lines })
    }

    /// A field as text; a missing value is empty.
    pub fn text(&self, name: &str) -> Result<Vec<&str>> {
        let at = self.header.names.iter().position(|known| known == name);
        let at = at.with_context(|| no_field(&self.header.file, name, &self.header.names))?;
        Ok(self.rows.iter().map(|row| row[at].as_str()).collect())
    }

    /// A field as years; a value that is not an integer is unknown. Returns also the rows whose text was neither empty nor a whole
    /// number, so that the caller can say so.
    pub fn years(&self, name: &str) -> Result<(Vec<Option<i32>>, Vec<usize>)> {
        let text = self.text(name)?;
        let values: Vec<Option<i32>> = text.iter().map(|text| integers::year(text)).collect();
        let unread = (0..text.len()).filter(|&row| values[row].is_none() && !text[row].trim().is_empty()).collect();
        Ok((values, unread))
    }

    /// The physical line of a row, from 1.
    pub fn line_of(&self, row: usize) -> u64 {
        self.lines[row]
    }
}

impl AtomicHeader {
    /// The fields of a line, as many as the header has; none of a blank one.
    fn row(&self, line: &[u8]) -> Result<Vec<String>, Fault> {
        let line =
            str::from_utf8(line).map_err(|_| Fault::row(format!("{:?}", String::from_utf8_lossy(line)), "UTF-8"))?;
        let line = line.trim_end_matches('\r');
        if line.trim().is_empty() {
            return Ok(Vec::new());
        }
        if is_header(line, &self.line) {
            return Err(Fault::repeated_header());
        }
        let fields = fields(line, self.separator, self.separator == ",")?;
        let (found, wanted) = (fields.len(), self.names.len());
        if found == wanted { Ok(fields) } else { Err(Fault::fields(found, wanted)) }
    }
}

/// The files in `folder` with that extension, by name.
pub(in crate::ingest) fn with_extension(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    found.retain(|path| path.extension().is_some_and(|e| e == extension));
    found.sort();
    if found.is_empty() && folder.is_file() {
        bail!("{} is a file, wanted a folder", folder.display());
    }
    Ok(found)
}

/// What is wrong where a file lacks a field.
fn no_field(path: &Path, name: &str, names: &[String]) -> String {
    format!(
        "{} has no field `{name}`; it has {}\nhelp: the stage's settings name the fields (`title`, `year`, `genres`, `rating`, \
         `timestamp`): correct the one that says `{name}`",
        path.display(),
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Result<AtomicHeader> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.inter");
        std::fs::write(&path, text).unwrap();
        AtomicHeader::read(&TextFile::new(&path))
    }

    #[test]
    fn fields_are_apart_by_what_parts_them_whole() {
        for (text, separator) in [
            ("\u{feff}user_id:token\titem_id:token\r\n", "\t"),
            ("user_id:token,item_id:token\n", ","),
            ("\"user_id:token\",\"item_id:token\"\n", ","),
            ("user_id:token item_id:token\n", " "),
            ("user_id:token;item_id:token\n", ";"),
        ] {
            let header = header(text).unwrap();
            assert_eq!((header.separator, &*header.names), (separator, &["user_id".to_owned(), "item_id".into()][..]));
        }
        assert_eq!(header("item_id:token\n").unwrap().names, ["item_id"]);
    }

    #[test]
    fn what_is_wrong_with_a_header_is_named() {
        let error = |text: &str| header(text).err().unwrap().to_string();
        for (text, wanted) in [
            ("user_id:token\trating:flaot\n", "x.inter:1: unknown type: `rating:flaot`; wanted `token`, `token_seq`"),
            ("user_id:tokn\trating:flaot\n", "help: did you mean `user_id:token`, `rating:float`?"),
            ("user_id:token\trating:integer\n", "help: separate the fields by tabs"),
            ("user_id:token item_id:tokn\n", "unknown type: `item_id:tokn`; wanted"),
            ("user_id:token,rating\n", "the header field `rating` has no type; wanted `name:type`"),
            ("1\t2\t3\n", "the header field `1` has no type"),
            ("user_id:token\ta:float\tuser_id:token\n", "has two columns `user_id`: its 1st and its 3rd"),
            ("", "the header field `` has no type"),
        ] {
            assert!(error(text).contains(wanted), "{}\nwanted: {wanted}", error(text));
        }
        let header = header("user_id:token\titems:token_seq\n").unwrap();
        let error = header.single("items", "say it").unwrap_err().to_string();
        assert!(error.contains("the field `items` is of type `token_seq`, but holds one value a row"), "{error}");
    }
}
