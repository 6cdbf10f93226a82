//! Parquet files of any writer, opened: the frame is read, and what is no Parquet, or none that can be read, is called by its name.

use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{CompressionCodec, Type as PhysicalType};
use parquet::file::metadata::ParquetMetaData;
use pipeline::escape::shown;

use super::file_kind::{START, stranger};
use super::{Unsupported, catch_panics, parquet_footer};

/// First and last bytes of every Parquet file whose footer is in clear.
pub(crate) const PARQUET_MAGIC: &[u8] = b"PAR1";
/// The same where the footer is encrypted.
const ENCRYPTED: &[u8] = b"PARE";

/// Reads the footer of a Parquet file of `bytes` bytes.
///
/// # Errors
/// [`Unsupported`] where it is another kind of file, or encrypted; else when it is torn or damaged. No text names the file.
pub(crate) fn open_parquet(file: &mut File, bytes: u64) -> Result<ArrowReaderMetadata> {
    let mut start = Vec::new();
    file.rewind()?;
    file.take(START as u64).read_to_end(&mut start)?;
    if start.starts_with(ENCRYPTED) {
        return Err(encrypted("its footer is"));
    }
    if !start.starts_with(PARQUET_MAGIC) {
        return Err(other(&start));
    }
    let footer = check_end(file, bytes)?;
    let has_secrets = parquet_footer::check(file, bytes, footer)
        .map_err(|error| damaged("its Parquet footer cannot be read", error))?;
    if has_secrets {
        return Err(encrypted("columns of it are"));
    }
    let metadata = catch_panics(|| ArrowReaderMetadata::load(file, ArrowReaderOptions::new())).map_err(|error| {
        // What the writer says of its own types stands beside the footer, which is whole where it can be read without.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        match catch_panics(|| ArrowReaderMetadata::load(file, options)) {
            Ok(metadata) => of_strange_type(&metadata, &error),
            Err(_) => damaged("its Parquet footer cannot be read", error),
        }
    })?;
    wide(metadata).map_err(|error| damaged("its schema cannot be read", error))
}

/// The same with times of the type `INT96` in microseconds. In nanoseconds, as the parquet crate has them, 64 bits end in the year
/// 2262, and what is later (Spark and Hive write 9999-12-31 for "never") wraps around to another century in silence.
fn wide(metadata: ArrowReaderMetadata) -> Result<ArrowReaderMetadata, String> {
    let parquet = metadata.parquet_schema();
    let leaves = (0..parquet.num_columns()).filter(|&leaf| parquet.column(leaf).physical_type() == PhysicalType::INT96);
    let roots: Vec<usize> = leaves.map(|leaf| parquet.get_column_root_idx(leaf)).collect();
    if roots.is_empty() {
        return Ok(metadata);
    }
    let field = |(root, field): (usize, &Arc<Field>)| match field.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, zone) if roots.contains(&root) => {
            let kind = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
            Arc::new(field.as_ref().clone().with_data_type(kind))
        }
        _ => Arc::clone(field),
    };
    let fields: Vec<_> = metadata.schema().fields().iter().enumerate().map(field).collect();
    let schema = Schema::new(fields).with_metadata(metadata.schema().metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
    catch_panics(|| ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options))
}

/// The name of a codec in use in that leaf of the schema that this program is built without.
pub(crate) fn codec_not_read(metadata: &ParquetMetaData, leaf: usize) -> Option<CompressionCodec> {
    let codecs = metadata.row_groups().iter().map(|group| group.column(leaf).compression_codec());
    codecs.into_iter().find(|codec| matches!(codec, CompressionCodec::BROTLI | CompressionCodec::LZO))
}

/// The error for a file that begins and ends as it should, but cannot be read in between.
pub(crate) fn damaged(what: impl Display, cause: impl Display) -> anyhow::Error {
    let cause = shown(&cause.to_string(), 400);
    anyhow!("{what}: the file is damaged ({cause})\nhelp: make the file again")
}

/// The error for a file of whose Arrow types one is not known here, such as the integers of 128 bits of polars.
fn of_strange_type(metadata: &ArrowReaderMetadata, cause: &str) -> anyhow::Error {
    let parquet = metadata.parquet_schema();
    let suspects = parquet.columns().iter().filter(|column| {
        column.physical_type() == PhysicalType::FIXED_LEN_BYTE_ARRAY && column.logical_type_ref().is_none()
    });
    let names: Vec<String> = suspects.map(|column| format!("`{}`", shown(&column.path().string(), 40))).collect();
    let named = if names.is_empty() { String::new() } else { format!(", probably {}", names.join(", ")) };
    Unsupported(format!(
        "is Parquet, but a column has a type that cannot be read here{named} ({})\nhelp: write it as integers of 64 bits, decimals or \
         texts",
        shown(cause, 200)
    ))
    .into()
}

fn encrypted(what: &str) -> anyhow::Error {
    let help = "write it again without encryption; no key can be given here";
    Unsupported(format!("is Parquet, but {what} encrypted and cannot be read without a key\nhelp: {help}")).into()
}

fn other(start: &[u8]) -> anyhow::Error {
    let begins = shown(&String::from_utf8_lossy(&start[..start.len().min(24)]), 48);
    Unsupported(match stranger(start) {
        _ if start.is_empty() => {
            "is empty (0 bytes), so it is no Parquet file\nhelp: make the file again, or fetch it again".to_owned()
        }
        Some(found) => format!("is no Parquet file but {}\nhelp: {}", found.is, found.help),
        None => format!(
            "is no Parquet file: it begins with `{begins}` instead of `PAR1`\nhelp: name it by what it is (.csv, .tsv, .ndjson), or \
             write it as Parquet"
        ),
    })
    .into()
}

/// Tells a file that was not written to its end from a damaged one, in words better than a parser has. Returns the
/// length of the footer.
fn check_end(file: &mut File, bytes: u64) -> Result<u64> {
    let help = "help: it was probably interrupted while it was written; make it again";
    let least = 2 * PARQUET_MAGIC.len() as u64 + 4;
    ensure!(bytes >= least, "starts like Parquet, but has only {bytes} of at least {least} bytes\n{help}");
    let mut end = [0; 8];
    file.seek(SeekFrom::End(-8))?;
    file.read_exact(&mut end)?;
    let (length, magic) = end.split_at(4);
    ensure!(
        magic == PARQUET_MAGIC,
        "starts like Parquet, but the last 4 of its {bytes} bytes are `{}` instead of `PAR1`: its footer is missing\n{help}",
        shown(&String::from_utf8_lossy(magic), 8)
    );
    let length = length.iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte));
    ensure!(
        length + least <= bytes,
        "its last bytes announce a Parquet footer of {length} bytes, but the whole file has {bytes}\n{help}"
    );
    Ok(length)
}
