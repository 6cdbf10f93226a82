//! Writes a large Parquet file, to measure how `inspect` takes it: `large PATH [ROWS]`, by default 100 million rows.

use std::fs::File;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use arrow::array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray, UInt32Array};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

/// Rows written at a time.
const BATCH: u64 = 1 << 17;

fn batch(first: u64, rows: u64) -> Result<RecordBatch> {
    let words = ["drama", "comedy", "action", "war", "romance", "horror"];
    let scattered = |row: u64| row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let all = first..first + rows;
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("user", Arc::new(UInt32Array::from_iter_values(all.clone().map(|row| (row / 100) as u32))) as ArrayRef, false),
        ("item", Arc::new(UInt32Array::from_iter_values(all.clone().map(|row| scattered(row) as u32 % 50_000))), false),
        (
            "rating",
            Arc::new(all.clone().map(|row| (row % 9 > 0).then_some((row % 10) as f32 / 2.0)).collect::<Float32Array>()),
            true,
        ),
        ("timestamp", Arc::new(Int64Array::from_iter_values(all.clone().map(|row| 1_000_000_000 + row as i64))), false),
        ("genre", Arc::new(all.map(|row| Some(words[row as usize % 6])).collect::<StringArray>()), false),
    ])?)
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let path = words.next().context("usage: large PATH [ROWS]")?;
    let rows: u64 = words.next().map_or(Ok(100_000_000), |rows| rows.parse())?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(File::create(&path)?, batch(0, 0)?.schema(), Some(properties))?;
    let mut first = 0;
    while first < rows {
        let count = BATCH.min(rows - first);
        writer.write(&batch(first, count)?)?;
        first += count;
    }
    let groups = writer.close()?.num_row_groups();
    println!("{path}: {rows} rows in {groups} row groups");
    Ok(())
}
