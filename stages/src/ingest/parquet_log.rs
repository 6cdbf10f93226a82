//! A log in Parquet, read batch by batch by a map of columns.
//!
//! Not in shards: it is quickly read again. Rows are numbered from 1 where one does not fit.

use std::path::Path;

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use pipeline::Context;

use super::bad_rows::Fault;
use super::grid::{batches, no_column};
use super::narrow::{self, Seconds};
use super::piece::{Ids, Joined, Numbering, Piece, ReadLog, Row};
use super::table::LogColumns;

/// A column of times, with how many make a second.
enum Times {
    /// Typed as a time.
    Typed(ArrayRef, i64),
    /// Plain numbers.
    Numbers(ArrayRef, f64),
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

impl LogColumns {
    /// Reads the whole log.
    pub(super) fn of_parquet(&self, path: &Path, ids: &Ids, cx: &Context) -> Result<ReadLog> {
        let (mut piece, mut numbering) = (Piece::default(), Numbering::default());
        for batch in batches(path)? {
            cx.go_on()?;
            let batch = batch?;
            let column = |name: &str| {
                let names = || batch.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
                batch.column_by_name(name).ok_or_else(|| no_column(path, &names(), name))
            };
            let texts = |name: &str| -> Result<ArrayRef> { Ok(cast(column(name)?, &DataType::Utf8)?) };
            let numbers = |name: &str| -> Result<ArrayRef> {
                let place = || format!("column `{name}` of {} is not of numbers", path.display());
                cast(column(name)?, &DataType::Float64).with_context(place)
            };
            let (users, items) = (texts(&self.user)?, texts(&self.item)?);
            let ratings = self.rating.as_deref().map(numbers).transpose()?;
            let times = match &self.timestamp {
                Some(time) => Some(match column(&time.column)?.data_type() {
                    DataType::Timestamp(unit, _) => {
                        Times::Typed(cast(column(&time.column)?, &DataType::Int64)?, per_second(*unit))
                    }
                    _ => Times::Numbers(numbers(&time.column)?, time.unit.per_second()),
                }),
                None => None,
            };
            let id = |ids: &ArrayRef, row: usize| {
                if ids.is_null(row) { String::new() } else { ids.as_string::<i32>().value(row).to_owned() }
            };
            let finite = |numbers: &ArrayRef, row: usize, name: &str| {
                let number = numbers.as_primitive::<Float64Type>().value(row);
                let is_there = !numbers.is_null(row) && number.is_finite();
                let found = if numbers.is_null(row) { String::new() } else { number.to_string() };
                if is_there { Ok(number) } else { Err(Fault::value(name, &found, "a finite number")) }
            };
            for row in 0..batch.num_rows() {
                piece.lines += 1;
                let rating = match (&ratings, &self.rating) {
                    (Some(ratings), Some(name)) => {
                        finite(ratings, row, name).and_then(|rating| narrow::rating(rating, name))
                    }
                    _ => Ok(1.0),
                };
                let timestamp = match (&times, &self.timestamp) {
                    (Some(Times::Typed(times, _)), Some(time)) if times.is_null(row) => {
                        Err(Fault::value(&time.column, "", "a time"))
                    }
                    (Some(Times::Typed(times, per_second)), _) => {
                        Ok(Seconds::of_parts(times.as_primitive::<Int64Type>().value(row), *per_second))
                    }
                    (Some(Times::Numbers(times, per_second)), Some(time)) => {
                        Seconds::read(finite(times, row, &time.column), *per_second, &time.column)
                    }
                    _ => Ok(Seconds::exactly(0)),
                };
                let row = rating.and_then(|rating| {
                    let (user, item) = (id(&users, row).into(), id(&items, row).into());
                    Ok(Row { user, item, rating, timestamp: timestamp? })
                });
                piece.take(row, ids, &mut numbering);
            }
        }
        let mut joined = Joined::default();
        joined.push(&piece);
        Ok(joined.log)
    }
}
