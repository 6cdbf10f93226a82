//! Looks into a file: what is behind `apprentice inspect PATH`.
//!
//! Any Parquet, Arrow IPC or safetensors file, told apart by its first bytes: the objects of the store have no extension.
//! Of an HTML page only the title is told, because a browser shows the rest. Tables in text (.csv, .tsv, .ndjson), Arrow streams, and
//! many files at once are read by polars, which also answers `--sql` and `--filter` ([`query`]).
//! Tables are streamed batch by batch, tensors chunk by chunk, so the size of the file does not matter; where reading all
//! of it would take patience, only its frame is told unless somebody asks for more. The description is a value
//! ([`Description`]); as JSON it is all there, as text it is arranged for a person. Nothing read from a file reaches the
//! terminal unescaped.
//!
//! It knows nothing of stages, keys or provenance: the engine adds what it knows about an object.

mod arrow;
mod batches;
mod describe;
mod description;
mod diff;
mod diff_rows;
mod diff_tensors;
mod episode;
#[cfg(test)]
mod episode_tests;
mod escape;
mod html;
mod numeric_summary;
mod opened;
mod parquet;
mod parquet_layout;
mod query;
mod revised;
mod role_calls;
mod rows;
mod safetensors;
mod selection;
mod source;
mod statistics;
mod table;
mod table_description;
#[cfg(test)]
mod testing;
mod text_output;
mod value;
mod value_counts;
mod verify;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use pipeline::UsageError;
use pipeline::inspect::{Request, Show, Verdict};

use crate::artifact::{Unsupported, damaged};
use description::SCHEMA_VERSION;
pub use description::{ArrowLayout, Content, Description, Format, TensorDescription};
use escape::write_json;
pub use numeric_summary::{Histogram, NumberSummary, Quantiles};
use opened::{Opened, computed, open};
pub use parquet_layout::{FooterStatistics, ParquetLayout, RowGroup, StoredColumn};
use selection::Selection;
use source::Table;
pub use statistics::{ColumnStatistics, FlagSummary, Values};
pub use table_description::{ColumnDescription, Head, NonFinite, TableDescription};
use text_output::output_style;
pub use value::CellValue;
pub use value_counts::{Distinct, Frequent, TextSummary};

/// Looks into the file at `path` and writes what is asked for; ends in a newline. See [`pipeline::inspect::Inspect`].
///
/// # Errors
/// [`UsageError`] where what is asked for does not fit the file, or it is of a kind that is not read here; else when the file
/// cannot be opened, is torn or damaged. The error names the file and what was found.
pub fn inspect(path: &Path, request: &Request, out: &mut dyn Write) -> Result<Verdict> {
    let name = name(path, request);
    let answer = answer(path, &name, request, out).map_err(|error| {
        // Nothing says that such a file is damaged, or that making it again would help.
        let is_unsupported = error.chain().any(|cause| cause.is::<Unsupported>());
        if is_unsupported { UsageError(format!("{error:#}")).into() } else { error }
    });
    answer.with_context(|| escape::shown(&name, usize::MAX))
}

fn answer(path: &Path, name: &str, request: &Request, out: &mut dyn Write) -> Result<Verdict> {
    let open = |path| match &request.sql {
        Some(text) => computed(open(path)?, text),
        None => open(path),
    };
    match &request.show {
        Show::Overview => overview(open(path)?, name, request, out)?,
        Show::Rows => match open(path)? {
            Opened::Table(source) => rows::write(&source, request, out)?,
            Opened::Tensors(_) | Opened::Page(..) => return Err(UsageError("it holds no rows".into()).into()),
        },
        Show::Verify => return verify::verify(path, name, request, out),
        Show::Episode(index) => episode::show(path, open(path)?, *index, request, out)?,
        Show::Diff { other, name: other_name, key } => {
            diff::show((path, name), (other, other_name), key, request, out)?
        }
    }
    Ok(Verdict::Whole)
}

fn name(path: &Path, request: &Request) -> String {
    if request.name.is_empty() { path.display().to_string() } else { request.name.clone() }
}

fn overview(opened: Opened, name: &str, request: &Request, out: &mut dyn Write) -> Result<()> {
    let description = description_of(opened, name.to_owned(), request)?;
    match output_style(request.format)? {
        Some(output_style) => Ok(out.write_all(table::render(&description, output_style).as_bytes())?),
        None => write_json(&description, out),
    }
}

fn description_of(opened: Opened, name: String, request: &Request) -> Result<Description> {
    match opened {
        Opened::Table(source) => {
            let selection = Selection::new(request, &source, false)?;
            let table = describe::describe(&source, &selection, request)?;
            Ok(match &source.table {
                Table::Parquet(file) => file.describe(name, table),
                Table::Arrow(file) => file.describe(name, table),
                Table::Query(_) => Description {
                    schema_version: SCHEMA_VERSION,
                    file: name,
                    format: source.scan.format,
                    bytes: source.scan.bytes,
                    metadata: BTreeMap::new(),
                    content: Content::Table { table, files: source.scan.files.len() },
                },
            })
        }
        Opened::Tensors(file) => file.describe(name, request),
        Opened::Page(file, bytes) => html::describe(file, name, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{describe, inspected};
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, bytes).unwrap();
        let error = format!("{:#}", inspect(&path, &Request::default(), &mut Vec::new()).unwrap_err());
        let error = error.strip_prefix(&format!("{}: ", path.display())).expect("the error names the file").to_owned();
        assert_eq!(error.matches("help:").count(), 1, "{error}");
        error
    }

    #[test]
    fn an_unknown_file_is_shown_by_its_first_bytes() {
        let text = refused(b"user,item\x1b[31m\n1,2\n");
        let hex = "75 73 65 72 2c 69 74 65 6d 1b 5b 33 31 6d 0a 31";
        assert!(
            text.starts_with(&format!("is of an unknown format: it begins with {hex} (`user,item.[31m.1`)\n")),
            "{text}"
        );
        assert!(text.contains("`PAR1`") && text.contains("`ARROW1`") && text.contains("safetensors"), "{text}");
        assert!(refused(b"").starts_with("is empty (0 bytes)"));
        assert!(refused(b"PK\x03\x04").contains("ZIP"));
        assert!(
            refused(b"\xff\xff\xff\xff\0\0").starts_with("it cannot be read: the file is damaged ("),
            "an Arrow stream"
        );
        assert!(refused(b"{\"a\": 1}").contains("JSON"));
    }

    #[test]
    fn the_same_description_as_text_and_as_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("no-extension\u{1b}[2J");
        let empty =
            ::safetensors::serialize(Vec::<(&str, ::safetensors::tensor::TensorView<'_>)>::new(), None).unwrap();
        std::fs::write(&path, &empty).unwrap();
        let text = inspected(&path, &Request::default());
        assert!(
            text.contains("no-extension\\u{1b}[2J: safetensors") && text.ends_with("0 tensors, 0 values\n"),
            "{text}"
        );
        let json = inspected(&path, &Request { format: pipeline::inspect::Format::Json, ..Request::default() });
        assert!(!json.contains('\u{1b}'), "{json}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["schema_version", "file", "format", "bytes", "metadata", "tensors", "scanned"]);
        assert_eq!((&json["file"], &json["bytes"]), (&path.to_str().unwrap().into(), &empty.len().into()));
    }

    #[test]
    fn what_is_no_file_is_said_to_be_none() {
        let folder = tempfile::tempdir().unwrap();
        let text = |path: &Path| format!("{:#}", describe(path, 0).unwrap_err());
        assert!(text(folder.path()).contains("holds no file\nhelp: "));
        assert!(text(&folder.path().join("absent")).contains("absent: cannot be opened"));
    }

    #[test]
    fn a_file_that_only_starts_is_called_torn() {
        assert!(refused(b"PAR1").contains("has only 4 of at least 12 bytes"));
        assert!(refused(b"ARROW1\0\0").contains("has only 8 of at least 18 bytes"));
        assert!(refused(b"PAR1 half a file and then nothing").contains("instead of `PAR1`"));
        assert!(refused(b"PAR1....\xff\xff\xff\x7fPAR1").contains("announce a Parquet footer of 2147483647 bytes"));
        assert!(refused(b"ARROW1\0\0 half a file and then nothing").contains("instead of `ARROW1`"));
        assert!(refused(b"\xff\0\0\0\0\0\0\0{\"a\"").contains("header of 255 bytes, but the whole file has 12"));
    }
}
