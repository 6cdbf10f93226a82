//! A log in Parquet, read batch by batch by a map of columns.
//!
//! Not in shards: it is quickly read again. Rows are numbered from 1 where one does not fit.

use std::path::Path;

use anyhow::{Context as _, Result};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit};
use pipeline::Context;

use super::bad_rows::Fault;
use super::grid::batches;
use super::piece::{Ids, Joined, Numbering, Piece, ReadLog, Row};
use super::table::LogColumns;

impl LogColumns {
    /// Reads the whole log.
    pub(super) fn of_parquet(&self, path: &Path, ids: &Ids, cx: &Context) -> Result<ReadLog> {
        let (mut piece, mut numbering) = (Piece::default(), Numbering::default());
        for batch in batches(path)? {
            cx.go_on()?;
            let batch = batch?;
            let column = |name: &str| {
                batch.column_by_name(name).with_context(|| format!("{} has no column `{name}`", path.display()))
            };
            let texts = |name: &str| -> Result<ArrayRef> { Ok(cast(column(name)?, &DataType::Utf8)?) };
            let numbers = |name: &str| -> Result<ArrayRef> { Ok(cast(column(name)?, &DataType::Float64)?) };
            let (users, items) = (texts(&self.user)?, texts(&self.item)?);
            let ratings = self.rating.as_deref().map(numbers).transpose()?;
            let times = match &self.timestamp {
                Some(time) => Some(match column(&time.column)?.data_type() {
                    DataType::Timestamp(_, _) => {
                        let whole = cast(column(&time.column)?, &DataType::Timestamp(TimeUnit::Second, None))?;
                        (cast(&cast(&whole, &DataType::Int64)?, &DataType::Float64)?, 1.0)
                    }
                    _ => (numbers(&time.column)?, time.unit.per_second()),
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
                    (Some(ratings), Some(name)) => finite(ratings, row, name),
                    _ => Ok(1.0),
                };
                let seconds = match (&times, &self.timestamp) {
                    (Some((times, per_second)), Some(time)) => {
                        finite(times, row, &time.column).map(|time| time / per_second)
                    }
                    _ => Ok(0.0),
                };
                let row = rating.and_then(|rating| {
                    let (user, item) = (id(&users, row).into(), id(&items, row).into());
                    Ok(Row { user, item, rating: rating as f32, timestamp: seconds? as i64 })
                });
                piece.take(row, ids, &mut numbering);
            }
        }
        let mut joined = Joined::default();
        joined.push(&piece);
        Ok(joined.log)
    }
}
