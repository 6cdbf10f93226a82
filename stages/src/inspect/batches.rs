//! The rows of a file, a batch at a time.

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::error::ArrowError;

/// Batches of some columns of a file.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;
