//! Statistics of one column, streamed over record batches.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use serde::Serialize;

use super::numeric_summary::{NumberAccumulator, NumberSummary};
use super::value::{self, CellValue};
use super::value_counts::{Bits, Distinct, TextCounter, TextSummary};

/// What the values of a column look like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnStatistics {
    /// Missing values.
    pub nulls: u64,
    /// Different values, missing ones aside; absent where nothing counts them (lists, bytes, structs).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distinct: Option<Distinct>,
    /// By the nature of the column; absent for structs, unions and columns of nothing.
    #[serde(flatten)]
    pub values: Option<Values>,
}

/// The part of the statistics that depends on the nature of the column.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Integers, floats; decimals too, rounded to a 64-bit float.
    Numbers(NumberSummary),
    /// Dates, times, timestamps (in UTC), durations, as text.
    Moments(NumberSummary),
    /// Lengths of lists (elements), maps (entries) and binary values (bytes).
    Lengths(NumberSummary),
    /// Text.
    Texts(TextSummary),
    /// True or false.
    Flags(FlagSummary),
}

/// What a column of booleans looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlagSummary {
    /// How often true.
    pub r#true: u64,
    /// How often false.
    pub r#false: u64,
}

impl ColumnStatistics {
    /// The smallest value, `null` where there is none or no order.
    pub(super) fn min(&self) -> CellValue {
        match &self.values {
            Some(Values::Numbers(summary) | Values::Moments(summary)) => summary.min.clone(),
            Some(Values::Texts(texts)) => texts.min.clone().map_or(CellValue::Null, CellValue::Text),
            Some(Values::Flags(flags)) if flags.r#false > 0 => CellValue::Flag(false),
            Some(Values::Flags(flags)) if flags.r#true > 0 => CellValue::Flag(true),
            _ => CellValue::Null,
        }
    }

    /// The largest value, `null` where there is none or no order.
    pub(super) fn max(&self) -> CellValue {
        match &self.values {
            Some(Values::Numbers(summary) | Values::Moments(summary)) => summary.max.clone(),
            Some(Values::Texts(texts)) => texts.max.clone().map_or(CellValue::Null, CellValue::Text),
            Some(Values::Flags(flags)) if flags.r#true > 0 => CellValue::Flag(true),
            Some(Values::Flags(flags)) if flags.r#false > 0 => CellValue::Flag(false),
            _ => CellValue::Null,
        }
    }
}

/// The running state for one column.
pub(super) struct ColumnAccumulator {
    nulls: u64,
    state: State,
}

enum State {
    Whole(NumberAccumulator, Bits),
    Real(NumberAccumulator, Bits),
    Moments(DataType, NumberAccumulator, Bits),
    Lengths(NumberAccumulator),
    Texts(TextCounter),
    Flags(FlagSummary),
    Opaque,
}

impl ColumnAccumulator {
    /// The state for a column of this type, before its first value.
    pub(super) fn new(kind: &DataType) -> Self {
        Self { nulls: 0, state: State::new(kind) }
    }

    /// A state that only follows nulls, smallest and largest.
    pub(super) fn bounds(kind: &DataType) -> Self {
        let mut gauge = Self::new(kind);
        match &mut gauge.state {
            State::Whole(numbers, bits) | State::Real(numbers, bits) | State::Moments(_, numbers, bits) => {
                *numbers = NumberAccumulator::without_sample();
                bits.stop();
            }
            State::Lengths(numbers) => *numbers = NumberAccumulator::without_sample(),
            State::Texts(texts) => texts.stop(),
            State::Flags(_) | State::Opaque => {}
        }
        gauge
    }

    /// Takes the values of one batch.
    pub(super) fn push(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        let array = &value::plain(array)?;
        self.nulls += array.logical_null_count() as u64;
        match &mut self.state {
            State::Whole(numbers, bits) if array.data_type() == &DataType::UInt64 => {
                for value in array.as_primitive::<UInt64Type>().iter().flatten() {
                    numbers.push_whole(value.into());
                    bits.push(value);
                }
            }
            State::Whole(numbers, bits) => {
                for value in cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().iter().flatten() {
                    numbers.push_whole(value.into());
                    bits.push(value as u64);
                }
            }
            State::Moments(_, numbers, bits) => {
                for value in cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().iter().flatten() {
                    numbers.push_whole(value.into());
                    bits.push(value as u64);
                }
            }
            State::Real(numbers, bits) => {
                for value in cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().iter().flatten() {
                    numbers.push_real(value);
                    // NaNs differ in bits that mean nothing, and -0 equals 0.
                    bits.push(if value.is_nan() { f64::NAN } else { value + 0.0 }.to_bits());
                }
            }
            State::Texts(texts) => {
                cast(array, &DataType::LargeUtf8)?
                    .as_string::<i64>()
                    .iter()
                    .flatten()
                    .for_each(|text| texts.push(text));
            }
            State::Flags(flags) => {
                for flag in array.as_boolean().iter().flatten() {
                    *(if flag { &mut flags.r#true } else { &mut flags.r#false }) += 1;
                }
            }
            State::Lengths(numbers) => lengths(array, numbers)?,
            State::Opaque => {}
        }
        Ok(())
    }

    /// What has been seen.
    pub(super) fn finish(self) -> ColumnStatistics {
        let (distinct, values) = match self.state {
            State::Whole(numbers, bits) | State::Real(numbers, bits) => {
                (Some(bits.distinct()), Some(Values::Numbers(numbers.summary(CellValue::Whole, CellValue::Real))))
            }
            State::Moments(kind, numbers, bits) => {
                let moment = |ticks| CellValue::moment(&kind, ticks);
                let summary = numbers.summary(moment, |ticks| moment(ticks.round() as i128));
                (Some(bits.distinct()), Some(Values::Moments(summary)))
            }
            State::Lengths(numbers) => {
                (None, Some(Values::Lengths(numbers.summary(CellValue::Whole, CellValue::Real))))
            }
            State::Texts(texts) => {
                let (distinct, summary) = texts.summary();
                (Some(distinct), Some(Values::Texts(summary)))
            }
            State::Flags(flags) => {
                let count = u64::from(flags.r#true > 0) + u64::from(flags.r#false > 0);
                (Some(Distinct { count, exact: true }), Some(Values::Flags(flags)))
            }
            State::Opaque => (None, None),
        };
        ColumnStatistics { nulls: self.nulls, distinct, values }
    }
}

impl State {
    fn new(kind: &DataType) -> Self {
        use DataType as T;
        match kind {
            T::Dictionary(_, values) => Self::new(values),
            T::RunEndEncoded(_, values) => Self::new(values.data_type()),
            _ if kind.is_integer() => Self::Whole(NumberAccumulator::new(), Bits::default()),
            _ if kind.is_floating() || kind.is_decimal() => Self::Real(NumberAccumulator::new(), Bits::default()),
            T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Timestamp(..) | T::Duration(_) => {
                Self::Moments(kind.clone(), NumberAccumulator::new(), Bits::default())
            }
            T::Utf8 | T::LargeUtf8 | T::Utf8View => Self::Texts(TextCounter::default()),
            T::Boolean => Self::Flags(FlagSummary::default()),
            T::List(_) | T::LargeList(_) | T::FixedSizeList(..) | T::ListView(_) | T::LargeListView(_) | T::Map(..) => {
                Self::Lengths(NumberAccumulator::new())
            }
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => {
                Self::Lengths(NumberAccumulator::new())
            }
            T::Null | T::Struct(_) | T::Union(..) | T::Interval(_) => Self::Opaque,
            // Every integer, float and decimal is above.
            _ => Self::Opaque,
        }
    }
}

fn lengths(array: &ArrayRef, numbers: &mut NumberAccumulator) -> Result<(), ArrowError> {
    use DataType as T;
    let length: Box<dyn Fn(usize) -> i128> = match array.data_type() {
        T::List(_) => Box::new(|row| array.as_list::<i32>().value_length(row).into()),
        T::LargeList(_) => Box::new(|row| array.as_list::<i64>().value_length(row).into()),
        T::FixedSizeList(_, length) => Box::new(move |_| (*length).into()),
        T::ListView(_) => Box::new(|row| array.as_list_view::<i32>().value_size(row).into()),
        T::LargeListView(_) => Box::new(|row| array.as_list_view::<i64>().value_size(row).into()),
        T::Map(..) => Box::new(|row| array.as_map().value_length(row).into()),
        T::Binary => Box::new(|row| array.as_binary::<i32>().value_length(row).into()),
        T::LargeBinary => Box::new(|row| array.as_binary::<i64>().value_length(row).into()),
        T::BinaryView => Box::new(|row| array.as_binary_view().value(row).len() as i128),
        T::FixedSizeBinary(length) => Box::new(move |_| (*length).into()),
        other => return Err(ArrowError::NotYetImplemented(format!("lengths of {other}"))),
    };
    (0..array.len()).filter(|&row| array.is_valid(row)).for_each(|row| numbers.push_whole(length(row)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::*;
    use arrow::datatypes::*;

    use super::*;

    fn of(array: impl Array + 'static) -> ColumnStatistics {
        let mut gauge = ColumnAccumulator::new(array.data_type());
        gauge.push(&(Arc::new(array) as ArrayRef)).unwrap();
        gauge.finish()
    }

    fn numbers(statistics: &ColumnStatistics) -> &NumberSummary {
        match statistics.values.as_ref().expect("values") {
            Values::Numbers(summary) | Values::Moments(summary) | Values::Lengths(summary) => summary,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_kind_of_number_is_measured() {
        let half = cast(&(Arc::new(Float32Array::from(vec![1.5])) as ArrayRef), &DataType::Float16).unwrap();
        for array in [
            Arc::new(Int8Array::from(vec![Some(1), None, Some(2)])) as ArrayRef,
            Arc::new(UInt64Array::from(vec![Some(1), None, Some(2)])),
            Arc::new(Float32Array::from(vec![Some(1.0), None, Some(2.0)])),
            Arc::new(Decimal128Array::from(vec![Some(100), None, Some(200)]).with_precision_and_scale(5, 2).unwrap()),
        ] {
            let statistics = of(Arc::clone(&array));
            assert_eq!((statistics.nulls, statistics.distinct.unwrap().count), (1, 2), "{}", array.data_type());
            assert_eq!(numbers(&statistics).mean, CellValue::Real(1.5), "{}", array.data_type());
        }
        assert_eq!(numbers(&of(half)).max, CellValue::Real(1.5));
    }

    #[test]
    fn moments_have_a_first_and_a_last() {
        let statistics = of(Date32Array::from(vec![Some(2), None, Some(0)]));
        assert_eq!(numbers(&statistics).min, CellValue::Text("1970-01-01".into()));
        assert_eq!(numbers(&statistics).max, CellValue::Text("1970-01-03".into()));
        assert_eq!(numbers(&statistics).mean, CellValue::Text("1970-01-02".into()));
        let statistics = of(TimestampMillisecondArray::from(vec![0]).with_timezone("UTC"));
        assert_eq!(numbers(&statistics).max, CellValue::Text("1970-01-01T00:00:00Z".into()));
        for kind in [TimeUnit::Second, TimeUnit::Millisecond].map(DataType::Time32) {
            let noon = Int32Array::from(vec![3600]);
            let statistics = of(cast(&(Arc::new(noon) as ArrayRef), &kind).unwrap());
            assert!(matches!(numbers(&statistics).max, CellValue::Text(_)), "{statistics:?}");
        }
    }

    #[test]
    fn lists_are_measured_by_length() {
        let lists = vec![Some(vec![Some(1), None]), None, Some(vec![])];
        let statistics = of(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
        assert_eq!((statistics.nulls, statistics.distinct), (1, None));
        assert_eq!(
            (&numbers(&statistics).min, &numbers(&statistics).max),
            (&CellValue::Whole(0), &CellValue::Whole(2))
        );
        let bytes = of(BinaryArray::from(vec![Some(b"abc".as_slice()), None]));
        assert_eq!(numbers(&bytes).max, CellValue::Whole(3));
    }

    #[test]
    fn encodings_do_not_show() {
        let plain = of(StringArray::from(vec![Some("a"), None, Some("a")]));
        let dictionary: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
        assert_eq!(of(dictionary), plain);
        assert_eq!(of(StringViewArray::from(vec![Some("a"), None, Some("a")])), plain);
        let runs =
            RunArray::try_new(&Int32Array::from(vec![1, 2, 3]), &StringArray::from(vec![Some("a"), None, Some("a")]));
        assert_eq!(of(runs.unwrap()), plain);
    }

    #[test]
    fn a_column_of_nothing_has_only_nulls() {
        assert_eq!(of(NullArray::new(3)), ColumnStatistics { nulls: 3, distinct: None, values: None });
        let all_missing = of(Float64Array::from(vec![None, None]));
        assert_eq!((all_missing.nulls, all_missing.distinct.unwrap().count), (2, 0));
        assert_eq!(numbers(&all_missing).min, CellValue::Null);
    }

    #[test]
    fn equal_floats_are_one_value() {
        let statistics = of(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
        assert_eq!(statistics.distinct.unwrap().count, 2);
        assert_eq!(numbers(&statistics).nan, 2);
    }

    #[test]
    fn flags_are_counted() {
        let statistics = of(BooleanArray::from(vec![Some(true), None, Some(true), Some(false)]));
        assert_eq!(statistics.values, Some(Values::Flags(FlagSummary { r#true: 2, r#false: 1 })));
    }
}
