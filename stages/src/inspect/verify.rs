//! Whether everything in a file can be read and is what the file says of itself. What is found goes into a list, and the
//! reading goes on: one damaged page does not hide the next.
//!
//! Of a Parquet file: the footer; where each column chunk lies; every page, decompressed; every value, decoded (which
//! checks lengths, dictionary places and UTF-8); the rows, missing values, smallest and largest values that the footer
//! announces. Of an Arrow file: every block and buffer; every batch, validated. Of safetensors: the header, and every byte.

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use parquet::column::page::{Page as StoredPage, PageReader};
use parquet::file::serialized_reader::SerializedPageReader;
use pipeline::UsageError;
use pipeline::inspect::{Request, Verdict};
use safetensors::Dtype;
use serde::Serialize;

use super::arrow::ArrowFile;
use super::description::Format;
use super::escape::{self, CELL, write_json};
use super::opened::{Opened, open};
use super::parquet::ParquetFile;
use super::parquet_layout::footer_of;
use super::safetensors::{CHUNK, TensorsFile};
use super::source::Table;
use super::statistics::ColumnAccumulator;
use super::table;
use super::text_output::{TextOutput, counted, output_style};
use super::value::CellValue;
use crate::artifact::{Unsupported, catch_panics};

/// Faults that are listed; the rest is counted.
const LISTED: usize = 100;

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Verification {
    file: String,
    /// Absent where not even that can be told.
    format: Option<Format>,
    bytes: u64,
    whole: bool,
    /// What was read, and how much of it.
    checked: Vec<Checked>,
    faults: Vec<Fault>,
    faults_not_listed: u64,
}

#[derive(Debug, Serialize)]
struct Checked {
    what: &'static str,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Fault {
    place: String,
    fault: String,
}

/// Checks the file at `path` and writes what was found.
///
/// # Errors
/// [`Unsupported`] where it is of a kind that is not read here; else when there is no file to check, or the writer gives up.
pub(super) fn verify(path: &Path, name: &str, request: &Request, out: &mut dyn Write) -> Result<Verdict> {
    let mut found = Verification { file: name.to_owned(), ..Verification::default() };
    if let Ok(metadata) = std::fs::metadata(path) {
        found.bytes = metadata.len();
    }
    match open(path) {
        Ok(opened) => {
            found.format = Some(opened.format());
            match &opened {
                Opened::Table(source) => match &source.table {
                    Table::Parquet(file) => found.parquet(file, request)?,
                    Table::Arrow(file) => found.arrow(file, request)?,
                    Table::Query(_) => {
                        let help = "Parquet, Arrow files and safetensors have a frame that can be checked";
                        return Err(UsageError(format!("has no frame to check it by\nhelp: {help}")).into());
                    }
                },
                Opened::Tensors(file) => found.tensors(file)?,
                Opened::Page(file, _) => found.page(file)?,
            }
        }
        // Nothing was read: there is no file, or it may not be read, or it is of a kind that nobody here can judge.
        Err(error) if error.chain().any(|cause| cause.is::<std::io::Error>() || cause.is::<Unsupported>()) => {
            return Err(error);
        }
        Err(error) => found.fault("file", &format!("{error:#}")),
    }
    found.whole = found.faults.is_empty();
    match output_style(request.format)? {
        Some(output_style) => {
            let mut page = TextOutput::new(output_style);
            found.tell(&mut page);
            out.write_all(page.text.as_bytes())?;
        }
        None => write_json(&found, out)?,
    }
    Ok(if found.whole { Verdict::Whole } else { Verdict::Damaged })
}

impl Verification {
    fn fault(&mut self, place: &str, fault: &str) {
        if self.faults.len() < LISTED {
            let place = escape::shown(place, usize::MAX);
            self.faults.push(Fault { place, fault: fault.lines().next().unwrap_or_default().to_owned() });
        } else {
            self.faults_not_listed += 1;
        }
    }

    fn count(&mut self, what: &'static str, count: u64) {
        match self.checked.iter_mut().find(|checked| checked.what == what) {
            Some(checked) => checked.count += count,
            None => self.checked.push(Checked { what, count }),
        }
    }

    fn parquet(&mut self, file: &ParquetFile, request: &Request) -> Result<()> {
        let metadata = file.metadata();
        let (groups, leaves) = (metadata.row_groups(), metadata.file_metadata().schema_descr().num_columns());
        let announced: i64 = groups.iter().map(|group| group.num_rows()).fold(0, i64::saturating_add);
        if u64::try_from(announced) != Ok(file.rows()) {
            self.fault("footer", &format!("{} rows announced, {announced} in its row groups", file.rows()));
        }
        let bar = request.progress.bar("column chunks", Some((groups.len() * leaves) as u64), "chunks");
        for (index, group) in groups.iter().enumerate() {
            self.count("row group", 1);
            self.count("row", u64::try_from(group.num_rows()).unwrap_or(0));
            for leaf in 0..leaves {
                let column = metadata.file_metadata().schema_descr().column(leaf);
                let place = format!("row group {index}, column {}", escape::shown(&column.path().string(), CELL));
                self.count("column chunk", 1);
                self.pages(file, index, leaf, &place);
                let root = metadata.file_metadata().schema_descr().get_column_root_idx(leaf);
                // A nested column is decoded as a whole, with its first leaf.
                let first = leaf == 0 || metadata.file_metadata().schema_descr().get_column_root_idx(leaf - 1) != root;
                if first {
                    self.values(file, index, leaf, root, &place);
                }
                bar.inc(1);
            }
        }
        Ok(())
    }

    /// Every page of a column chunk, where it should be and decompressed.
    fn pages(&mut self, file: &ParquetFile, group: usize, leaf: usize, place: &str) {
        let metadata = file.metadata().row_group(group);
        let chunk = metadata.column(leaf);
        // Where nothing was stored there is nothing that could lie somewhere; some writers then say that it begins at 0.
        if chunk.num_values() == 0 && chunk.compressed_size() == 0 {
            return;
        }
        let range = catch_panics(|| Ok::<_, String>(chunk.byte_range()));
        let inside = range.as_ref().is_ok_and(|(start, length)| {
            *start >= 4 && start.checked_add(*length).is_some_and(|end| end <= file.bytes())
        });
        if !inside {
            return self.fault(place, "it is said to lie outside the file");
        }
        let Ok(again) = file.file().try_clone() else { return self.fault(place, "the file cannot be opened again") };
        let rows = usize::try_from(metadata.num_rows()).unwrap_or(0);
        let mut page = 0;
        let mut values = 0_u64;
        let reader = catch_panics(|| SerializedPageReader::new(Arc::new(again), chunk, rows, None));
        let mut reader = match reader {
            Ok(reader) => reader,
            Err(error) => return self.fault(place, &error),
        };
        loop {
            match catch_panics(|| reader.get_next_page()) {
                Ok(Some(found)) => {
                    page += 1;
                    if !matches!(found, StoredPage::DictionaryPage { .. }) {
                        values += u64::from(found.num_values());
                    }
                }
                Ok(None) => break,
                Err(error) => return self.fault(&format!("{place}, page {page}"), &error),
            }
        }
        self.count("page", page);
        if u64::try_from(chunk.num_values()) != Ok(values) {
            self.fault(place, &format!("{} values announced, {values} in its pages", chunk.num_values()));
        }
    }

    /// Every value of a column in a row group, and whether the footer tells the truth about them.
    fn values(&mut self, file: &ParquetFile, group: usize, leaf: usize, root: usize, place: &str) {
        let schema = file.schema();
        let mut gauge = ColumnAccumulator::bounds(schema.field(root).data_type());
        let mut rows = 0;
        let mut read = || -> Result<()> {
            let mut batches = file.batches_of(root, group)?;
            let next = |batches: &mut super::batches::Batches| catch_panics(|| batches.next().transpose());
            while let Some(batch) = next(&mut batches).map_err(anyhow::Error::msg)? {
                rows += batch.num_rows() as u64;
                catch_panics(|| gauge.push(batch.column(0))).map_err(anyhow::Error::msg)?;
            }
            Ok(())
        };
        if let Err(error) = read() {
            return self.fault(&format!("{place}, after row {rows} of the group"), &format!("{error:#}"));
        }
        let metadata = &file.metadata().row_groups()[group];
        if u64::try_from(metadata.num_rows()) != Ok(rows) {
            self.fault(place, &format!("{} rows announced, {rows} read", metadata.num_rows()));
        }
        let Some(footer) = footer_of(file.metadata(), schema, leaf, std::slice::from_ref(metadata)) else { return };
        let seen = gauge.finish();
        if let Some(nulls) = footer.nulls.filter(|&nulls| nulls != seen.nulls) {
            self.fault(place, &format!("the footer announces {nulls} missing values, there are {}", seen.nulls));
        }
        // A bound may be wider than the values: long texts are cut in it.
        for (bound, value, wrong) in [(&footer.min, seen.min(), Above), (&footer.max, seen.max(), Below)] {
            if lies(bound, &value) == Some(wrong) {
                let (name, bound, value) = (wrong.name(), table::bound(bound), table::bound(&value));
                self.fault(place, &format!("the footer announces {bound} as {name}, but a value is {value}"));
            }
        }
    }

    fn arrow(&mut self, file: &ArrowFile, request: &Request) -> Result<()> {
        let all: Vec<usize> = (0..file.schema().fields().len()).collect();
        let announced = file.batch_rows();
        let bar = request.progress.bar("batches", Some(announced.len() as u64), "batches");
        let mut batches = match file.batches(&all) {
            Ok(batches) => batches,
            Err(error) => {
                self.fault("dictionaries", &format!("{error:#}"));
                return Ok(());
            }
        };
        for (index, rows) in announced.iter().enumerate() {
            let place = format!("batch {index}");
            let read: Result<Option<RecordBatch>, String> = catch_panics(|| batches.next().transpose());
            match read {
                Ok(Some(batch)) if batch.num_rows() as u64 == *rows => {
                    self.count("batch", 1);
                    self.count("row", *rows);
                }
                Ok(Some(batch)) => self.fault(&place, &format!("{rows} rows announced, {} read", batch.num_rows())),
                Ok(None) => self.fault(&place, "it is missing"),
                Err(error) => self.fault(&place, &error),
            }
            bar.inc(1);
        }
        Ok(())
    }

    fn tensors(&mut self, file: &TensorsFile) -> Result<()> {
        let mut chunk = Vec::with_capacity(CHUNK);
        for (name, info) in file.tensors() {
            self.count("tensor", 1);
            let mut data = file.data(info)?;
            loop {
                chunk.clear();
                if data.by_ref().take(CHUNK as u64).read_to_end(&mut chunk)? == 0 {
                    break;
                }
                self.count("byte", chunk.len() as u64);
                if info.dtype == Dtype::BOOL && chunk.iter().any(|&flag| flag > 1) {
                    self.fault(&format!("tensor {}", escape::shown(&name, CELL)), "a flag is neither 0 nor 1");
                    break;
                }
            }
        }
        Ok(())
    }

    fn page(&mut self, mut file: &std::fs::File) -> Result<()> {
        let mut text = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.read_to_end(&mut text)?;
        self.count("byte", text.len() as u64);
        if let Err(error) = std::str::from_utf8(&text) {
            self.fault(&format!("byte {}", error.valid_up_to()), "it is not UTF-8");
        }
        Ok(())
    }

    fn tell(&self, page: &mut TextOutput) {
        match self.format {
            Some(format) => page.title(&table::first_line(&self.file, format, self.bytes)),
            None => page.title(&escape::shown(&self.file, usize::MAX)),
        }
        let plural = |checked: &Checked| match checked.what {
            "batch" if checked.count != 1 => format!("{} batches", super::text_output::grouped(checked.count)),
            what => counted(checked.count, what),
        };
        let checked: Vec<_> = self.checked.iter().map(plural).collect();
        if !checked.is_empty() {
            page.line(&format!("checked: {}", checked.join(", ")));
        }
        if self.whole {
            page.line("whole: every part can be read");
            return;
        }
        let rows: Vec<_> = self.faults.iter().map(|fault| vec![fault.place.clone(), fault.fault.clone()]).collect();
        page.line(&format!("damaged: {}", counted(rows.len() as u64 + self.faults_not_listed, "fault")));
        page.table("Faults", &["place", "fault"], &[], &rows);
        if self.faults_not_listed > 0 {
            page.line(&format!(" and {} more", self.faults_not_listed));
        }
    }
}

use Side::{Above, Below};

/// Where a bound lies, seen from a value.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Above,
    Below,
}

impl Side {
    /// The bound that must not lie there.
    fn name(self) -> &'static str {
        if self == Above { "the smallest value" } else { "the largest value" }
    }
}

/// `None` where they are equal or cannot be compared.
fn lies(bound: &CellValue, value: &CellValue) -> Option<Side> {
    let order = match (bound, value) {
        (CellValue::Whole(bound), CellValue::Whole(value)) => bound.cmp(value),
        (CellValue::Real(bound), CellValue::Real(value)) => bound.partial_cmp(value)?,
        (CellValue::Flag(bound), CellValue::Flag(value)) => bound.cmp(value),
        // What was cut for people no longer sorts.
        (CellValue::Text(bound), CellValue::Text(value)) if !bound.ends_with('…') && !value.ends_with('…') => {
            bound.cmp(value)
        }
        _ => return None,
    };
    match order {
        std::cmp::Ordering::Greater => Some(Above),
        std::cmp::Ordering::Less => Some(Below),
        std::cmp::Ordering::Equal => None,
    }
}

#[cfg(test)]
mod tests {
    use ::parquet::basic::Compression;
    use arrow::array::*;
    use pipeline::inspect::{Format as Style, Show};
    use serde_json::Value;

    use super::super::inspect;
    use super::super::testing::{parquet, without_pages};
    use super::*;

    fn verified(path: &Path) -> (Verdict, Value) {
        let mut out = Vec::new();
        let request = Request { show: Show::Verify, format: Style::Json, ..Request::default() };
        let verdict = inspect(path, &request, &mut out).unwrap_or_else(|error| panic!("{error:#}"));
        (verdict, serde_json::from_slice(&out).unwrap())
    }

    fn words() -> RecordBatch {
        let lists = ListBuilder::new(Int32Builder::new());
        let mut lists = lists;
        (0..3000).for_each(|row| {
            lists.values().append_value(row);
            lists.append(row % 3 > 0);
        });
        RecordBatch::try_from_iter([
            ("word", Arc::new((0..3000).map(|row| Some(format!("word {row} ü"))).collect::<StringArray>()) as ArrayRef),
            ("list", Arc::new(lists.finish()) as ArrayRef),
        ])
        .unwrap()
    }

    #[test]
    fn a_whole_file_is_called_whole_with_what_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let (verdict, found) = verified(&parquet(folder.path(), &words()));
        assert_eq!(verdict, Verdict::Whole, "{found}");
        assert_eq!((&found["whole"], found["faults"].as_array().unwrap().len()), (&true.into(), 0));
        let count = |what: &str| {
            found["checked"].as_array().unwrap().iter().find(|row| row["what"] == what).unwrap()["count"].clone()
        };
        assert_eq!((count("row group"), count("column chunk"), count("row")), (1.into(), 2.into(), 3000.into()));
        assert!(count("page").as_u64().unwrap() >= 2);
    }

    #[test]
    fn text_that_is_not_utf8_is_found_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = parquet(folder.path(), &words());
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(2).position(|two| two == "ü".as_bytes()).unwrap();
        bytes[at] = 0xff;
        std::fs::write(&path, bytes).unwrap();
        let (verdict, found) = verified(&path);
        assert_eq!(verdict, Verdict::Damaged);
        let fault = &found["faults"][0];
        assert!(fault["place"].as_str().unwrap().starts_with("row group 0, column word"), "{found}");
        assert!(fault["fault"].as_str().unwrap().contains("UTF"), "{found}");
        assert_eq!(found["faults"].as_array().unwrap().len(), 1, "the other column is still read: {found}");
    }

    #[test]
    fn a_torn_file_is_a_finding_and_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = parquet(folder.path(), &words());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let (verdict, found) = verified(&path);
        assert_eq!((verdict, &found["format"]), (Verdict::Damaged, &Value::Null));
        assert!(found["faults"][0]["fault"].as_str().unwrap().contains("its footer is missing"), "{found}");
        let request = Request { show: Show::Verify, ..Request::default() };
        assert!(inspect(&folder.path().join("absent"), &request, &mut Vec::new()).is_err());
    }

    /// pyarrow writes an empty column of flags so.
    #[test]
    fn a_column_without_a_page_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (verdict, found) = verified(&without_pages(folder.path(), Compression::UNCOMPRESSED));
        assert_eq!(verdict, Verdict::Whole, "{found}");
    }

    #[test]
    fn what_cannot_be_read_here_is_not_called_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| {
            let request = Request { show: Show::Verify, ..Request::default() };
            let error = inspect(path, &request, &mut Vec::new()).unwrap_err();
            assert!(error.chain().any(|cause| cause.is::<pipeline::UsageError>()), "{error:#}");
            format!("{error:#}")
        };
        let found = refused(&without_pages(folder.path(), Compression::BROTLI(Default::default())));
        assert!(
            found.contains("its column `flag` is compressed with BROTLI, which cannot be read here\nhelp: "),
            "{found}"
        );
        let other = folder.path().join("other");
        for (bytes, words) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"[..], "is a Git LFS pointer"),
            (b"PARE\0\0\0\0PARE", "encrypted"),
            (b"u,i\n1,2\n", "is text"),
        ] {
            std::fs::write(&other, bytes).unwrap();
            let found = refused(&other);
            assert!(found.contains(words) && found.contains("\nhelp: "), "{found}");
        }
    }

    #[test]
    fn bounds_may_be_wide_but_not_wrong() {
        assert!(lies(&CellValue::Whole(3), &CellValue::Whole(2)) == Some(Above));
        assert!(lies(&CellValue::Text("a".into()), &CellValue::Text("ab".into())) == Some(Below));
        assert!(lies(&CellValue::Text("a…".into()), &CellValue::Text("A".into())).is_none());
        assert!(
            lies(&CellValue::Null, &CellValue::Whole(2)).is_none()
                && lies(&CellValue::Real(1.0), &CellValue::Real(1.0)).is_none()
        );
    }
}
