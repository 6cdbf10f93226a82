//! Record batches in and out of Parquet and Arrow IPC files, with the kind and format number in the schema's metadata.
//!
//! Deliberately small: whole tables at once; `row_groups` writes long ones. Streams belong to the stage that needs them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use pipeline::{IdSpaces, Sizes};

use super::catch_panics::catch_panics;
use super::tensors::older;
use super::{arrow_blocks, parquet_footer};

/// The one metadata key; a single key, because the writers do not promise an order.
const KEY: &str = "apprentice";

/// Builds a batch whose schema says `kind/format`; a column is nullable only when it holds a null.
pub(super) fn batch(kind: &str, format: u32, columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    batch_within(kind, format, &IdSpaces::default(), columns)
}

/// As [`batch`], with the digests of the ids that its row numbers stand for: `kind/format items=… users=…`.
pub(super) fn batch_within(
    kind: &str,
    format: u32,
    spaces: &IdSpaces,
    columns: Vec<(&str, ArrayRef)>,
) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), array.is_nullable())).collect();
    let said: String = spaces.iter().map(|(name, digest)| format!(" {name}={digest}")).collect();
    let metadata = HashMap::from([(KEY.to_owned(), format!("{kind}/{format}{said}"))]);
    let schema = Schema::new_with_metadata(fields, metadata);
    Ok(RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, array)| array).collect())?)
}

/// How Parquet is written.
pub(super) fn properties() -> Result<WriterProperties> {
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?));
    Ok(properties.set_created_by(KEY.to_owned()).build())
}

pub(super) fn write_parquet(path: &Path, batch: &RecordBatch) -> Result<()> {
    write(path, batch, properties()?)
}

/// As [`write_parquet`], with a text under `key` in the footer, beside the schema: Parquet keeps such pairs in their order.
pub(super) fn write_parquet_saying(path: &Path, batch: &RecordBatch, (key, text): (&str, &str)) -> Result<()> {
    let said = vec![KeyValue::new(key.to_owned(), text.to_owned())];
    write(path, batch, properties()?.into_builder().set_key_value_metadata(Some(said)).build())
}

fn write(path: &Path, batch: &RecordBatch, properties: WriterProperties) -> Result<()> {
    let file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.close()?;
    Ok(())
}

pub(super) fn read_parquet(path: &Path, kind: &str, format: u32) -> Result<RecordBatch> {
    Ok(read(path, kind, format, |_| Ok(()))?.0)
}

/// As [`read_parquet`], with the text that [`write_parquet_saying`] wrote under `key`.
pub(super) fn read_parquet_saying(path: &Path, kind: &str, format: u32, key: &str) -> Result<(RecordBatch, String)> {
    read(path, kind, format, |metadata| {
        let said = metadata.file_metadata().key_value_metadata();
        let found = said.into_iter().flatten().find(|pair| pair.key == key).and_then(|pair| pair.value.clone());
        found.with_context(|| format!("no `{key}` in the footer of {}", path.display()))
    })
}

/// The table, and what `said` finds in its footer.
fn read<T>(
    path: &Path,
    kind: &str,
    format: u32,
    said: impl Fn(&ParquetMetaData) -> Result<T>,
) -> Result<(RecordBatch, T)> {
    let file = open(path, 8, |file, bytes, length| parquet_footer::check(file, bytes, length).map(drop))
        .with_context(|| format!("{} is not a whole Parquet file", path.display()))?;
    whole(path, || {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)
            .with_context(|| format!("{} is not a whole Parquet file", path.display()))?;
        let schema = builder.schema().clone();
        check(path, &schema, kind, format)?;
        let said = said(builder.metadata())?;
        let batches: Vec<RecordBatch> = builder.build()?.collect::<Result<_, _>>()?;
        Ok((concat_batches(&schema, &batches)?, said))
    })
}

pub(super) fn write_arrow(path: &Path, batch: &RecordBatch) -> Result<()> {
    let file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut writer = FileWriter::try_new(file, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    Ok(())
}

pub(super) fn read_arrow(path: &Path, kind: &str, format: u32) -> Result<RecordBatch> {
    read_arrow_where(path, kind, format, |batch| Ok(BooleanArray::from(vec![true; batch.num_rows()])))
}

/// As [`read_arrow`], keeping only the rows that are `wanted` of each batch.
pub(super) fn read_arrow_where(
    path: &Path,
    kind: &str,
    format: u32,
    wanted: impl Fn(&RecordBatch) -> Result<BooleanArray>,
) -> Result<RecordBatch> {
    let torn = || format!("{} is not a whole Arrow file", path.display());
    let file =
        open(path, 10, |file, bytes, footer| arrow_blocks::check(file, bytes, footer).map(drop)).with_context(torn)?;
    whole(path, || {
        let reader = FileReader::try_new(file, None).with_context(torn)?;
        let schema = reader.schema();
        check(path, &schema, kind, format)?;
        let kept = reader.map(|batch| {
            let batch = batch?;
            Ok(filter_record_batch(&batch, &wanted(&batch)?)?)
        });
        Ok(concat_batches(&schema, &kept.collect::<Result<Vec<_>>>()?)?)
    })
}

/// Opens a file that ends in the length of its footer and its magic, together `end` bytes, and has its frame checked: what
/// reads it then would believe any length in it.
fn open(path: &Path, end: u64, check: impl Fn(&mut File, u64, u64) -> Result<()>) -> Result<File> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let bytes = file.metadata()?.len();
    let mut length = [0; 4];
    file.seek(SeekFrom::Start(bytes.checked_sub(end).context("it is too short")?))?;
    file.read_exact(&mut length)?;
    let footer = u64::from(u32::from_le_bytes(length));
    ensure!(footer + end <= bytes, "it announces a footer of {footer} bytes in a file of {bytes}");
    check(&mut file, bytes, footer)?;
    file.rewind()?;
    Ok(file)
}

/// Reads with the libraries' panics turned into errors.
fn whole<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut error = None;
    let read = catch_panics(|| read().map_err(|found| error.insert(found).to_string()));
    read.map_err(|panic| error.unwrap_or_else(|| anyhow!("{} is damaged: {panic}", path.display())))
}

/// Checks kind and format, and gives the spaces that follow them.
fn check(path: &Path, schema: &Schema, kind: &str, format: u32) -> Result<IdSpaces> {
    let wanted = format!("{kind}/{format}");
    let Some(said) = schema.metadata().get(KEY) else {
        bail!("{} was not written by this program: no `{KEY}` in its schema, wanted {wanted}", path.display())
    };
    let mut said = said.split(' ');
    let found = said.next().unwrap_or_default();
    let before =
        |(kind, number): (&str, &str)| (kind.to_owned(), number.parse().is_ok_and(|found: u32| found < format));
    let (found_kind, before) = found.split_once('/').map(before).unwrap_or_default();
    ensure!(found == wanted, "{} holds {found}, wanted {wanted}{}", path.display(), older(kind, &found_kind, before));
    Ok(said.filter_map(|space| space.split_once('=')).map(|(name, id)| (name.to_owned(), id.to_owned())).collect())
}

/// Which ids the row numbers of a Parquet file stand for, from its footer alone.
pub(super) fn parquet_id_spaces(path: &Path, kind: &str, format: u32) -> Result<IdSpaces> {
    let torn = || format!("{} is not a whole Parquet file", path.display());
    let file =
        open(path, 8, |file, bytes, length| parquet_footer::check(file, bytes, length).map(drop)).with_context(torn)?;
    whole(path, || {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).with_context(torn)?;
        check(path, builder.schema(), kind, format)
    })
}

/// How many rows a Parquet file has, from its footer alone, as the size `of`.
pub(super) fn parquet_rows(path: &Path, of: &'static str) -> Result<Sizes> {
    let torn = || format!("{} is not a whole Parquet file", path.display());
    let file =
        open(path, 8, |file, bytes, length| parquet_footer::check(file, bytes, length).map(drop)).with_context(torn)?;
    whole(path, || {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).with_context(torn)?;
        Ok(Sizes::of(of, usize::try_from(builder.metadata().file_metadata().num_rows())?))
    })
}

/// Which ids the row numbers of an Arrow file stand for, from its footer alone.
pub(super) fn arrow_id_spaces(path: &Path, kind: &str, format: u32) -> Result<IdSpaces> {
    let torn = || format!("{} is not a whole Arrow file", path.display());
    let file =
        open(path, 10, |file, bytes, footer| arrow_blocks::check(file, bytes, footer).map(drop)).with_context(torn)?;
    whole(path, || check(path, &FileReader::try_new(file, None).with_context(torn)?.schema(), kind, format))
}

/// The column `name` as the array type `A`, without nulls.
pub(super) fn column<'a, A: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a A> {
    let array = nullable::<A>(batch, name)?;
    ensure!(array.null_count() == 0, "column `{name}` holds {} nulls", array.null_count());
    Ok(array)
}

/// The column `name` as the array type `A`, nulls allowed.
pub(super) fn nullable<'a, A: Array + 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a A> {
    let array = batch.column_by_name(name).with_context(|| format!("no column `{name}`"))?;
    array
        .as_any()
        .downcast_ref::<A>()
        .with_context(|| format!("column `{name}` is {}, wanted {}", array.data_type(), std::any::type_name::<A>()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;

    /// Damage that a library may take for a length, or panic at, ends in an error.
    #[test]
    fn a_flipped_byte_is_an_error_or_another_table_but_no_panic() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("one"), None, Some("three")]));
        let batch = batch("words", 1, vec![("word", texts)]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        type Read = fn(&Path, &str, u32) -> Result<RecordBatch>;
        for (is_parquet, read) in [(true, read_parquet as Read), (false, read_arrow)] {
            let write = if is_parquet { write_parquet } else { write_arrow };
            write(&path, &batch).unwrap();
            assert_eq!(read(&path, "words", 1).unwrap(), batch);
            let bytes = std::fs::read(&path).unwrap();
            let mut refused = 0;
            for at in 0..bytes.len() {
                let mut bytes = bytes.clone();
                bytes[at] ^= 0x80;
                std::fs::write(&path, &bytes).unwrap();
                refused += usize::from(read(&path, "words", 1).is_err());
            }
            assert!(refused > bytes.len() / 10, "{refused} of {}", bytes.len());
            std::fs::write(&path, &bytes[..4]).unwrap();
            assert!(read(&path, "words", 1).is_err());
            std::fs::remove_file(&path).unwrap();
        }
    }
}
