//! What a column of separated text holds: the type that polars gives its first values, unless a number or a date would say something else
//! than the text.

use polars::io::csv::read::schema_inference::{finish_infer_field_schema, infer_field_schema};
use polars::prelude::{DataType, PlIndexSet};

/// The largest integer up to which a floating-point number holds every one.
const EXACT: u64 = 1 << 53;

/// A column by its values.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    /// The types of its first values.
    kinds: PlIndexSet<DataType>,
    /// Whether a number begins with a zero that is no part of its value, as in `00123`.
    is_padded: bool,
    /// Whether an integer is too long for 64 bits.
    is_long: bool,
    /// Whether an integer would be rounded among floating-point numbers.
    is_rounded: bool,
    /// Whether a date does not begin with the year: which of its numbers is the day nobody can tell.
    is_doubtful: bool,
}

impl Column {
    /// Looks at one of the first values, which tell the type.
    pub fn tell(&mut self, value: &[u8], quoted: bool) {
        if quoted || !value.is_empty() {
            self.kinds.insert(infer_field_schema(&String::from_utf8_lossy(value), true, false));
        }
    }

    /// Looks at a value for what forbids a type.
    pub fn look(&mut self, value: &[u8]) {
        let digits = value.strip_prefix(b"-").or_else(|| value.strip_prefix(b"+")).unwrap_or(value);
        if let [b'0', b'0'..=b'9', ..] = digits {
            let is_numeric = |byte: &u8| byte.is_ascii_digit() || b".eE+-".contains(byte);
            self.is_padded |= digits.iter().all(is_numeric);
        }
        if digits.len() >= 16 && digits.iter().all(u8::is_ascii_digit) {
            let number = str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
            self.is_long |= number.is_none_or(|number| number > i64::MAX as u64);
            self.is_rounded |= number.is_none_or(|number| number > EXACT);
        }
        if let [b'0'..=b'9', b'/' | b'.' | b'-', ..] | [b'0'..=b'9', b'0'..=b'9', b'/' | b'.' | b'-', ..] = value {
            self.is_doubtful |= is_date(value);
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.kinds.extend(other.kinds.iter().cloned());
        self.is_padded |= other.is_padded;
        self.is_long |= other.is_long;
        self.is_rounded |= other.is_rounded;
        self.is_doubtful |= other.is_doubtful;
    }

    /// The type as which nothing is lost.
    pub fn kind(&self) -> DataType {
        match finish_infer_field_schema(&self.kinds) {
            DataType::Int64 | DataType::Float64 if self.is_padded || self.is_long => DataType::String,
            DataType::Float64 if self.is_rounded => DataType::String,
            DataType::Date | DataType::Datetime(..) if self.is_doubtful => DataType::String,
            kind => kind,
        }
    }
}

/// Whether a value is, or begins with, three numbers that are joined as in a date.
fn is_date(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let date = value.split(|byte| [b' ', b'T'].contains(byte)).next().unwrap_or_default();
    let mut parts = date.split(|byte| [b'/', b'.', b'-'].contains(byte));
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    (0..3).all(|_| parts.next().is_some_and(is_number)) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use polars::prelude::TimeUnit;

    use super::*;

    #[test]
    fn a_type_is_one_that_loses_nothing() {
        let kind = |first: &[&str], later: &str| {
            let mut column = Column::default();
            for value in first {
                column.tell(value.as_bytes(), false);
                column.look(value.as_bytes());
            }
            column.look(later.as_bytes());
            column.kind()
        };
        let moments = DataType::Datetime(TimeUnit::Microseconds, None);
        for (first, later, wanted) in [
            (&["1", "0", "-5", ""][..], "", DataType::Int64),
            (&["1"], "00123", DataType::String),
            (&["1"], "-007", DataType::String),
            (&["0.5", "-0.25", "10"], "0", DataType::Float64),
            (&["0.5"], "00.5", DataType::String),
            (&["1"], "9223372036854775807", DataType::Int64),
            (&["1"], "9223372036854775808", DataType::String),
            (&["1"], "123456789012345678901234567890", DataType::String),
            (&["1", "1.5"], "9007199254740992", DataType::Float64),
            (&["1", "1.5"], "9007199254740993", DataType::String),
            (&["2020-01-31"], "2020-02-01", DataType::Date),
            (&["2020-01-31"], "01/02/2020", DataType::String),
            (&["31.01.2020"], "", DataType::String),
            (&["2020-01-31 10:00:00"], "", moments),
            (&["12-11-2020 10:00:00"], "", DataType::String),
            (&["10:00:00"], "09:00:00", DataType::Time),
            (&["true"], "FALSE", DataType::Boolean),
            (&["4.5.1", "a"], "", DataType::String),
            (&[], "", DataType::String),
        ] {
            assert_eq!(kind(first, later), wanted, "{first:?} {later}");
        }
    }
}
