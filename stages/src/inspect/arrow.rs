//! Arrow IPC files (also known as Feather, version 2).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use anyhow::{Result, ensure};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::reader::FileReader;
use arrow::ipc::{Field, root_as_footer};

use super::batches::Batches;
use super::description::{ArrowLayout, Content, Description, Format};
use super::escape::{self, CELL};
use super::table_description::TableDescription;
use crate::artifact::{Unsupported, catch_panics, check_arrow_blocks, damaged};

/// First and last bytes of every Arrow file.
pub(super) const MAGIC: &[u8] = b"ARROW1";

/// An Arrow file whose footer was read.
pub(super) struct ArrowFile {
    file: File,
    schema: SchemaRef,
    bytes: u64,
    /// Rows of each batch.
    batches: Vec<u64>,
    /// What the footer says besides the schema.
    metadata: BTreeMap<String, String>,
}

impl ArrowFile {
    /// Opens a file that begins with [`MAGIC`].
    ///
    /// # Errors
    /// When the file is torn, or its footer or the frame of a batch is damaged.
    pub fn open(mut file: File, bytes: u64) -> Result<Self> {
        let footer = check_end(&mut file, bytes)?;
        let batches = check_arrow_blocks(&mut file, bytes, footer)
            .map_err(|error| damaged("its frame cannot be read", format!("{error:#}")))?;
        let again = file.try_clone()?;
        let reader = catch_panics(|| FileReader::try_new_buffered(again, None)).map_err(|error| {
            match unread_type(&mut file, footer) {
                Some(text) => Unsupported(text).into(),
                None => damaged("its Arrow footer cannot be read", error),
            }
        })?;
        let metadata = reader.custom_metadata().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Self { file, schema: reader.schema(), bytes, batches, metadata })
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn rows(&self) -> u64 {
        self.batches.iter().fold(0, |all, &rows| all.saturating_add(rows))
    }

    /// Rows of each batch.
    pub fn batch_rows(&self) -> &[u64] {
        &self.batches
    }

    /// The values of some columns, ascending.
    ///
    /// # Errors
    /// When the dictionaries cannot be read.
    pub fn batches(&self, columns: &[usize]) -> Result<Batches> {
        let again = self.file.try_clone()?;
        let reader = catch_panics(|| FileReader::try_new_buffered(again, Some(columns.to_vec())));
        Ok(Box::new(reader.map_err(|error| damaged("its Arrow dictionaries cannot be read", error))?) as Batches)
    }

    /// The whole description, around that of the table.
    pub fn describe(&self, name: String, table: TableDescription) -> Description {
        let of_schema = self.schema.metadata().iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let encoded = |field: &&arrow::datatypes::FieldRef| matches!(field.data_type(), DataType::Dictionary(..));
        Description {
            schema_version: super::SCHEMA_VERSION,
            file: name,
            format: Format::Arrow,
            bytes: self.bytes,
            metadata: self.metadata.clone().into_iter().chain(of_schema).collect(),
            content: Content::Arrow {
                table,
                layout: ArrowLayout {
                    batches: self.batches.len(),
                    dictionaries: self
                        .schema
                        .fields()
                        .iter()
                        .filter(encoded)
                        .map(|field| field.name().clone())
                        .collect(),
                },
            },
        }
    }
}

/// What to say of a file whose footer is whole, but has a column of integers that are wider than 64 bits, which polars writes.
fn unread_type(file: &mut File, footer: u64) -> Option<String> {
    let mut bytes = vec![0; usize::try_from(footer).ok()?];
    file.seek(SeekFrom::End(-10 - i64::try_from(footer).ok()?)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    let wide = catch_panics(|| {
        let footer = root_as_footer(&bytes).map_err(|error| error.to_string())?;
        let fields = footer.schema().and_then(|schema| schema.fields()).into_iter().flatten();
        let width = |field: Field<'_>| field.type_as_int().map(|int| int.bitWidth());
        let wide =
            fields.filter_map(|field| Some((field.name()?.to_owned(), width(field).filter(|width| *width > 64)?)));
        Ok::<_, String>(wide.collect::<Vec<_>>())
    });
    let (name, width) = wide.ok()?.into_iter().next()?;
    let name = escape::shown(&name, CELL);
    Some(format!(
        "its column `{name}` is of integers of {width} bits, which cannot be read here\nhelp: write it as integers of 64 bits, decimals or \
         texts"
    ))
}

/// Tells a file that was not written to its end from a damaged one, in words better than a parser has. Returns the
/// length of the footer.
fn check_end(file: &mut File, bytes: u64) -> Result<u64> {
    let help = "help: it was probably interrupted while it was written; make it again";
    // Magic and padding at the start, the footer's length and the magic at the end.
    let least = 18;
    ensure!(bytes >= least, "starts like an Arrow file, but has only {bytes} of at least {least} bytes\n{help}");
    let mut end = [0; 10];
    file.seek(SeekFrom::End(-10))?;
    file.read_exact(&mut end)?;
    let (length, magic) = end.split_at(4);
    ensure!(
        magic == MAGIC,
        "starts like an Arrow file, but the last 6 of its {bytes} bytes are `{}` instead of `ARROW1`: its footer is \
         missing\n{help}",
        escape::shown(&String::from_utf8_lossy(magic), 12)
    );
    let length = length.iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte));
    ensure!(
        length + least <= bytes,
        "its last bytes announce an Arrow footer of {length} bytes, but the whole file has {bytes}\n{help}"
    );
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use arrow::array::*;
    use arrow::datatypes::{Field, Int32Type, Schema};
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::{FileWriter, IpcWriteOptions};

    use super::super::testing::{describe, rendered};
    use super::super::{CellValue, Description};
    use super::*;

    fn write(path: &Path, batches: &[RecordBatch], compression: Option<CompressionType>) {
        let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
        let mut writer =
            FileWriter::try_new_with_options(File::create(path).unwrap(), &batches[0].schema(), options).unwrap();
        writer.write_metadata("made", "by\u{1b}]0;title\u{7} hand");
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
    }

    fn films(words: &[Option<&str>]) -> RecordBatch {
        let genres: DictionaryArray<Int32Type> = words.iter().copied().collect();
        let shown = (0..words.len()).map(|row| (row % 2 == 0).then(|| vec![Some(1), Some(2)]));
        let shown = ListArray::from_iter_primitive::<Int32Type, _, _>(shown);
        let schema = Schema::new(vec![
            Field::new("genre", genres.data_type().clone(), true),
            Field::new("shown", shown.data_type().clone(), true),
        ]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(genres), Arc::new(shown)]).unwrap()
    }

    /// As polars writes 128-bit integers: a footer of 64 bits in which the width was changed stands for one.
    #[test]
    fn integers_that_are_too_wide_are_named_and_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        write(&path, &[RecordBatch::try_from_iter([("n", numbers)]).unwrap()], None);
        let mut bytes = std::fs::read(&path).unwrap();
        let from = bytes.len() - 200;
        let at = from + bytes[from..].windows(4).position(|four| four == [64, 0, 0, 0]).unwrap();
        bytes[at] = 128;
        std::fs::write(&path, bytes).unwrap();
        let error = describe(&path, 1).unwrap_err();
        assert!(error.chain().any(|cause| cause.is::<Unsupported>()), "{error:#}");
        let text = format!("{error:#}");
        assert!(
            text.contains("its column `n` is of integers of 128 bits, which cannot be read here\nhelp: "),
            "{text}"
        );
    }

    fn described(batches: &[RecordBatch], compression: Option<CompressionType>) -> Description {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("films.arrow");
        write(&path, batches, compression);
        Description { file: "films.arrow".into(), bytes: 0, ..describe(&path, 9).unwrap() }
    }

    #[test]
    fn batches_dictionaries_and_lists() {
        // Slices, because the batches of an Arrow file share one dictionary.
        let all = films(&[Some("drama"), Some("crime"), Some("drama"), None]);
        let description = described(&[all.slice(0, 2), all.slice(2, 2)], None);
        let Content::Arrow { table, layout } = &description.content else { panic!("Arrow") };
        assert_eq!(layout, &ArrowLayout { batches: 2, dictionaries: vec!["genre".into()] });
        assert_eq!(table.rows, 4);
        assert_eq!(table.head.rows[1], [CellValue::Text("crime".into()), CellValue::Null]);
        let text = rendered(&description, 100);
        for line in [
            "4 rows in 2 batches, 2 columns, as dictionary: genre",
            " made   by\\u{1b}]0;title\\u{7} hand",
            " shown      2      2      2      2     2      2   █",
            " genre    crime   drama   drama × 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn compression_does_not_show() {
        let plain = described(&[films(&[Some("drama"), None])], None);
        for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
            assert_eq!(described(&[films(&[Some("drama"), None])], Some(codec)), plain);
        }
    }

    #[test]
    fn a_table_without_rows_or_columns_is_a_table() {
        let empty = films(&[None, None]).slice(0, 0);
        let Content::Arrow { table, .. } = described(&[empty], None).content else { panic!("Arrow") };
        assert_eq!((table.rows, table.columns.len(), table.head.rows.len()), (0, 2, 0));
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let nothing = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        let description = described(&[nothing], None);
        assert!(rendered(&description, 80).contains("3 rows in 1 batch, 0 columns"));
    }

    #[test]
    fn no_cut_of_the_file_passes_for_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, torn) = (folder.path().join("whole"), folder.path().join("torn"));
        write(&whole, &[films(&[Some("drama"), None])], None);
        let bytes = std::fs::read(&whole).unwrap();
        for end in (0..bytes.len()).step_by(7) {
            std::fs::write(&torn, &bytes[..end]).unwrap();
            let error = format!("{:#}", describe(&torn, 1).unwrap_err());
            assert!(error.contains("torn: ") && error.contains("\nhelp: "), "{end}: {error}");
        }
    }

    #[test]
    fn a_flipped_byte_is_an_error_or_another_table_but_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, damaged) = (folder.path().join("whole"), folder.path().join("damaged"));
        write(&whole, &[films(&[Some("drama"), None])], Some(CompressionType::LZ4_FRAME));
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
