//! What lies at a path as a table that is read when it is needed, and only the part of it that is.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use pipeline::UsageError;
use polars::io::HiveOptions;
use polars::lazy::frame::LazyFileListReader as _;
use polars::prelude::{
    DslPlan, FileScanDsl, IntoLazy as _, IpcScanOptions, IpcStreamReader, LazyCsvReader, LazyFrame, LazyJsonLineReader,
    ParquetOptions, PlRefPath, PolarsError, ScanSources, SerReader as _, UnifiedScanArgs,
};

use super::super::escape;
use super::super::{Format, MAGIC, PARQUET_MAGIC};
use crate::artifact::START;

/// First bytes of an Arrow stream: the mark of a message that goes on.
const STREAM: &[u8] = b"\xff\xff\xff\xff";
/// Rows of a text from which the types of its columns are told.
const TYPED: usize = 10_000;
/// Names of files in a folder of data that are no data, as Spark and Hadoop write them.
const HIDDEN: [&str; 2] = ["_", "."];
/// Separators of fields, by preference.
const SEPARATORS: [u8; 4] = [b',', b'\t', b';', b'|'];

/// A table in one file or many.
pub(in super::super) struct Scan {
    pub format: Format,
    /// The bytes of all files.
    pub bytes: u64,
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// The folder or pattern that the files were found by; `None` for a file.
    place: Option<PathBuf>,
}

impl Scan {
    /// What a file is, where polars reads it; `None` for any other.
    pub fn of_file(path: &Path, start: &[u8]) -> Option<Self> {
        let format = format(path, start)?;
        let bytes = path.metadata().map_or(0, |metadata| metadata.len());
        Some(Self { format, bytes, files: vec![path.to_owned()], place: None })
    }

    /// All files of a folder, and of the folders in it, or those of a pattern such as `part-*.parquet`.
    ///
    /// # Errors
    /// [`UsageError`] where there is no file, or the files are not all of one kind.
    pub fn of_many(place: &Path) -> Result<Self> {
        let mut files = Vec::new();
        if place.is_dir() {
            walk(place, &mut files)?;
        } else {
            let pattern = place.to_str().context("its name is no text")?;
            let found = glob::glob(pattern).map_err(|error| UsageError(format!("is no pattern: {error}")))?;
            files.extend(found.filter_map(Result::ok).filter(|path| path.is_file()));
        }
        files.sort();
        let mut all: Option<Self> = None;
        for path in &files {
            let shown = escape::shown(&path.display().to_string(), usize::MAX);
            let mut start = Vec::new();
            File::open(path)
                .and_then(|file| file.take(START as u64).read_to_end(&mut start))
                .with_context(|| format!("cannot read {shown}"))?;
            let Some(one) = Self::of_file(path, &start) else {
                let help = "name a pattern that leaves it out, such as 'folder/*.parquet'";
                return Err(UsageError(format!("holds {shown}, which is no table\nhelp: {help}")).into());
            };
            match &mut all {
                Some(all) if all.format == one.format => all.bytes += one.bytes,
                Some(all) => {
                    let (one, other) = (all.format.noun(), one.format.noun());
                    let help = "name a pattern of files of one kind, such as 'folder/*.parquet'";
                    return Err(UsageError(format!("holds files of {one} and of {other}\nhelp: {help}")).into());
                }
                None => all = Some(one),
            }
        }
        let none = || UsageError("holds no file\nhelp: a table is Parquet, Arrow, .csv, .tsv or .ndjson".into());
        let all = all.ok_or_else(none)?;
        Ok(Self { files, place: Some(place.to_owned()), ..all })
    }

    /// The table, of which nothing was read but its frame.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn plan(&self) -> Result<LazyFrame, PolarsError> {
        Ok(match self.format {
            Format::Parquet => {
                let options = ParquetOptions { use_statistics: true, ..Default::default() };
                self.framed(FileScanDsl::Parquet { options })?
            }
            Format::Arrow => self.framed(FileScanDsl::Ipc { options: IpcScanOptions::default() })?,
            // No index says where its batches lie, so it is read from the beginning to the end.
            Format::ArrowStream => {
                let mut whole = IpcStreamReader::new(File::open(&self.files[0])?).finish()?;
                for path in &self.files[1..] {
                    whole.vstack_mut_owned(IpcStreamReader::new(File::open(path)?).finish()?)?;
                }
                whole.lazy()
            }
            Format::Ndjson => LazyJsonLineReader::new_with_sources(self.opened()?)
                .with_infer_schema_length(NonZeroUsize::new(TYPED))
                .finish()?,
            _ => {
                let (separator, header) = separated(&self.files[0])?;
                LazyCsvReader::new_with_sources(self.opened()?)
                    .with_separator(separator)
                    .with_has_header(header)
                    .with_infer_schema_length(Some(TYPED))
                    .with_try_parse_dates(!has_doubtful_dates(&self.files[0])?)
                    .with_glob(false)
                    .finish()?
            }
        })
    }

    /// Of files whose frame says where everything is.
    fn framed(&self, kind: FileScanDsl) -> Result<LazyFrame, PolarsError> {
        let unified_scan_args = UnifiedScanArgs {
            hive_options: self.hive(),
            glob: self.is_pattern(),
            hidden_file_prefix: Some(Arc::from(HIDDEN.map(Into::into))),
            ..Default::default()
        };
        let sources = match &self.place {
            // It tells where the names of columns begin in the paths.
            Some(place) => ScanSources::Paths([PlRefPath::try_from_path(place)?].into_iter().collect()),
            None => self.opened()?,
        };
        Ok(LazyFrame::from(DslPlan::Scan {
            sources,
            unified_scan_args: Box::new(unified_scan_args),
            scan_type: Box::new(kind),
            cached_ir: Arc::default(),
        }))
    }

    /// A folder names columns by `year=2020` in its paths.
    fn hive(&self) -> HiveOptions {
        let named = |path: &PathBuf| {
            let inside = path.strip_prefix(self.place.as_deref().unwrap_or(path)).unwrap_or(path);
            inside.parent().is_some_and(|folders| folders.iter().any(|part| part.to_string_lossy().contains('=')))
        };
        match self.place.is_some() && self.files.iter().all(named) {
            true => HiveOptions::new_enabled(),
            false => HiveOptions::new_disabled(),
        }
    }

    fn is_pattern(&self) -> bool {
        self.place.as_deref().is_some_and(|place| !place.is_dir())
    }

    /// Each file as such, whatever its name.
    fn opened(&self) -> Result<ScanSources, PolarsError> {
        let files = self.files.iter().map(File::open).collect::<std::io::Result<Vec<_>>>()?;
        Ok(ScanSources::Files(files.into()))
    }
}

/// Files of data in a folder, however deep.
fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in folder.read_dir().context("cannot be read")? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| HIDDEN.iter().any(|prefix| name.to_string_lossy().starts_with(prefix))) {
            continue;
        }
        if path.is_dir() {
            walk(&path, files)?
        } else {
            files.push(path)
        }
        ensure!(files.len() <= 100_000, "holds more than 100,000 files\nhelp: name a folder or a pattern of fewer");
    }
    Ok(())
}

/// By the first bytes; a text by its name, because nothing in it tells a table.
fn format(path: &Path, start: &[u8]) -> Option<Format> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        _ if start.starts_with(PARQUET_MAGIC) => Some(Format::Parquet),
        _ if start.starts_with(MAGIC) => Some(Format::Arrow),
        _ if start.starts_with(STREAM) => Some(Format::ArrowStream),
        Some("csv" | "tsv" | "tab" | "psv") => Some(Format::Csv),
        Some("ndjson" | "jsonl") => Some(Format::Ndjson),
        _ => None,
    }
}

/// The separator of a text, and whether its first line names the columns.
fn separated(path: &Path) -> std::io::Result<(u8, bool)> {
    let mut line = String::new();
    // A file of one line may be large.
    BufReader::new(File::open(path)?.take(1 << 20)).read_line(&mut line).or_else(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => Ok(0),
        _ => Err(error),
    })?;
    let count = |separator: u8| line.bytes().filter(|&byte| byte == separator).count();
    // The first of those that come as often.
    let separator = SEPARATORS.into_iter().rev().max_by_key(|&separator| count(separator)).unwrap_or(b',');
    let fields = || line.trim_end().split(char::from(separator)).map(|field| field.trim_matches(['"', ' ']));
    Ok((separator, !fields().any(|field| field.parse::<f64>().is_ok_and(f64::is_finite))))
}

/// Whether the beginning of a text holds dates that do not begin with the year: which of their numbers is the day nobody can tell, so they
/// stay texts.
fn has_doubtful_dates(path: &Path) -> std::io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(1 << 20).read_to_end(&mut start)?;
    let text = String::from_utf8_lossy(&start);
    let fields =
        text.split(|c: char| SEPARATORS.contains(&u8::try_from(c).unwrap_or_default()) || "\"\r\n".contains(c));
    let is_doubtful = |field: &str| {
        let date = field.trim().split([' ', 'T']).next().unwrap_or_default();
        let parts: Vec<&str> = date.split(['/', '.', '-']).collect();
        let digits = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        parts.len() == 3 && parts.iter().all(digits) && parts[0].len() <= 2
    };
    Ok(fields.into_iter().any(is_doubtful))
}
