//! What lies at a path as a table that is read when it is needed, and only the part of it that is.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, ensure};
use pipeline::UsageError;
use polars::io::HiveOptions;
use polars::lazy::frame::LazyFileListReader as _;
use polars::prelude::{
    DslPlan, FileScanDsl, IntoLazy as _, IpcScanOptions, IpcStreamReader, LazyCsvReader, LazyFrame, LazyJsonLineReader,
    ParquetOptions, PlRefPath, PolarsError, ScanSources, SerReader as _, UnifiedScanArgs,
};

use super::super::arrow::MAGIC;
use super::super::description::Format;
use super::super::escape;
use super::json_schema;
use super::parts::Parts;
use super::running::{asked, unread};
use super::separated::Separated;
use crate::artifact::{PARQUET_MAGIC, START};

/// First bytes of an Arrow stream: the mark of a message that goes on.
const STREAM: &[u8] = b"\xff\xff\xff\xff";
/// First bytes of what is packed, which may be called .csv all the same.
const PACKED: [&[u8]; 5] = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", b"BZh", b"\xfd7zXZ\0"];
/// Names of files in a folder of data that are no data, as Spark and Hadoop write them.
const HIDDEN: [&str; 2] = ["_", "."];

/// A table in one file or many.
pub(in super::super) struct Scan {
    pub format: Format,
    /// The bytes of all files.
    pub bytes: u64,
    /// The files, in order.
    pub files: Vec<PathBuf>,
    /// The folder or pattern that the files were found by; `None` for a file.
    place: Option<PathBuf>,
    /// The table, once somebody asked for it.
    plan: OnceLock<LazyFrame>,
}

impl Scan {
    /// What a file is, where polars reads it; `None` for any other.
    pub fn of_file(path: &Path, start: &[u8]) -> Option<Self> {
        let format = format(path, start)?;
        let bytes = path.metadata().map_or(0, |metadata| metadata.len());
        Some(Self { format, bytes, files: vec![path.to_owned()], place: None, plan: OnceLock::new() })
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

    /// The table, of which nothing was read but its frame; of text all, for its columns.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn plan(&self) -> Result<LazyFrame> {
        if self.plan.get().is_none() {
            let plan = match self.format {
                Format::Ndjson => self.records()?,
                Format::Csv => self.separated()?,
                _ => asked(|| self.of_frames()).map_err(|failure| self.parts().explain(unread(failure)))?,
            };
            // Whoever was faster has the same.
            self.plan.set(plan).ok();
        }
        Ok(self.plan.get().expect("it was just set").clone())
    }

    /// The files, for what is said about them.
    pub(super) fn parts(&self) -> Parts {
        Parts { format: self.format, files: self.files.as_slice().into() }
    }

    fn of_frames(&self) -> Result<LazyFrame, PolarsError> {
        Ok(match self.format {
            Format::Parquet => {
                let options = ParquetOptions { use_statistics: true, ..Default::default() };
                self.framed(FileScanDsl::Parquet { options })?
            }
            Format::Arrow => self.framed(FileScanDsl::Ipc { options: IpcScanOptions::default() })?,
            // No index says where its batches lie, so it is read from the beginning to the end.
            _ => {
                let mut whole = IpcStreamReader::new(File::open(&self.files[0])?).finish()?;
                for path in &self.files[1..] {
                    whole.vstack_mut_owned(IpcStreamReader::new(File::open(path)?).finish()?)?;
                }
                whole.lazy()
            }
        })
    }

    fn records(&self) -> Result<LazyFrame> {
        let schema = json_schema::schema(&self.files)?;
        let reader = || LazyJsonLineReader::new_with_sources(self.opened()?).with_schema(Some(schema.into())).finish();
        asked(reader).map_err(unread)
    }

    fn separated(&self) -> Result<LazyFrame> {
        let text = Separated::of(&self.files)?;
        let reader = || {
            LazyCsvReader::new_with_sources(self.opened()?)
                .with_separator(text.separator)
                .with_quote_char(text.is_quoted.then_some(b'"'))
                .with_has_header(text.has_header)
                .with_schema(Some(text.schema.into()))
                .with_try_parse_dates(true)
                .with_glob(false)
                .finish()
        };
        asked(reader).map_err(unread)
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
        _ if PACKED.iter().any(|magic| start.starts_with(magic)) => None,
        Some("csv" | "tsv" | "tab" | "psv") => Some(Format::Csv),
        Some("ndjson" | "jsonl") => Some(Format::Ndjson),
        _ => None,
    }
}
