//! A value of a Parquet column as a value of a record: texts, lists and records of texts.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

use crate::ingest::readers::integers::exact_below;

/// A value as text, lists as lists, structs as records. An integer in a column of floats, as pandas writes integers where one is
/// missing, is read as the integer; NaN is a missing value.
pub(in crate::ingest) fn value(column: &ArrayRef, row: usize) -> Result<Value> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    let list = |list: ArrayRef| (0..list.len()).map(|at| value(&list, at)).collect::<Result<_>>().map(Value::Array);
    match column.data_type() {
        DataType::List(_) => list(column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(column.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => list(column.as_fixed_size_list().value(row)),
        DataType::Map(..) => list(Arc::new(column.as_map().value(row))),
        DataType::Struct(fields) => {
            let fields = fields.iter().zip(column.as_struct().columns());
            fields.map(|(field, column)| Ok((field.name().clone(), value(column, row)?))).collect()
        }
        kind if kind.is_floating() => {
            let number = cast(&column.slice(row, 1), &DataType::Float64)?.as_primitive::<Float64Type>().value(0);
            match number {
                number if number.is_nan() => Ok(Value::Null),
                number if number.fract() == 0.0 && number.abs() < exact_below(kind) => {
                    Ok(Value::String((number as i64).to_string()))
                }
                _ => shown(column, row),
            }
        }
        // Arrow names offsets only, and a moment is the same in every zone: it is said in UTC.
        DataType::Timestamp(unit, Some(_)) => {
            let ticks = cast(&column.slice(row, 1), &DataType::Int64)?;
            let moment = shown(&cast(&ticks, &DataType::Timestamp(*unit, None))?, 0)?;
            Ok(Value::String(format!("{}Z", moment.as_str().unwrap_or_default())))
        }
        _ => shown(column, row),
    }
}

fn shown(column: &ArrayRef, row: usize) -> Result<Value> {
    Ok(Value::String(ArrayFormatter::try_new(column, &FormatOptions::default())?.value(row).to_string()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, Float64Array, Int32Array, LargeListBuilder, StringBuilder, StructArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn lists_of_any_width_are_lists_and_structs_are_records() {
        let mut lists = LargeListBuilder::new(StringBuilder::new());
        lists.append_value([Some("Drama"), Some("War")]);
        lists.append_null();
        let lists: ArrayRef = Arc::new(lists.finish());
        assert_eq!(value(&lists, 0).unwrap(), serde_json::json!(["Drama", "War"]));
        assert_eq!(value(&lists, 1).unwrap(), Value::Null);
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let nested: ArrayRef =
            Arc::new(StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int32, false)), numbers)]));
        assert_eq!(value(&nested, 0).unwrap(), serde_json::json!({ "x": "1" }));
    }

    #[test]
    fn a_moment_of_any_zone_is_said_in_utc() {
        let moments = arrow::array::TimestampMillisecondArray::from(vec![Some(0), None]).with_timezone("Europe/Berlin");
        let moments: ArrayRef = Arc::new(moments);
        assert_eq!(value(&moments, 0).unwrap(), Value::from("1970-01-01T00:00:00Z"));
        assert_eq!(value(&moments, 1).unwrap(), Value::Null);
    }

    #[test]
    fn whole_numbers_in_floats_are_whole_numbers() {
        let years: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(1995.0), None, Some(f64::NAN), Some(1.5), Some(-0.0)]));
        let texts: Vec<Value> = (0..5).map(|row| value(&years, row).unwrap()).collect();
        assert_eq!(texts, [Value::from("1995"), Value::Null, Value::Null, "1.5".into(), "0".into()]);
        let narrow: ArrayRef = Arc::new(Float32Array::from(vec![0.1]));
        assert_eq!(value(&narrow, 0).unwrap(), Value::from("0.1"));
    }
}
