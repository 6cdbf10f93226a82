//! Predicates: one column compared with constants, which are parsed once in the type of the column.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StringArray};
use arrow::compute::{cast, is_not_null, is_null};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, TimeUnit, UInt64Type};
use arrow::error::ArrowError;

use super::super::value::{self, CellValue};
use super::Fault;
use super::lexer::{Kind, Token};
use crate::artifact::parse_date_time;

/// How a value may lie to a constant.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    pub fn read(written: &str) -> Option<Self> {
        Some(match written {
            "=" => Self::Equal,
            "!=" => Self::Unequal,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            _ => return None,
        })
    }

    /// `order` is `None` where a NaN has a part in it.
    fn holds(self, order: Option<Ordering>) -> bool {
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::Unequal => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// A constant as it was written.
pub(super) struct Literal<'a>(&'a Token);

impl<'a> Literal<'a> {
    pub fn new(word: &'a Token) -> Self {
        Self(word)
    }

    fn fault(&self, message: String, help: Option<String>) -> Fault {
        Fault { from: self.0.from, to: self.0.to, message, help }
    }
}

/// What is asked of a column's values.
pub(super) enum Predicate {
    /// Whether the value is missing, or is not.
    Null(bool),
    /// Each compares with one of several constants.
    Whole(Operator, Vec<Number>),
    Real(Operator, Vec<f64>),
    Texts(Operator, Vec<String>),
    Flags(Operator, Vec<bool>),
    /// Dates and times, in the ticks of the column.
    Ticks(Operator, Vec<i64>),
    /// A part of a text.
    Part(String),
    /// An element of a list.
    Element(Box<Self>),
}

/// A constant that integers are compared with.
pub(super) enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    fn order(&self, value: i128) -> Option<Ordering> {
        match self {
            Self::Whole(wanted) => Some(value.cmp(wanted)),
            Self::Real(wanted) => (value as f64).partial_cmp(wanted),
        }
    }
}

impl Predicate {
    /// A comparison with one constant, or the test whether a value is one of several.
    pub fn compare(field: &Field, sign: Operator, values: &[Literal<'_>]) -> Result<Self, Fault> {
        Self::of_type(field.name(), field.data_type(), sign, values)
    }

    fn of_type(name: &str, kind: &DataType, sign: Operator, values: &[Literal<'_>]) -> Result<Self, Fault> {
        use DataType as T;
        fn all<T>(values: &[Literal<'_>], read: impl Fn(&Literal<'_>) -> Result<T, Fault>) -> Result<Vec<T>, Fault> {
            values.iter().map(read).collect()
        }
        let shown = pipeline::escape::shown(name, 80);
        let wanted = |what: &str| format!("{shown} is {kind}, which is compared with {what}");
        Ok(match kind {
            T::Dictionary(_, inner) => return Self::of_type(name, inner, sign, values),
            T::RunEndEncoded(_, inner) => return Self::of_type(name, inner.data_type(), sign, values),
            _ if kind.is_integer() => Self::Whole(sign, all(values, |value| whole(value, &wanted("a number")))?),
            T::Float16 | T::Float32 => {
                // The nearest value that the column can hold, so that `rating = 0.1` finds what is shown as 0.1.
                let narrow = |value: &Literal<'_>| Ok(f64::from(real(value, &wanted("a number"))? as f32));
                Self::Real(sign, all(values, narrow)?)
            }
            _ if kind.is_floating() || kind.is_decimal() => {
                Self::Real(sign, all(values, |value| real(value, &wanted("a number")))?)
            }
            T::Utf8 | T::LargeUtf8 | T::Utf8View => {
                Self::Texts(sign, all(values, |value| text(value, &wanted("a text in single quotes")))?)
            }
            T::Boolean => Self::Flags(sign, all(values, |value| flag(value, &wanted("true or false")))?),
            T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Timestamp(..) | T::Duration(_) => {
                let wanted = wanted("a moment in single quotes, such as '2020-01-31' or '2020-01-31T12:00:00+02:00'");
                Self::Ticks(sign, all(values, |value| ticks(value, kind, &wanted))?)
            }
            T::List(_) | T::LargeList(_) | T::FixedSizeList(..) => {
                let help = Some("use `contains` to look for an element".into());
                return Err(values[0].fault(format!("{shown} is a list; use `contains` or `is null`"), help));
            }
            _ => {
                let help = Some("`is null` and `is not null` work on every column".into());
                return Err(values[0].fault(format!("{shown} is {kind}, which cannot be compared"), help));
            }
        })
    }

    /// A part of a text, or an element of a list.
    pub fn contains(field: &Field, verb: &Token, value: &Literal<'_>) -> Result<Self, Fault> {
        use DataType as T;
        let mut kind = field.data_type();
        while let T::Dictionary(_, inner) = kind {
            kind = inner;
        }
        let shown = pipeline::escape::shown(field.name(), 80);
        match kind {
            T::Utf8 | T::LargeUtf8 | T::Utf8View => {
                let wanted = format!("{shown} is {kind}, and contains a text in single quotes");
                Ok(Self::Part(text(value, &wanted)?))
            }
            T::List(element) | T::LargeList(element) | T::FixedSizeList(element, _) => {
                let name = format!("an element of {}", field.name());
                let test = Self::of_type(&name, element.data_type(), Operator::Equal, std::slice::from_ref(value))?;
                Ok(Self::Element(Box::new(test)))
            }
            _ => Err(Fault {
                from: verb.from,
                to: verb.to,
                message: format!("{shown} is {kind}: only texts and lists contain something"),
                help: Some("compare with `=` or `in (…)`".into()),
            }),
        }
    }

    /// Asks every value; a missing one gives a missing answer.
    pub fn of(&self, array: &ArrayRef) -> Result<BooleanArray, ArrowError> {
        let array = &value::plain(array)?;
        Ok(match self {
            Self::Null(true) => is_null(array)?,
            Self::Null(false) => is_not_null(array)?,
            Self::Whole(sign, wanted) => {
                let holds = |value: i128| wanted.iter().any(|wanted| sign.holds(wanted.order(value)));
                if array.data_type() == &DataType::UInt64 {
                    answers(array.as_primitive::<UInt64Type>().iter(), |value| holds(value.into()))
                } else {
                    let wide = cast(array, &DataType::Int64)?;
                    answers(wide.as_primitive::<Int64Type>().iter(), |value| holds(value.into()))
                }
            }
            Self::Real(sign, wanted) => {
                let wide = cast(array, &DataType::Float64)?;
                answers(wide.as_primitive::<Float64Type>().iter(), |value| {
                    wanted.iter().any(|wanted| sign.holds(value.partial_cmp(wanted)))
                })
            }
            Self::Ticks(sign, wanted) => {
                let wide = cast(array, &DataType::Int64)?;
                answers(wide.as_primitive::<Int64Type>().iter(), |value| {
                    wanted.iter().any(|wanted| sign.holds(Some(value.cmp(wanted))))
                })
            }
            Self::Texts(sign, wanted) => {
                let wide = cast(array, &DataType::LargeUtf8)?;
                answers(wide.as_string::<i64>().iter(), |value| {
                    wanted.iter().any(|wanted| sign.holds(Some(value.cmp(wanted.as_str()))))
                })
            }
            Self::Part(part) => {
                let wide = cast(array, &DataType::LargeUtf8)?;
                answers(wide.as_string::<i64>().iter(), |value| value.contains(part))
            }
            Self::Flags(sign, wanted) => answers(array.as_boolean().iter(), |value| {
                wanted.iter().any(|wanted| sign.holds(Some(value.cmp(wanted))))
            }),
            Self::Element(test) => {
                let mut found = Vec::with_capacity(array.len());
                for row in 0..array.len() {
                    found.push(if array.is_null(row) { None } else { Some(test.any(&elements(array, row)?)?) });
                }
                found.into_iter().collect()
            }
        })
    }

    fn any(&self, elements: &ArrayRef) -> Result<bool, ArrowError> {
        Ok(self.of(elements)?.iter().any(|answer| answer == Some(true)))
    }
}

fn answers<T>(values: impl Iterator<Item = Option<T>>, holds: impl Fn(T) -> bool) -> BooleanArray {
    values.map(|value| value.map(&holds)).collect()
}

fn elements(array: &ArrayRef, row: usize) -> Result<ArrayRef, ArrowError> {
    Ok(match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().value(row),
        other => return Err(ArrowError::NotYetImplemented(format!("elements of {other}"))),
    })
}

fn whole(value: &Literal<'_>, wanted: &str) -> Result<Number, Fault> {
    if let Kind::Number(number) = &value.0.kind
        && let Ok(number) = number.parse()
    {
        return Ok(Number::Whole(number));
    }
    real(value, wanted).map(Number::Real)
}

fn real(value: &Literal<'_>, wanted: &str) -> Result<f64, Fault> {
    match &value.0.kind {
        Kind::Number(number) => match number.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(value.fault(format!("`{number}` is not a finite number"), None)),
        },
        _ => Err(value.fault(wanted.to_owned(), None)),
    }
}

fn text(value: &Literal<'_>, wanted: &str) -> Result<String, Fault> {
    match &value.0.kind {
        Kind::Text(text) => Ok(text.clone()),
        _ => {
            let help = format!("write '{}'", value.0.written.trim_matches('"'));
            Err(value.fault(wanted.to_owned(), Some(help)))
        }
    }
}

fn flag(value: &Literal<'_>, wanted: &str) -> Result<bool, Fault> {
    match &value.0.kind {
        Kind::Word(word) if word.eq_ignore_ascii_case("true") => Ok(true),
        Kind::Word(word) if word.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(value.fault(wanted.to_owned(), None)),
    }
}

/// A moment in the ticks that a column of this type holds.
fn ticks(value: &Literal<'_>, kind: &DataType, wanted: &str) -> Result<i64, Fault> {
    let text = match &value.0.kind {
        Kind::Text(text) => text,
        // Seconds since 1970, or whatever the column counts.
        Kind::Number(number) => {
            return number.parse().map_err(|_| value.fault(format!("`{number}` is not a whole number"), None));
        }
        _ => return Err(value.fault(wanted.to_owned(), None)),
    };
    if let (DataType::Timestamp(unit, _), Some(moment)) = (kind, parse_date_time(text)) {
        // As the column is shown, a moment without a zone is UTC.
        let nanoseconds = i128::from(moment.timestamp()) * 1_000_000_000 + i128::from(moment.timestamp_subsec_nanos());
        let tick = match unit {
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1000,
            TimeUnit::Nanosecond => 1,
        };
        let ticks = (nanoseconds % tick == 0).then(|| i64::try_from(nanoseconds / tick).ok()).flatten();
        return ticks.ok_or_else(|| value.fault(format!("`{text}` is finer or farther than a {kind} holds"), None));
    }
    let one: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
    let read =
        cast(&one, kind).and_then(|moment| cast(&moment, &DataType::Int64)).ok().filter(|ticks| ticks.is_valid(0));
    match read {
        Some(ticks) => Ok(ticks.as_primitive::<Int64Type>().value(0)),
        None => {
            let example = CellValue::moment(kind, 0).text();
            let text = pipeline::escape::shown(text, 80);
            Err(value.fault(format!("`{text}` is not a {kind}"), Some(format!("write it like '{example}'"))))
        }
    }
}
