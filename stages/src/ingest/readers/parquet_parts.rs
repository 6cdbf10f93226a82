//! A table in Parquet: one file, or a folder of parts (Spark, Dask, DuckDB, `to_parquet` with `partition_cols`).
//!
//! The parts of a folder are its files with an extension of Parquet (all files where none has one) whose names begin neither with `_`
//! nor with `.` (`_SUCCESS`, `.crc` files), in the order of their paths. Names of inner folders may hold a column (`country=de`), as in
//! Hive. The columns are converted to a few plain types: dictionaries, UUIDs, enumerations and texts stored as bytes become texts.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::basic::LogicalType;
use pipeline::Context;

use crate::artifact::{Unsupported, catch_panics, codec_not_read, damaged, open_parquet};
use crate::ingest::readers::side_table::no_column;

/// Rows decoded at a time.
const BATCH: usize = 1 << 16;
/// Maximum depth of folders.
const MAX_DEPTH: usize = 16;
/// Extensions of Parquet files.
const ENDINGS: [&str; 4] = ["parquet", "parq", "pqt", "pq"];
/// Metadata folders of table formats that list the current files (others were replaced or deleted), the extension of a file in them,
/// and the name of the format.
const TABLE_FORMATS: [(&str, &str, &str); 3] =
    [("_delta_log", "", "Delta Lake"), (".hoodie", "", "Hudi"), ("metadata", ".metadata.json", "Iceberg")];
/// How Hive writes a missing value in a folder's name.
const MISSING: &str = "__HIVE_DEFAULT_PARTITION__";

/// One file of a table.
pub(in crate::ingest) struct Part {
    path: PathBuf,
    /// Columns in the names of its folders, with their values.
    folders: Vec<(String, Option<String>)>,
}

/// The parts of the table at a path, in their order.
pub(in crate::ingest) fn parts(path: &Path) -> Result<Vec<Part>> {
    let mut found = Vec::new();
    if path.is_dir() {
        let keeps = |keeper: &str, end: &str| {
            let entries = std::fs::read_dir(path.join(keeper)).into_iter().flatten().flatten();
            entries.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(end))
        };
        if let Some((keeper, _, of)) = TABLE_FORMATS.iter().find(|(keeper, end, _)| keeps(keeper, end)) {
            bail!(
                "{} seems to be a table of {of}, whose current files are listed only in its `{keeper}`\nhelp: write it as plain Parquet, \
                 for example with `to_parquet` or COPY",
                path.display()
            );
        }
        gather(path, &[], MAX_DEPTH, &mut found)?;
        let is_named_so =
            |part: &Part| part.path.extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known));
        if found.iter().any(is_named_so) {
            found.retain(is_named_so);
        }
        ensure!(
            !found.is_empty(),
            "{} holds no part of a table\nhelp: name a Parquet file, or the folder with its parts",
            path.display()
        );
    } else {
        found.push(Part { path: path.to_path_buf(), folders: Vec::new() });
    }
    Ok(found)
}

/// Reads the columns `names` of the table at a path, those that are some, batch by batch with the file that each is from.
///
/// # Errors
/// When a column or a file cannot be read, or `each` refuses a batch.
pub(in crate::ingest) fn for_each_batch(
    path: &Path,
    names: &[Option<&str>],
    cx: &Context,
    mut each: impl FnMut(&RecordBatch, &Path) -> Result<()>,
) -> Result<()> {
    let wanted: Vec<&str> = names.iter().flatten().copied().collect();
    let bar = cx.bar("read", None, "rows");
    for part in parts(path)? {
        for batch in part.batches(Some(&wanted))? {
            cx.check_cancelled()?;
            let batch = batch?;
            bar.inc(batch.num_rows() as u64);
            each(&batch, part.path())?;
        }
    }
    Ok(())
}

fn gather(folder: &Path, said: &[(String, Option<String>)], depth: usize, into: &mut Vec<Part>) -> Result<()> {
    ensure!(depth > 0, "{} is nested in more than {MAX_DEPTH} folders", folder.display());
    let place = || format!("cannot list {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(place)?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>().with_context(place)?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(['_', '.']) {
            continue;
        }
        if path.is_dir() {
            let mut said = said.to_vec();
            if let Some((column, value)) = name.split_once('=') {
                said.push((unescaped(column), (value != MISSING).then(|| unescaped(value))));
            }
            gather(&path, &said, depth - 1, into)?;
        } else {
            into.push(Part { path, folders: said.to_vec() });
        }
    }
    Ok(())
}

/// A name with its percent-encoded characters decoded.
fn unescaped(name: &str) -> String {
    let bytes = name.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let code = name.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

impl Part {
    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The rows, batch by batch: the columns in `wanted`, or all of them.
    ///
    /// # Errors
    /// Where it is not a readable Parquet file, or a column is missing or not unique. Every message names the file.
    pub fn batches(&self, wanted: Option<&[&str]>) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
        let file = &self.path;
        let place = || format!("cannot read {}", file.display());
        let mut opened = File::open(file).with_context(place)?;
        let bytes = opened.metadata().with_context(place)?.len();
        let metadata = open_parquet(&mut opened, bytes).map_err(|error| error.context(file.display().to_string()))?;
        let names: Vec<String> = metadata.schema().fields().iter().map(|field| field.name().clone()).collect();
        let roots = self.roots(&names, wanted)?;
        self.check_codecs(&metadata, &roots)?;
        let folders: Vec<(String, Option<String>)> = self
            .folders
            .iter()
            .filter(|(name, _)| !names.contains(name) && wanted.is_none_or(|wanted| wanted.contains(&&**name)))
            .cloned()
            .collect();
        let uuids: Vec<bool> = roots.iter().map(|&root| is_uuid(&metadata, root)).collect();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(opened, metadata);
        let at_fault = |error: String| damaged("its rows cannot be read", error).context(file.display().to_string());
        let mut reader =
            catch_panics(|| builder.with_projection(mask).with_batch_size(BATCH).build()).map_err(at_fault)?;
        let file = file.clone();
        Ok(std::iter::from_fn(move || {
            let batch = catch_panics(|| reader.next().transpose());
            let batch = batch.and_then(|batch| match batch {
                Some(batch) => catch_panics(|| plain(&batch, &uuids, &folders)).map(Some),
                None => Ok(None),
            });
            batch
                .map_err(|error| damaged("its rows cannot be read", error).context(file.display().to_string()))
                .transpose()
        }))
    }

    /// The positions of the wanted columns, ascending.
    fn roots(&self, names: &[String], wanted: Option<&[&str]>) -> Result<Vec<usize>> {
        let Some(wanted) = wanted else {
            for (place, name) in names.iter().enumerate() {
                self.only(names, name, place)?;
            }
            return Ok((0..names.len()).collect());
        };
        let mut roots = Vec::new();
        for name in wanted {
            match names.iter().position(|known| known == name) {
                Some(place) => {
                    self.only(names, name, place)?;
                    roots.push(place);
                }
                None if self.folders.iter().any(|(known, _)| known == name) => {}
                None => {
                    let said = self.folders.iter().map(|(known, _)| known.clone());
                    return Err(no_column(&self.path, &names.iter().cloned().chain(said).collect::<Vec<_>>(), name));
                }
            }
        }
        roots.sort_unstable();
        roots.dedup();
        Ok(roots)
    }

    /// Requires that no column after `place` has the same name, which would be ambiguous.
    fn only(&self, names: &[String], name: &str, place: usize) -> Result<()> {
        ensure!(
            !names[place + 1..].iter().any(|other| other == name),
            "{} has two columns `{name}`\nhelp: rename or remove one of them",
            self.path.display()
        );
        Ok(())
    }

    fn check_codecs(&self, metadata: &ArrowReaderMetadata, roots: &[usize]) -> Result<()> {
        let parquet = metadata.parquet_schema();
        for leaf in (0..parquet.num_columns()).filter(|&leaf| roots.contains(&parquet.get_column_root_idx(leaf))) {
            if let Some(codec) = codec_not_read(metadata.metadata(), leaf) {
                let (file, column) = (self.path.display(), parquet.column(leaf).path().string());
                return Err(Unsupported(format!(
                    "column `{column}` of {file} is compressed with {codec}, which cannot be read here\nhelp: write the file again with \
                     ZSTD or SNAPPY"
                ))
                .into());
            }
        }
        Ok(())
    }
}

/// Whether a column holds UUIDs, which its 16 bytes alone do not show.
fn is_uuid(metadata: &ArrowReaderMetadata, root: usize) -> bool {
    let column = metadata.parquet_schema().root_schema().get_fields().get(root);
    column.is_some_and(|column| column.get_basic_info().logical_type_ref() == Some(&LogicalType::Uuid))
}

/// A batch of plain columns, those behind it that its folders say.
fn plain(batch: &RecordBatch, uuids: &[bool], folders: &[(String, Option<String>)]) -> Result<RecordBatch> {
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for ((field, column), &is_uuid) in batch.schema().fields().iter().zip(batch.columns()).zip(uuids) {
        columns.push((field.name().clone(), plain_column(column, is_uuid)?));
    }
    for (name, value) in folders {
        let values = StringArray::from(vec![value.as_deref(); batch.num_rows()]);
        columns.push((name.clone(), Arc::new(values)));
    }
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(name, column.data_type().clone(), true)).collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let arrays = columns.into_iter().map(|(_, column)| column).collect();
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)?)
}

fn plain_column(column: &ArrayRef, is_uuid: bool) -> Result<ArrayRef> {
    match column.data_type() {
        DataType::Dictionary(_, values) => {
            let values = cast(column, values)?;
            plain_column(&values, is_uuid)
        }
        DataType::FixedSizeBinary(16) if is_uuid => {
            let uuids = column.as_fixed_size_binary();
            Ok(Arc::new(uuids.iter().map(|uuid| uuid.map(uuid_text)).collect::<StringArray>()))
        }
        // Older tools, and all that have enumerations, mark no text as such.
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let text = cast(column, &DataType::Utf8)?;
            // What is not UTF-8 becomes missing there: it stays bytes here, and is refused by who wants a text.
            Ok(if text.null_count() == column.null_count() { text } else { Arc::clone(column) })
        }
        _ => Ok(Arc::clone(column)),
    }
}

/// `8c5d…` with its four hyphens.
fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}
