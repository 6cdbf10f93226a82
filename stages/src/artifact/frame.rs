//! Record batches in and out of Parquet and Arrow IPC files, with the kind and format number in the schema's metadata.
//!
//! Deliberately small: whole tables at once. Streams belong to the stage that needs them.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

/// The one metadata key; a single key, because the writers do not promise an order.
const KEY: &str = "apprentice";

/// Builds a batch whose schema says `kind/format`; a column is nullable only when it holds a null.
pub(super) fn batch(kind: &str, format: u32, columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), array.is_nullable())).collect();
    let metadata = HashMap::from([(KEY.to_owned(), format!("{kind}/{format}"))]);
    let schema = Schema::new_with_metadata(fields, metadata);
    Ok(RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, array)| array).collect())?)
}

pub(super) fn write_parquet(path: &Path, batch: &RecordBatch) -> Result<()> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_created_by(KEY.to_owned())
        .build();
    let file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.close()?;
    Ok(())
}

pub(super) fn read_parquet(path: &Path, kind: &str, format: u32) -> Result<RecordBatch> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)
        .with_context(|| format!("{} is not a whole Parquet file", path.display()))?;
    let schema = builder.schema().clone();
    check(path, &schema, kind, format)?;
    let batches: Vec<RecordBatch> = builder.build()?.collect::<Result<_, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

pub(super) fn write_arrow(path: &Path, batch: &RecordBatch) -> Result<()> {
    let file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut writer = FileWriter::try_new(file, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    Ok(())
}

pub(super) fn read_arrow(path: &Path, kind: &str, format: u32) -> Result<RecordBatch> {
    let (schema, reader) = open_arrow(path, kind, format)?;
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// As [`read_arrow`], keeping only the rows that are `wanted` of each batch.
pub(super) fn read_arrow_where(
    path: &Path,
    kind: &str,
    format: u32,
    wanted: impl Fn(&RecordBatch) -> Result<BooleanArray>,
) -> Result<RecordBatch> {
    let (schema, reader) = open_arrow(path, kind, format)?;
    let kept = reader.map(|batch| {
        let batch = batch?;
        Ok(filter_record_batch(&batch, &wanted(&batch)?)?)
    });
    Ok(concat_batches(&schema, &kept.collect::<Result<Vec<_>>>()?)?)
}

fn open_arrow(path: &Path, kind: &str, format: u32) -> Result<(SchemaRef, FileReader<File>)> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let reader =
        FileReader::try_new(file, None).with_context(|| format!("{} is not a whole Arrow file", path.display()))?;
    let schema = reader.schema();
    check(path, &schema, kind, format)?;
    Ok((schema, reader))
}

fn check(path: &Path, schema: &Schema, kind: &str, format: u32) -> Result<()> {
    let wanted = format!("{kind}/{format}");
    match schema.metadata().get(KEY) {
        Some(found) if *found == wanted => Ok(()),
        Some(found) => bail!("{} holds {found}, wanted {wanted}", path.display()),
        None => bail!("{} was not written by this program: no `{KEY}` in its schema, wanted {wanted}", path.display()),
    }
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
