//! Everything there is to say about a file.

use std::collections::BTreeMap;

use serde::Serialize;

use super::numeric_summary::NumberSummary;
use super::parquet_layout::ParquetLayout;
use super::table_description::TableDescription;

/// Version of the JSON; raised when a field changes its meaning or goes away, not when one is added.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// Everything there is to say about a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// Version of this description's JSON.
    pub schema_version: u32,
    /// The path as it was given.
    pub file: String,
    /// What kind of file it is.
    pub format: Format,
    /// Size of the file.
    pub bytes: u64,
    /// The key-value metadata of the file or its schema.
    pub metadata: BTreeMap<String, String>,
    /// `table` and `layout`, `tensors`, or `title`.
    #[serde(flatten)]
    pub content: Content,
}

/// The file formats that can be described.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow IPC, file format.
    Arrow,
    /// Apache Arrow IPC, streaming format.
    ArrowStream,
    /// Separated text.
    Csv,
    /// A JSON record a line.
    Ndjson,
    /// safetensors.
    Safetensors,
    /// A page for a browser.
    Html,
}

impl Format {
    /// Its name for people.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Arrow => "Arrow IPC file",
            Self::ArrowStream => "Arrow IPC stream",
            Self::Csv => "CSV",
            Self::Ndjson => "NDJSON",
            Self::Safetensors => "safetensors",
            Self::Html => "HTML",
        }
    }
}

/// What is in the file. Only ever written, so it needs no tag: `format` says which one it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Content {
    /// Of a Parquet file.
    Parquet {
        /// Columns, statistics and first rows.
        table: TableDescription,
        /// Row groups and column chunks.
        layout: ParquetLayout,
    },
    /// Of an Arrow file.
    Arrow {
        /// Columns, statistics and first rows.
        table: TableDescription,
        /// Batches and dictionaries.
        layout: ArrowLayout,
    },
    /// Of text, of an Arrow stream, and of many files.
    Table {
        /// Columns, statistics and first rows.
        table: TableDescription,
        /// How many files the rows come from.
        files: usize,
    },
    /// Of a safetensors file.
    Safetensors {
        /// In the order of the file.
        tensors: Vec<TensorDescription>,
        /// Whether every value was read for the statistics; otherwise there are none.
        scanned: bool,
    },
    /// Of a page.
    Html {
        /// Its title; absent where its first 64 KiB name none.
        title: Option<String>,
    },
}

/// One tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorDescription {
    /// Its name.
    pub name: String,
    /// Type of its elements, as the format calls it.
    pub dtype: String,
    /// Its dimensions; empty for a single number.
    pub shape: Vec<usize>,
    /// Number of elements.
    pub count: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// Whether every element is a finite number; absent when `statistics` is.
    pub finite: Option<bool>,
    /// What its elements look like; absent for complex numbers and floats of 8 bits and less, and for texts.
    pub statistics: Option<NumberSummary>,
    /// What it says, where its bytes are the JSON of a list of texts, as worlds and policies keep ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texts: Option<TextList>,
}

/// A list of texts that a tensor of bytes holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextList {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub first: Vec<String>,
}

/// How an Arrow file is laid out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArrowLayout {
    /// Record batches.
    pub batches: usize,
    /// Columns that are stored as a dictionary and shown as its values.
    pub dictionaries: Vec<String>,
}
