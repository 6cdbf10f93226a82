//! How a Parquet column writes its times, by a sample.

use std::borrow::Cow;
use std::path::Path;

use anyhow::Result;
use arrow::array::AsArray as _;
use arrow::compute::cast;
use arrow::datatypes::DataType;

use crate::ingest::readers::parquet_parts::parts;
use crate::ingest::readers::time_form::TimeForm;

/// Parts of a folder, and rows of each, that decide how a column writes its times.
const SAMPLED_PARTS: usize = 16;

const SAMPLED_ROWS: usize = 1024;

/// How a column of numbers or texts writes its times, by a sample of the parts and their first rows; a typed column says so itself.
pub(in crate::ingest) fn sampled_times(path: &Path, column: &str) -> Result<TimeForm> {
    let parts = parts(path)?;
    let mut texts = Vec::new();
    for part in parts.iter().step_by(parts.len().div_ceil(SAMPLED_PARTS)) {
        let Some(batch) = part.batches(Some(&[column]))?.next().transpose()? else { continue };
        let Some(values) = batch.column_by_name(column) else { continue };
        if values.data_type().is_temporal() || values.data_type().is_nested() {
            return Ok(TimeForm::Date);
        }
        let values = cast(values, &DataType::Utf8)?;
        let step = values.len().div_ceil(SAMPLED_ROWS).max(1);
        let values = values.as_string::<i32>();
        texts.extend(values.iter().step_by(step).flatten().map(|text| Cow::Owned(text.to_owned())));
    }
    Ok(TimeForm::of_sample(texts))
}
