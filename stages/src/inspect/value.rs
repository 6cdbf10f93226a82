//! One value of a column, taken out of its Arrow array, as text and as JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, new_null_array};
use arrow::compute::{cast, take};
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::escape;
use crate::artifact::catch_panics;

/// Elements of a list that are shown; the rest is counted.
const ELEMENTS: usize = 64;
/// Characters of a text that are kept, also for JSON.
const CHARACTERS: usize = 4000;

/// How much of a long text or list is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// As much as a person looks at.
    Short,
    /// All of it.
    Whole,
}

impl Length {
    fn characters(self) -> usize {
        if self == Self::Short { CHARACTERS } else { usize::MAX }
    }
    fn elements(self) -> usize {
        if self == Self::Short { ELEMENTS } else { usize::MAX }
    }
}

/// A value of any column.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum CellValue {
    /// Missing.
    #[default]
    Null,
    /// True or false.
    Flag(bool),
    /// An integer; every Arrow integer fits.
    Whole(i128),
    /// A floating-point number; `null` in JSON when it is NaN or infinite, so whoever serialises it adds a flag.
    Real(f64),
    /// Text, and everything that is best read as text: dates, times, decimals, bytes.
    Text(String),
    /// The elements of a list, and how many more there are.
    List(Vec<CellValue>, usize),
    /// The fields of a struct.
    Record(Vec<(String, CellValue)>),
}

impl CellValue {
    /// The value on one row of an array. A value that Arrow itself cannot show becomes a text that says so.
    pub(super) fn at(array: &ArrayRef, row: usize, length: Length) -> Self {
        catch_panics(|| Self::of(&array.slice(row, 1), length))
            .unwrap_or_else(|error| Self::Text(format!("<unreadable: {error}>")))
    }

    /// The value of an array of one row.
    fn of(array: &ArrayRef, length: Length) -> Result<Self, arrow::error::ArrowError> {
        let array = &plain(array)?;
        if array.is_null(0) || array.data_type() == &DataType::Null {
            return Ok(Self::Null);
        }
        Ok(match array.data_type() {
            DataType::Boolean => Self::Flag(array.as_boolean().value(0)),
            DataType::UInt64 => Self::Whole(array.as_primitive::<UInt64Type>().value(0).into()),
            kind if kind.is_integer() => {
                Self::Whole(cast(array, &DataType::Int64)?.as_primitive::<Int64Type>().value(0).into())
            }
            // By way of its shortest text: 0.1, not 0.10000000149011612.
            DataType::Float32 => {
                let value = array.as_primitive::<Float32Type>().value(0);
                Self::Real(value.to_string().parse().unwrap_or(f64::from(value)))
            }
            DataType::Float16 | DataType::Float64 => {
                Self::Real(cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().value(0))
            }
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text(escape::cut(
                cast(array, &DataType::LargeUtf8)?.as_string::<i64>().value(0),
                length.characters(),
            )),
            DataType::List(_) => Self::list(&array.as_list::<i32>().value(0), length),
            DataType::LargeList(_) => Self::list(&array.as_list::<i64>().value(0), length),
            DataType::FixedSizeList(..) => Self::list(&array.as_fixed_size_list().value(0), length),
            DataType::ListView(_) => Self::list(&array.as_list_view::<i32>().value(0), length),
            DataType::LargeListView(_) => Self::list(&array.as_list_view::<i64>().value(0), length),
            DataType::Map(..) => Self::list(&(Arc::new(array.as_map().value(0)) as ArrayRef), length),
            DataType::Struct(fields) => {
                let columns = array.as_struct().columns();
                Self::Record(
                    fields.iter().zip(columns).map(|(f, c)| (f.name().clone(), Self::at(c, 0, length))).collect(),
                )
            }
            DataType::Timestamp(unit, Some(_)) => {
                let utc = cast(&cast(array, &DataType::Int64)?, &DataType::Timestamp(*unit, None))?;
                Self::Text(format!("{}Z", formatted(&utc)?))
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Text(escape::cut(&format!("0x{}", formatted(array)?), length.characters()))
            }
            _ => Self::Text(escape::cut(&formatted(array)?, length.characters())),
        })
    }

    fn list(elements: &ArrayRef, length: Length) -> Self {
        let shown = elements.len().min(length.elements());
        Self::List((0..shown).map(|row| Self::at(elements, row, length)).collect(), elements.len() - shown)
    }

    /// A moment, date, time of day or duration from the integer that Arrow keeps for it.
    pub(super) fn moment(kind: &DataType, ticks: i128) -> Self {
        let Ok(ticks) = i64::try_from(ticks) else { return Self::Whole(ticks) };
        let one: ArrayRef = Arc::new(PrimitiveArray::<Int64Type>::from_value(ticks, 1));
        // Int64 casts to every such type but Time32, which is reached by way of Int32.
        let narrow = if matches!(kind, DataType::Time32(_)) { cast(&one, &DataType::Int32) } else { Ok(one) };
        match narrow.and_then(|array| cast(&array, kind)) {
            Ok(array) if array.is_valid(0) => Self::at(&array, 0, Length::Short),
            _ => Self::Whole(ticks.into()),
        }
    }

    /// The name of the first number in it that JSON has no word for.
    pub(super) fn non_finite(&self) -> Option<&'static str> {
        match self {
            Self::Real(value) if value.is_nan() => Some("NaN"),
            Self::Real(value) if value.is_infinite() => Some(if *value > 0.0 { "inf" } else { "-inf" }),
            Self::List(cells, _) => cells.iter().find_map(Self::non_finite),
            Self::Record(fields) => fields.iter().find_map(|(_, cell)| cell.non_finite()),
            _ => None,
        }
    }

    /// For a table: escaped, not cut. Texts stand in quotes only inside lists and records.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => escape::shown(text, usize::MAX),
            _ => self.nested(),
        }
    }

    fn nested(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Flag(flag) => flag.to_string(),
            Self::Whole(value) => value.to_string(),
            Self::Real(value) => format!("{value:?}"),
            Self::Text(text) => format!("\"{}\"", escape::shown(text, usize::MAX)),
            Self::List(cells, more) => {
                let mut parts: Vec<_> = cells.iter().map(Self::nested).collect();
                parts.extend((*more > 0).then(|| format!("… {more} more")));
                format!("[{}]", parts.join(", "))
            }
            Self::Record(fields) => {
                let part =
                    |(name, cell): &(String, Self)| format!("{}: {}", escape::shown(name, usize::MAX), cell.nested());
                format!("{{{}}}", fields.iter().map(part).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl Serialize for CellValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Whole(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => serializer.serialize_i64(value),
                (_, Ok(value)) => serializer.serialize_u64(value),
                _ => serializer.serialize_str(&value.to_string()),
            },
            Self::Real(value) if value.is_finite() => serializer.serialize_f64(*value),
            Self::Real(_) => serializer.serialize_unit(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(cells, 0) => serializer.collect_seq(cells),
            Self::List(cells, more) => {
                let rest = Self::Text(format!("… {more} more"));
                serializer.collect_seq(cells.iter().chain([&rest]))
            }
            Self::Record(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, cell)| map.serialize_entry(name, cell))?;
                map.end()
            }
        }
    }
}

/// The array with dictionary and run-length encoding undone, so that a row of it is a value.
pub(super) fn plain(array: &ArrayRef) -> Result<ArrayRef, arrow::error::ArrowError> {
    let decoded = match array.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            if dictionary.values().is_empty() {
                new_null_array(dictionary.values().data_type(), array.len())
            } else {
                take(dictionary.values(), dictionary.keys(), None)?
            }
        }
        DataType::RunEndEncoded(_, values) => cast(array, values.data_type())?,
        _ => return Ok(Arc::clone(array)),
    };
    plain(&decoded)
}

fn formatted(array: &ArrayRef) -> Result<String, arrow::error::ArrowError> {
    ArrayFormatter::try_new(array, &FormatOptions::new())?.value(0).try_to_string()
}

/// A number to six significant digits, without an exponent where it reads well without.
pub(super) fn six_digits(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() || !(1e-4..1e15).contains(&value.abs()) {
        return if value.is_finite() { format!("{value:.3e}") } else { format!("{value}") };
    }
    let decimals = (5 - value.abs().log10().floor() as i32).max(0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use arrow::array::*;

    use super::*;

    fn first(array: impl Array + 'static) -> CellValue {
        CellValue::at(&(Arc::new(array) as ArrayRef), 0, Length::Short)
    }

    #[test]
    fn values_keep_their_exact_number() {
        assert_eq!(first(UInt64Array::from(vec![u64::MAX])), CellValue::Whole(u64::MAX.into()));
        assert_eq!(first(Int8Array::from(vec![-7])), CellValue::Whole(-7));
        assert_eq!(first(Float32Array::from(vec![0.1])), CellValue::Real(0.1));
        assert_eq!(first(BooleanArray::from(vec![None, Some(true)])), CellValue::Null);
        let decimal = Decimal128Array::from(vec![12345]).with_precision_and_scale(6, 2).unwrap();
        assert_eq!(first(decimal), CellValue::Text("123.45".into()));
        assert_eq!(first(BinaryArray::from(vec![b"\x00\x1b".as_slice()])), CellValue::Text("0x001b".into()));
    }

    #[test]
    fn a_number_json_cannot_say_becomes_null_and_is_named() {
        let nested = CellValue::List(vec![CellValue::Real(1.0), CellValue::Real(f64::NEG_INFINITY)], 0);
        assert_eq!(serde_json::to_string(&nested).unwrap(), "[1.0,null]");
        assert_eq!(nested.non_finite(), Some("-inf"));
        assert_eq!(nested.text(), "[1.0, -inf]");
        assert_eq!(first(Float64Array::from(vec![f64::NAN])).non_finite(), Some("NaN"));
    }

    #[test]
    fn a_dictionary_shows_its_values_and_an_empty_one_its_nulls() {
        let words: DictionaryArray<Int32Type> = vec![Some("drama"), None].into_iter().collect();
        let words: ArrayRef = Arc::new(words);
        assert_eq!(
            (CellValue::at(&words, 0, Length::Short), CellValue::at(&words, 1, Length::Short)),
            (CellValue::Text("drama".into()), CellValue::Null)
        );
        let empty = DictionaryArray::new(Int32Array::from(vec![None]), Arc::new(StringArray::from(Vec::<&str>::new())));
        assert_eq!(first(empty), CellValue::Null);
    }

    #[test]
    fn moments_are_shown_in_utc_whatever_their_zone() {
        let zoned = TimestampSecondArray::from(vec![0]).with_timezone("Europe/Paris");
        assert_eq!(first(zoned), CellValue::Text("1970-01-01T00:00:00Z".into()));
        assert_eq!(CellValue::moment(&DataType::Date32, 1), CellValue::Text("1970-01-02".into()));
        assert_eq!(CellValue::moment(&DataType::Time32(TimeUnit::Second), 61), CellValue::Text("00:01:01".into()));
        assert_eq!(
            CellValue::moment(&DataType::Date32, 1 << 40),
            CellValue::Whole(1 << 40),
            "a date beyond its type stays a number"
        );
    }

    #[test]
    fn long_lists_are_counted_not_printed() {
        let long = ListArray::from_iter_primitive::<Int32Type, _, _>([Some((0..70).map(Some))]);
        let text = first(long).text();
        assert!(text.ends_with("62, 63, … 6 more]"), "{text}");
        let long: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some((0..70).map(Some))]));
        assert!(CellValue::at(&long, 0, Length::Whole).text().ends_with("68, 69]"));
    }

    #[test]
    fn records_and_maps_name_their_fields() {
        let mut map = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
        map.keys().append_value("a\u{1b}");
        map.values().append_value(3);
        map.append(true).unwrap();
        assert_eq!(first(map.finish()).text(), r#"[{key: "a\u{1b}", value: 3}]"#);
    }

    #[test]
    fn six_digits_are_enough_and_no_more() {
        let cases = [(0.1 + 0.2, "0.3"), (3.529_86, "3.52986"), (1234567.0, "1234567"), (1e300, "1.000e300")];
        for (value, text) in cases {
            assert_eq!(six_digits(value), text);
        }
        assert_eq!((six_digits(-0.00001), six_digits(0.0)), ("-1.000e-5".into(), "0".into()));
    }
}
