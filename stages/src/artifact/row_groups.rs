//! A long table into Parquet, row group by row group: encoded on all threads, appended in order, never copied as a whole.
//!
//! The bytes are those that `frame::write_parquet` writes of the whole table.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::file::properties::DEFAULT_MAX_ROW_GROUP_ROW_COUNT as ROWS;
use rayon::prelude::*;

use super::frame;

/// Writes `rows` rows, asking for those of each range once.
pub(super) fn write(
    path: &Path,
    rows: usize,
    batch: impl Fn(Range<usize>) -> Result<RecordBatch> + Sync,
) -> Result<()> {
    let file = File::create_new(path).with_context(|| format!("cannot create {}", path.display()))?;
    let writer = ArrowWriter::try_new(file, batch(0..0)?.schema(), Some(frame::properties()?))?;
    let (mut file, factory) = writer.into_serialized_writer()?;
    let starts: Vec<usize> = (0..rows).step_by(ROWS).collect();
    // So many at once as there are threads: what is encoded waits in memory.
    for wave in starts.chunks(rayon::current_num_threads()) {
        let encode = |&start: &usize| encode(&factory, start / ROWS, &batch(start..rows.min(start + ROWS))?);
        let encoded: Vec<Vec<ArrowColumnChunk>> = wave.par_iter().map(encode).collect::<Result<_>>()?;
        for chunks in encoded {
            let mut group = file.next_row_group()?;
            for chunk in chunks {
                chunk.append_to_row_group(&mut group)?;
            }
            group.close()?;
        }
    }
    file.close()?;
    Ok(())
}

/// The columns of one row group.
fn encode(factory: &ArrowRowGroupWriterFactory, group: usize, batch: &RecordBatch) -> Result<Vec<ArrowColumnChunk>> {
    let schema = batch.schema();
    let writers = factory.create_column_writers(group)?;
    let columns: Vec<_> = writers.into_iter().zip(schema.fields()).zip(batch.columns()).collect();
    let encoded = columns.into_par_iter().map(|((mut writer, field), column)| {
        for leaf in compute_leaves(field, column)? {
            writer.write(&leaf)?;
        }
        Ok(writer.close()?)
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, UInt32Array};

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_table_written_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let batch = |range: Range<usize>| {
            let id =
                UInt32Array::from_iter_values(range.clone().map(|row| (row as u32).wrapping_mul(2_654_435_761) >> 12));
            let rating = Float32Array::from_iter_values(range.map(|row| (row % 10) as f32));
            frame::batch("rows", 1, vec![("id", Arc::new(id)), ("rating", Arc::new(rating))])
        };
        for rows in [0, 3, ROWS, ROWS + 7, 2 * ROWS + 1] {
            let [at_once, in_groups] = ["once", "groups"].map(|name| folder.path().join(format!("{name}{rows}")));
            frame::write_parquet(&at_once, &batch(0..rows).unwrap()).unwrap();
            write(&in_groups, rows, batch).unwrap();
            assert!(std::fs::read(&at_once).unwrap() == std::fs::read(&in_groups).unwrap(), "{rows} rows");
        }
    }
}
