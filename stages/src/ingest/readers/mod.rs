//! Reading files row by row: compressed, separated, JSON or Parquet; numbers, times and ids; what becomes of bad rows.
//!
//! In: files. Out: rows, and from them a log whose users and items are numbered.

pub(in crate::ingest) mod bad_rows;
pub(in crate::ingest) mod bitpack;
pub(in crate::ingest) mod casts;
pub(in crate::ingest) mod date_forms;
pub(in crate::ingest) mod decimal;
pub(in crate::ingest) mod decompress;
pub(in crate::ingest) mod delimited;
pub(in crate::ingest) mod genres;
pub(in crate::ingest) mod header;
pub(in crate::ingest) mod integers;
pub(in crate::ingest) mod item_table;
pub(in crate::ingest) mod json_array;
pub(in crate::ingest) mod line_log;
pub(in crate::ingest) mod parquet_parts;
pub(in crate::ingest) mod parquet_value;
pub(in crate::ingest) mod plain_number;
pub(in crate::ingest) mod python_literal;
pub(in crate::ingest) mod ratings_only;
pub(in crate::ingest) mod record;
pub(in crate::ingest) mod row_counts;
pub(in crate::ingest) mod row_ends;
pub(in crate::ingest) mod sampled_lines;
pub(in crate::ingest) mod sampled_times;
pub(in crate::ingest) mod shard;
pub(in crate::ingest) mod side_table;
pub(in crate::ingest) mod time_form;
pub(in crate::ingest) mod time_unit;
