//! A log in Parquet, read batch by batch by the names of its columns.
//!
//! It is not read in shards, because reading it again is fast. Messages number rows from 1 over all parts of a folder.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, UInt64Array};
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, UInt64Type};
use pipeline::Context;

use crate::ingest::datasets::table::LogColumns;
use crate::ingest::readers::bad_rows::Fault;
use crate::ingest::readers::casts::{self, Seconds};
use crate::ingest::readers::decimal::Decimal;
use crate::ingest::readers::integers::exact_below;
use crate::ingest::readers::parquet_parts::for_each_batch;
use crate::ingest::readers::shard::{KnownIds, LogBuilder, Numbering, ReadLog, Row, Shard};
use crate::ingest::readers::time_form::TimeForm;

const SECONDS_A_DAY: i64 = 86_400;

/// A column of ids.
pub(in crate::ingest) enum IdColumn {
    Texts(StringArray),
    /// Integers as pandas writes them where one is missing, and the bound from which on the type cannot distinguish them.
    Reals(Float64Array, f64),
}

/// A column of numbers.
pub(in crate::ingest) enum NumberColumn {
    Reals(Float64Array),
    Texts(StringArray),
}

/// A column of times.
pub(in crate::ingest) enum TimeColumn<'a> {
    /// Parts of a second by their type, and their number per second.
    Parts(Int64Array, i64),
    Days(Int64Array),
    /// Integers, floats, texts.
    Counts(Int64Array, &'a TimeForm),
    Reals(NumberColumn, &'a TimeForm),
    Texts(StringArray, &'a TimeForm),
}

/// A column and its file, for messages.
pub(in crate::ingest) struct Place<'a> {
    pub file: &'a Path,
    pub name: &'a str,
}

impl LogColumns {
    /// Reads the whole log.
    ///
    /// `trims` says that spaces around texts are no part of them.
    pub(in crate::ingest) fn read_parquet(
        &self,
        path: &Path,
        trims: bool,
        ids: &KnownIds,
        form: &TimeForm,
        cx: &Context,
    ) -> Result<ReadLog> {
        let (mut shard, mut numbering) = (Shard::default(), Numbering::default());
        let time = self.timestamp.as_ref();
        let names =
            [Some(&*self.user), Some(&*self.item), self.rating.as_deref(), time.map(|time| time.column.as_str())];
        for_each_batch(path, &names, cx, |batch, file| {
            let column =
                |name: &str| batch.column_by_name(name).expect("columns that are not there are refused").clone();
            let column = |name: &str| if trims { trimmed(column(name)) } else { Ok(column(name)) };
            let place = |name| Place { file, name };
            let users = IdColumn::new(&column(&self.user)?, &place(&self.user))?;
            let items = IdColumn::new(&column(&self.item)?, &place(&self.item))?;
            let ratings = self.rating.as_deref().map(|name| NumberColumn::new(&column(name)?, &place(name), "numbers"));
            let ratings = ratings.transpose()?;
            let times = time.map(|time| TimeColumn::new(&column(&time.column)?, form, &place(&time.column)));
            let times = times.transpose()?;
            for row in 0..batch.num_rows() {
                shard.lines += 1;
                let read = || {
                    let rating = match (&ratings, &self.rating) {
                        (Some(ratings), Some(name)) => {
                            casts::rating(ratings.number_in(row, name, self.decimal)?, name)?
                        }
                        _ => 1.0,
                    };
                    let timestamp = match (&times, time) {
                        (Some(times), Some(time)) => times.seconds(row, &time.column)?,
                        _ => Seconds::exactly(0),
                    };
                    let (user, item) = (users.id(row, &self.user)?, items.id(row, &self.item)?);
                    Ok(Row { user, item, rating, timestamp })
                };
                shard.take(read(), ids, &mut numbering);
            }
            Ok(())
        })?;
        let mut builder = LogBuilder::default();
        builder.push(&shard);
        Ok(builder.log)
    }
}

/// A column without the spaces around its texts; others as they are.
fn trimmed(column: ArrayRef) -> Result<ArrayRef> {
    if !matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View) {
        return Ok(column);
    }
    let texts = cast(&column, &DataType::Utf8)?;
    Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| text.map(str::trim)).collect::<StringArray>()))
}

impl Place<'_> {
    /// The error for a column of an unsuitable type.
    fn is_no(&self, wanted: &str, found: &DataType, help: &str) -> anyhow::Error {
        let Self { file, name } = self;
        anyhow::anyhow!("column `{name}` of {} is of type {found}, wanted {wanted}\nhelp: {help}", file.display())
    }
}

impl IdColumn {
    pub fn new(column: &ArrayRef, place: &Place<'_>) -> Result<Self> {
        let wanted = "texts or integers";
        Ok(match column.data_type() {
            kind if kind.is_nested() => {
                bail!(place.is_no(wanted, kind, "write the id as a separate column"))
            }
            kind @ (DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_)) => {
                bail!(place.is_no(
                    wanted,
                    kind,
                    "its bytes are not UTF-8: write it as text, for example in hexadecimal digits"
                ))
            }
            kind if kind.is_floating() => {
                let reals = cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone();
                Self::Reals(reals, exact_below(kind))
            }
            kind if kind.is_decimal() => {
                let texts = cast(column, &DataType::Utf8)?;
                let whole = |text: &str| match text.split_once('.') {
                    Some((whole, rest)) if rest.bytes().all(|digit| digit == b'0') => whole.to_owned(),
                    _ => text.to_owned(),
                };
                Self::Texts(texts.as_string::<i32>().iter().map(|text| text.map(whole)).collect())
            }
            _ => Self::Texts(cast(column, &DataType::Utf8)?.as_string::<i32>().clone()),
        })
    }

    /// The id in a row, empty where it is missing.
    pub fn id(&self, row: usize, name: &str) -> Result<Cow<'_, str>, Fault> {
        match self {
            Self::Texts(texts) => Ok(if texts.is_null(row) { "".into() } else { texts.value(row).into() }),
            Self::Reals(reals, _) if reals.is_null(row) || reals.value(row).is_nan() => Ok("".into()),
            Self::Reals(reals, below) => whole(reals.value(row), *below, name).map(Cow::Owned),
        }
    }
}

/// The integer in a float of a type that holds integers `below` a bound exactly.
fn whole(number: f64, below: f64, name: &str) -> Result<String, Fault> {
    if number.fract() != 0.0 || !number.is_finite() {
        return Err(Fault::value(name, &number.to_string(), "a text or an integer"));
    }
    if number.abs() >= below {
        let wanted = format!("an integer that such a float holds exactly (below 2^{})", below.log2());
        let fault = Fault::value(name, &format!("{number:e}"), &wanted);
        return Err(fault.help(
            "the column was converted to floats, which cannot distinguish such ids: write it as integers or texts",
        ));
    }
    Ok((number as i64).to_string())
}

impl NumberColumn {
    pub fn new(column: &ArrayRef, place: &Place<'_>, wanted: &str) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Self::Texts(cast(column, &DataType::Utf8)?.as_string::<i32>().clone())
            }
            kind if kind.is_numeric() || *kind == DataType::Boolean => {
                Self::Reals(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            kind => bail!(place.is_no(wanted, kind, "write it as numbers, or name another column")),
        })
    }

    /// The finite number in a row.
    pub fn number(&self, row: usize, name: &str) -> Result<f64, Fault> {
        self.number_in(row, name, Decimal::Point)
    }

    /// The same with the decimal sign of texts.
    pub fn number_in(&self, row: usize, name: &str, decimal: Decimal) -> Result<f64, Fault> {
        match self {
            Self::Texts(texts) => decimal.number(if texts.is_null(row) { "" } else { texts.value(row) }, name),
            Self::Reals(reals) if reals.is_null(row) => Err(Fault::value(name, "", "a finite number")),
            Self::Reals(reals) => match reals.value(row) {
                number if number.is_finite() => Ok(number),
                other => Err(Fault::value(name, &other.to_string(), "a finite number")),
            },
        }
    }
}

impl<'a> TimeColumn<'a> {
    pub fn new(column: &ArrayRef, form: &'a TimeForm, place: &Place<'_>) -> Result<Self> {
        let counts = |column: &ArrayRef| -> Result<Int64Array> {
            Ok(cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
        };
        let is_count = matches!(form, TimeForm::Count(_));
        Ok(match column.data_type() {
            DataType::Timestamp(unit, _) => Self::Parts(counts(column)?, parts_of_a_second(*unit)),
            DataType::Date32 => Self::Days(counts(&cast(column, &DataType::Int32)?)?),
            DataType::Date64 => Self::Parts(counts(column)?, parts_of_a_second(TimeUnit::Millisecond)),
            kind @ (DataType::Time32(_) | DataType::Time64(_) | DataType::Duration(_) | DataType::Interval(_)) => {
                bail!(place.is_no(
                    "times since 1970",
                    kind,
                    "it has no date: name a column of dates, timestamps or numbers"
                ))
            }
            // A float would shift nanoseconds of today by up to 128, sometimes into another second.
            DataType::UInt64 if is_count && beyond(column.as_primitive::<UInt64Type>()) => {
                Self::Reals(NumberColumn::new(column, place, "times")?, form)
            }
            kind if is_count && kind.is_integer() => Self::Counts(counts(column)?, form),
            kind if is_count && kind.is_numeric() => Self::Reals(NumberColumn::new(column, place, "times")?, form),
            kind if kind.is_nested() => bail!(place.is_no("times", kind, "write the time as a separate column")),
            _ => Self::Texts(cast(column, &DataType::Utf8)?.as_string::<i32>().clone(), form),
        })
    }

    pub fn seconds(&self, row: usize, name: &str) -> Result<Seconds, Fault> {
        match self {
            Self::Parts(times, _) | Self::Days(times) | Self::Counts(times, _) if times.is_null(row) => {
                Err(Fault::value(name, "", "a time"))
            }
            Self::Parts(times, per_second) => Ok(Seconds::of_parts(times.value(row), *per_second)),
            Self::Days(days) => Ok(Seconds::exactly(days.value(row) * SECONDS_A_DAY)),
            Self::Counts(times, form) => {
                let count = times.value(row);
                let seconds = form.unit().of_parts(count);
                form.checked(seconds, || count.to_string(), name)
            }
            Self::Reals(numbers, form) => form.of_number(numbers.number(row, name), name),
            Self::Texts(texts, form) => form.of_text(if texts.is_null(row) { "" } else { texts.value(row) }, name),
        }
    }
}

fn beyond(times: &UInt64Array) -> bool {
    max(times).is_some_and(|most| i64::try_from(most).is_err())
}

fn parts_of_a_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}
