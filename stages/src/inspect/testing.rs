//! Small files, and what is said about them.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;
use pipeline::inspect::Request;

use super::text_output::OutputStyle;
use super::{Description, escape, inspect, open, table};

/// The answer to a request that succeeds.
pub fn inspected(path: &Path, request: &Request) -> String {
    let mut out = Vec::new();
    inspect(path, request, &mut out).unwrap_or_else(|error| panic!("{error:#}"));
    String::from_utf8(out).unwrap()
}

/// The description with its first rows.
pub fn describe(path: &Path, head: usize) -> Result<Description> {
    let name = path.display().to_string();
    let request = Request { head: Some(head), ..Request::default() };
    let describe = || super::description_of(open(path)?, name.clone(), &request);
    describe().with_context(|| escape::shown(&name, usize::MAX))
}

/// As it stands on a terminal of this width.
pub fn rendered(description: &Description, width: u16) -> String {
    table::render(description, OutputStyle::Terminal(width))
}

/// The batch as a Parquet file in the folder.
pub fn parquet(folder: &Path, batch: &RecordBatch) -> PathBuf {
    let path = folder.join("x.parquet");
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    path
}

/// A Parquet file of a column `flag` in one row group without rows, whose chunk is announced with that codec, without bytes, at 0.
pub fn without_pages(folder: &Path, compression: Compression) -> PathBuf {
    let schema = parse_message_type("message m { optional boolean flag; }").unwrap();
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
    let chunk = ColumnChunkMetaData::builder(schema.column(0)).set_compression(compression).build().unwrap();
    let group = RowGroupMetaData::builder(Arc::clone(&schema)).set_column_metadata(vec![chunk]).build().unwrap();
    let metadata = ParquetMetaData::new(FileMetaData::new(2, 0, None, None, schema, None), vec![group]);
    let path = folder.join("empty.parquet");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"PAR1").unwrap();
    ParquetMetaDataWriter::new(file, &metadata).finish().unwrap();
    path
}

/// What is said about the batch as a Parquet file.
pub fn described(batch: &RecordBatch, request: &Request) -> Description {
    let folder = tempfile::tempdir().unwrap();
    super::description_of(open(&parquet(folder.path(), batch)).unwrap(), "x".into(), request).unwrap()
}
