//! Parquet files: the table, and how it is laid out.

use std::fs::File;

use anyhow::Result;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ParquetMetaData;

use super::batches::Batches;
use super::description::{Content, Description, Format};
use super::escape::{self, CELL};
use super::parquet_layout::{FooterStatistics, footer, layout};
use super::table_description::TableDescription;
use crate::artifact::{Unsupported, catch_panics, codec_not_read, damaged, open_parquet};

/// Rows decoded at a time.
const BATCH: usize = 8192;

/// A Parquet file whose footer was read.
pub(super) struct ParquetFile {
    file: File,
    metadata: ArrowReaderMetadata,
    bytes: u64,
}

impl ParquetFile {
    /// Opens a file that begins as Parquet does.
    ///
    /// # Errors
    /// [`Unsupported`] where it is encrypted, or packed with what cannot be unpacked here; else when it is torn, or its footer is
    /// damaged.
    pub fn open(mut file: File, bytes: u64) -> Result<Self> {
        let metadata = open_parquet(&mut file, bytes)?;
        check_codecs(metadata.metadata())?;
        Ok(Self { file, metadata, bytes })
    }

    pub fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// The footer.
    pub fn metadata(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    /// The file, from wherever it was read last.
    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn rows(&self) -> u64 {
        u64::try_from(self.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Bytes of all values before compression, as the footer tells.
    pub fn unpacked_bytes(&self) -> u64 {
        let chunks = self.metadata().row_groups().iter().flat_map(|group| group.columns());
        chunks.map(|chunk| u64::try_from(chunk.uncompressed_size()).unwrap_or(0)).fold(0, u64::saturating_add)
    }

    /// What the footer says about a column of the schema; `None` for nested ones.
    pub fn footer_of(&self, column: usize) -> Option<FooterStatistics> {
        let parquet = self.metadata().file_metadata().schema_descr();
        let leaf = (0..parquet.num_columns()).find(|&leaf| parquet.get_column_root_idx(leaf) == column)?;
        footer(self.metadata(), self.schema(), leaf)
    }

    /// The values of some columns, ascending.
    ///
    /// # Errors
    /// When the column chunks do not lie where they should.
    pub fn batches(&self, columns: &[usize]) -> Result<Batches> {
        self.some(columns, None)
    }

    /// As [`ParquetFile::batches`], of one row group.
    pub fn batches_of(&self, column: usize, group: usize) -> Result<Batches> {
        self.some(&[column], Some(group))
    }

    fn some(&self, columns: &[usize], group: Option<usize>) -> Result<Batches> {
        let roots = ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.try_clone()?, self.metadata.clone());
        let builder = match group {
            Some(group) => builder.with_row_groups(vec![group]),
            None => builder,
        };
        let reader = catch_panics(|| builder.with_projection(roots).with_batch_size(BATCH).build());
        Ok(Box::new(reader.map_err(|error| damaged("its column chunks cannot be read", error))?) as Batches)
    }

    /// The whole description, around that of the table.
    pub fn describe(&self, name: String, table: TableDescription) -> Description {
        let metadata = self.schema().metadata().iter();
        Description {
            schema_version: super::SCHEMA_VERSION,
            file: name,
            format: Format::Parquet,
            bytes: self.bytes,
            metadata: metadata.map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            content: Content::Parquet { table, layout: layout(self.metadata(), self.schema()) },
        }
    }
}

/// Refuses what this program is built without before it is taken for damage.
fn check_codecs(metadata: &ParquetMetaData) -> Result<()> {
    let parquet = metadata.file_metadata().schema_descr();
    for leaf in 0..parquet.num_columns() {
        if let Some(codec) = codec_not_read(metadata, leaf) {
            let column = escape::shown(&parquet.column(leaf).path().string(), CELL);
            let help = "help: write it again with ZSTD";
            let text = format!("its column `{column}` is compressed with {codec}, which cannot be read here\n{help}");
            return Err(Unsupported(text).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Float32Array, Float64Array, RecordBatch, StringArray, UInt32Array,
    };
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::Compression;
    use parquet::file::properties::WriterProperties;
    use serde_json::{Value, json};

    use super::super::testing::{describe, rendered};
    use super::*;

    fn ratings() -> RecordBatch {
        let fields = vec![
            Field::new("user", DataType::UInt32, false),
            Field::new("rating", DataType::Float32, true),
            Field::new("title", DataType::Utf8, true),
            Field::new("seen", DataType::Boolean, false),
            Field::new("day", DataType::Date32, false),
            Field::new("note", DataType::Utf8, true),
        ];
        let metadata = std::collections::HashMap::from([("kind".to_owned(), "interactions".to_owned())]);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(vec![1, 1, 2, 4])),
            Arc::new(Float32Array::from(vec![Some(0.1), None, Some(4.0), Some(f32::NAN)])),
            Arc::new(StringArray::from(vec![Some("Heat"), Some("Heat"), Some("Clear\u{1b}[2J\n"), None])),
            Arc::new(BooleanArray::from(vec![true, false, true, true])),
            Arc::new(Date32Array::from(vec![0, 1, 1, 2])),
            Arc::new(StringArray::new_null(4)),
        ];
        RecordBatch::try_new(Arc::new(Schema::new(fields).with_metadata(metadata)), columns).unwrap()
    }

    fn write(path: &Path, batch: &RecordBatch, compression: Compression) {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_created_by("the test".into())
            .set_max_row_group_row_count(Some(3))
            .build();
        let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
    }

    fn described(batch: &RecordBatch) -> Description {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ratings.parquet");
        write(&path, batch, Compression::SNAPPY);
        let description = describe(&path, 3).unwrap();
        Description { file: "ratings.parquet".into(), bytes: 4321, ..description }
    }

    #[test]
    fn the_text_is_this() {
        let text = rendered(&described(&ratings()), 100);
        let wanted = "\
ratings.parquet: Parquet, 4,321 bytes
4 rows in 2 row groups of at most 3, 6 columns, written by the test

Metadata
 key    value
─────────────────────
 kind   interactions

Columns
 column   type      nullable   nulls   distinct
────────────────────────────────────────────────
 user     UInt32    no             0          3
 rating   Float32   yes            1          3
 title    Utf8      yes            1          2
 seen     Boolean   no             0          2
 day      Date32    no             0          3
 note     Utf8      yes            4          0

Numbers
 column   min    25 %   50 %    75 %   max   mean   histogram
─────────────────────────────────────────────────────────────────────
 user       1       1    1.5     2.5     4      2   █▄ ▄
 rating   0.1   1.075   2.05   3.025     4   2.05   █              █
 rating: 1 NaN and 0 infinite, left out above

Moments
 column          min         25 %         50 %         75 %          max         mean   histogram
──────────────────────────────────────────────────────────────────────────────────────────────────
 day      1970-01-01   1970-01-02   1970-01-02   1970-01-02   1970-01-03   1970-01-02   ▄█▄

Texts and flags
 column   min                max    most frequent
────────────────────────────────────────────────────────
 title    Clear\\u{1b}[2J\\n   Heat   Heat × 2
 seen     false              true   true × 3, false × 1
 note     –                  –      –

Storage
 column   stored as    compression   encodings                    bytes   uncompressed   ratio
───────────────────────────────────────────────────────────────────────────────────────────────
 user     INT32        SNAPPY        PLAIN, RLE, RLE_DICTIONARY      87             79    0.91
 rating   FLOAT        SNAPPY        PLAIN, RLE, RLE_DICTIONARY      99             91    0.92
 title    BYTE_ARRAY   SNAPPY        PLAIN, RLE, RLE_DICTIONARY     107            100    0.93
 seen     BOOLEAN      SNAPPY        PLAIN, RLE                      40             36    0.90
 day      INT32        SNAPPY        PLAIN, RLE, RLE_DICTIONARY      87             79    0.91
 note     BYTE_ARRAY   SNAPPY        PLAIN, RLE, RLE_DICTIONARY      82             76    0.93

First 3 of 4 rows
     user   rating   title              seen    day          note
──────────────────────────────────────────────────────────────────
 0      1      0.1   Heat               true    1970-01-01   null
 1      1     null   Heat               false   1970-01-02   null
 2      2      4.0   Clear\\u{1b}[2J\\n   true    1970-01-02   null
";
        assert_eq!(text, wanted, "\n{text}");
    }

    #[test]
    fn the_json_has_everything_and_no_control_character() {
        let text = escape::json(&serde_json::to_string_pretty(&described(&ratings())).unwrap());
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
        let json: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(json["metadata"], json!({ "kind": "interactions" }));
        assert_eq!(json["table"]["rows"], 4);
        let rating = &json["table"]["columns"][1];
        assert_eq!((&rating["type"], &rating["nullable"]), (&json!("Float32"), &json!(true)));
        let statistics = &rating["statistics"];
        assert_eq!((&statistics["nulls"], &statistics["distinct"]), (&json!(1), &json!({ "count": 3, "exact": true })));
        assert_eq!((&statistics["numbers"]["nan"], &statistics["numbers"]["max"]), (&json!(1), &json!(4.0)));
        let title = &json["table"]["columns"][2]["statistics"]["texts"];
        assert_eq!(title["top"][0], json!({ "value": "Heat", "count": 2 }));
        assert_eq!(json["table"]["columns"][3]["statistics"]["flags"], json!({ "true": 3, "false": 1 }));
        assert_eq!(json["table"]["columns"][5]["statistics"]["texts"]["min"], Value::Null);
        assert_eq!(json["table"]["head"]["rows"][2], json!([2, 4.0, "Clear\u{1b}[2J\n", true, "1970-01-02", null]));
        let stored = &json["layout"];
        assert_eq!((&stored["row_groups"][0]["rows"], &stored["row_groups"][1]["rows"]), (&json!(3), &json!(1)));
        assert_eq!(stored["columns"][0]["footer"], json!({ "nulls": 0, "min": 1, "max": 4 }));
        assert_eq!(stored["columns"][0]["compression"], json!(["SNAPPY"]));
        assert!(stored["columns"][0]["compressed_bytes"].as_u64().unwrap() > 0);
    }

    #[test]
    fn a_number_json_cannot_say_is_flagged_in_the_first_rows() {
        let nan: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::NAN]));
        let json = serde_json::to_value(described(&RecordBatch::try_from_iter([("x", nan)]).unwrap())).unwrap();
        let head = &json["table"]["head"];
        assert_eq!(head["rows"], json!([[1.0], [null]]));
        assert_eq!(head["non_finite"], json!([{ "row": 1, "column": 0, "value": "NaN" }]));
    }

    #[test]
    fn no_rows_are_no_error() {
        let description = described(&ratings().slice(0, 0));
        let text = rendered(&description, 100);
        assert!(text.contains("0 rows in 0 row groups, 6 columns"), "{text}");
        let json = serde_json::to_value(&description).unwrap();
        assert_eq!(json["table"]["columns"][0]["statistics"]["numbers"]["min"], Value::Null);
        assert_eq!(json["table"]["head"]["rows"], json!([]));
    }

    #[test]
    fn the_codecs_of_other_writers_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let codecs = [Compression::UNCOMPRESSED, Compression::GZIP(Default::default()), Compression::LZ4_RAW];
        for codec in codecs.into_iter().chain([Compression::ZSTD(Default::default())]) {
            write(&path, &ratings(), codec);
            let Content::Parquet { table, .. } = describe(&path, 1).unwrap().content else { panic!("Parquet") };
            assert_eq!(table.rows, 4, "{codec:?}");
        }
    }

    #[test]
    fn no_cut_of_the_file_passes_for_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, torn) = (folder.path().join("whole"), folder.path().join("torn"));
        write(&whole, &ratings(), Compression::SNAPPY);
        let bytes = std::fs::read(&whole).unwrap();
        for end in (0..bytes.len()).step_by(11) {
            std::fs::write(&torn, &bytes[..end]).unwrap();
            let error = format!("{:#}", describe(&torn, 1).unwrap_err());
            assert!(error.contains("torn: ") && error.contains("\nhelp: "), "{end}: {error}");
        }
    }

    #[test]
    fn a_flipped_byte_is_an_error_or_another_table_but_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, damaged) = (folder.path().join("whole"), folder.path().join("damaged"));
        write(&whole, &ratings(), Compression::SNAPPY);
        let bytes = std::fs::read(&whole).unwrap();
        let mut refused = 0;
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x80;
            std::fs::write(&damaged, &bytes).unwrap();
            if let Err(error) = describe(&damaged, 2) {
                assert!(format!("{error:#}").contains("damaged: "), "{at}: {error:#}");
                refused += 1;
            }
        }
        assert!(refused > bytes.len() / 10, "{refused} of {}", bytes.len());
    }
}
