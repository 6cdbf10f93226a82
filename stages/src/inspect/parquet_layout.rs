//! How a Parquet file is laid out: row groups, codecs, encodings, sizes, and what its footer says about the values.

use std::collections::BTreeSet;

use anyhow::Result;
use arrow::array::{Array, ArrayRef};
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::basic::SortOrder;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use serde::Serialize;

use super::statistics::ColumnAccumulator;
use super::value::CellValue;
use crate::artifact::catch_panics;

/// How a Parquet file is laid out, from its footer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParquetLayout {
    /// The program that wrote it, in its own words.
    pub created_by: Option<String>,
    /// Version of the format, 1 or 2.
    pub version: i32,
    /// In the order of the file.
    pub row_groups: Vec<RowGroup>,
    /// The leaves of the schema: a list or struct is stored as several columns or as one with another path.
    pub columns: Vec<StoredColumn>,
}

/// A horizontal slice of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowGroup {
    /// Rows in it.
    pub rows: u64,
    /// Bytes in the file.
    pub compressed_bytes: u64,
    /// Bytes before compression.
    pub uncompressed_bytes: u64,
}

/// One column as it is stored, over all row groups.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoredColumn {
    /// Path of the leaf, its parts joined by dots.
    pub path: String,
    /// Physical type.
    pub stored_as: String,
    /// Codecs in use, usually one.
    pub compression: BTreeSet<String>,
    /// Encodings in use.
    pub encodings: BTreeSet<String>,
    /// Bytes in the file.
    pub compressed_bytes: u64,
    /// Bytes before compression.
    pub uncompressed_bytes: u64,
    /// What the footer says about the values; absent for nested columns, and for types whose statistics are not understood.
    pub footer: Option<FooterStatistics>,
}

/// What a footer says about a column without anybody reading the column. Long texts may be cut by whoever wrote the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FooterStatistics {
    /// Missing values; absent when a row group does not say.
    pub nulls: Option<u64>,
    /// Smallest value, as far as the type has an order; `null` when a row group does not say, or there is none.
    pub min: CellValue,
    /// Largest value, likewise.
    pub max: CellValue,
}

/// The layout of the file that has this footer.
pub(super) fn layout(metadata: &ParquetMetaData, schema: &SchemaRef) -> ParquetLayout {
    let size = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
    let row_groups = metadata.row_groups().iter().map(|group| RowGroup {
        rows: size(group.num_rows()),
        compressed_bytes: size(group.compressed_size()),
        uncompressed_bytes: size(group.total_byte_size()),
    });
    let file = metadata.file_metadata();
    let mut columns = Vec::new();
    for (leaf, column) in file.schema_descr().columns().iter().enumerate() {
        let chunks = || metadata.row_groups().iter().map(|group| group.column(leaf));
        columns.push(StoredColumn {
            path: column.path().string(),
            stored_as: column.physical_type().to_string(),
            compression: chunks().map(|chunk| chunk.compression_codec().to_string()).collect(),
            encodings: chunks().flat_map(|chunk| chunk.encodings()).map(|encoding| encoding.to_string()).collect(),
            compressed_bytes: chunks().map(|chunk| size(chunk.compressed_size())).sum(),
            uncompressed_bytes: chunks().map(|chunk| size(chunk.uncompressed_size())).sum(),
            footer: footer(metadata, schema, leaf),
        });
    }
    ParquetLayout {
        created_by: file.created_by().map(ToOwned::to_owned),
        version: file.version(),
        row_groups: row_groups.collect(),
        columns,
    }
}

/// What the footer says about a leaf; `None` where it is nested, or its statistics are not understood.
pub(super) fn footer(metadata: &ParquetMetaData, schema: &SchemaRef, leaf: usize) -> Option<FooterStatistics> {
    footer_of(metadata, schema, leaf, metadata.row_groups())
}

/// What the footer says about a leaf in some of the row groups.
pub(super) fn footer_of(
    metadata: &ParquetMetaData,
    schema: &SchemaRef,
    leaf: usize,
    groups: &[RowGroupMetaData],
) -> Option<FooterStatistics> {
    catch_panics(|| read_footer(metadata, schema, leaf, groups)).ok().flatten()
}

fn read_footer(
    metadata: &ParquetMetaData,
    schema: &SchemaRef,
    leaf: usize,
    groups: &[RowGroupMetaData],
) -> Result<Option<FooterStatistics>> {
    let parquet = metadata.file_metadata().schema_descr();
    let field = schema.field(parquet.get_column_root_idx(leaf));
    if field.data_type().is_nested() {
        return Ok(None);
    }
    let read = StatisticsConverter::from_column_index(leaf, field, parquet)?.with_missing_null_counts_as_zero(false);
    let nulls = read.row_group_null_counts(groups)?;
    let all_missing =
        |group: usize| nulls.is_valid(group) && i64::try_from(nulls.value(group)) == Ok(groups[group].num_rows());
    let seen = |values: ArrayRef| -> Result<_> {
        // One group that says nothing may hold anything.
        if (0..groups.len()).any(|group| values.is_null(group) && !all_missing(group)) {
            return Ok(None);
        }
        let mut gauge = ColumnAccumulator::bounds(field.data_type());
        gauge.push(&values)?;
        Ok(Some(gauge.finish()))
    };
    let statistics = groups.iter().filter_map(|group| group.column(leaf).statistics());
    let are_old = statistics.into_iter().any(Statistics::is_min_max_deprecated);
    // Older writers compared the bytes of texts as signed numbers, so that their bounds of `é` and `a` are the wrong way round.
    let (min, max) = match are_old && parquet.column(leaf).sort_order() != SortOrder::SIGNED {
        true => (None, None),
        false => (seen(read.row_group_mins(groups)?)?, seen(read.row_group_maxes(groups)?)?),
    };
    Ok(Some(FooterStatistics {
        nulls: (nulls.null_count() == 0).then(|| nulls.values().iter().sum()),
        min: min.map_or(CellValue::Null, |seen| seen.min()),
        max: max.map_or(CellValue::Null, |seen| seen.max()),
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::file::metadata::{ColumnChunkMetaData, FileMetaData};
    use parquet::schema::parser::parse_message_type;
    use parquet::schema::types::SchemaDescriptor;

    use super::*;

    /// apache/arrow#34139: the bounds of files of Spark 1 and Hive are those of signed bytes, and no damage.
    #[test]
    fn bounds_of_texts_that_older_writers_compared_as_signed_are_not_believed() {
        let schema = parse_message_type("message m { required binary word (UTF8); required int32 number; }").unwrap();
        let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
        let bounds = |is_old: bool| {
            let words = Statistics::byte_array(Some("é".into()), Some("z".into()), None, Some(0), is_old);
            let numbers = Statistics::int32(Some(-1), Some(2), None, Some(0), is_old);
            let chunk = |leaf: usize, statistics: Statistics| {
                ColumnChunkMetaData::builder(schema.column(leaf))
                    .set_num_values(2)
                    .set_statistics(statistics)
                    .build()
                    .unwrap()
            };
            let chunks = vec![chunk(0, words), chunk(1, numbers)];
            let group = RowGroupMetaData::builder(Arc::clone(&schema)).set_num_rows(2).set_column_metadata(chunks);
            let file = FileMetaData::new(1, 2, None, None, Arc::clone(&schema), None);
            let metadata = ParquetMetaData::new(file, vec![group.build().unwrap()]);
            let fields = vec![Field::new("word", DataType::Utf8, false), Field::new("number", DataType::Int32, false)];
            let arrow = Arc::new(Schema::new(fields));
            let [words, numbers] = [0, 1].map(|leaf| footer(&metadata, &arrow, leaf).unwrap());
            (words.nulls, words.min, words.max, numbers.min, numbers.max)
        };
        let numbers = (CellValue::Whole(-1), CellValue::Whole(2));
        assert_eq!(bounds(true), (Some(0), CellValue::Null, CellValue::Null, numbers.0.clone(), numbers.1.clone()));
        assert_eq!(
            bounds(false),
            (Some(0), CellValue::Text("é".into()), CellValue::Text("z".into()), numbers.0, numbers.1)
        );
    }
}
