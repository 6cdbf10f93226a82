//! Small files, and what is said about them.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use pipeline::inspect::Request;

use super::page::Medium;
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
    let describe = || super::describe(open(path)?, name.clone(), &request);
    describe().with_context(|| escape::shown(&name, usize::MAX))
}

/// As it stands on a terminal of this width.
pub fn rendered(description: &Description, width: u16) -> String {
    table::render(description, Medium::Terminal(width))
}

/// The batch as a Parquet file in the folder.
pub fn parquet(folder: &Path, batch: &RecordBatch) -> PathBuf {
    let path = folder.join("x.parquet");
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    path
}

/// What is said about the batch as a Parquet file.
pub fn described(batch: &RecordBatch, request: &Request) -> Description {
    let folder = tempfile::tempdir().unwrap();
    super::describe(open(&parquet(folder.path(), batch)).unwrap(), "x".into(), request).unwrap()
}
