//! The sign between the whole and the fraction of a number in text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ingest::readers::bad_rows::Fault;
use crate::ingest::readers::plain_number;
use crate::ingest::readers::record::{self, Record};

/// The sign in a number in text before its fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Decimal {
    /// A point: `4.5`.
    #[default]
    #[serde(rename = ".")]
    Point,
    /// A comma: `4,5`. A number with a point is invalid, because the point may part thousands.
    #[serde(rename = ",")]
    Comma,
}

impl Decimal {
    /// Whether it is a point.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(in crate::ingest) fn is_point(&self) -> bool {
        *self == Self::Point
    }

    /// The finite number in a text of `column`.
    pub(in crate::ingest) fn number(self, text: &str, column: &str) -> Result<f64, Fault> {
        match self {
            Self::Point => plain_number::number(text, column),
            Self::Comma if text.contains('.') => {
                let fault = Fault::value(column, text, "a number with a decimal comma");
                Err(fault.help("a point may part thousands: write 1234,5, not 1.234,5"))
            }
            Self::Comma => plain_number::number(&text.replacen(',', ".", 1), column)
                .map_err(|_| Fault::value(column, text, "a number with a decimal comma")),
        }
    }

    /// The finite number of that name in a record.
    pub(in crate::ingest) fn number_in(self, record: &Record, name: &str) -> Result<f64, Fault> {
        match record.get(name) {
            Some(Value::String(text)) => self.number(text, name),
            _ => record::number(record, name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_is_read_where_it_is_said_and_no_thousands_are_guessed() {
        for (text, wanted) in [("4,5", 4.5), ("-0,25", -0.25), ("4", 4.0), (",5", 0.5), ("1234,5", 1234.5)] {
            assert_eq!(Decimal::Comma.number(text, "r").ok(), Some(wanted), "{text}");
        }
        for text in ["4.5", "1.234,5", "1,234,5", "four", "", "nan", "inf"] {
            let fault = Decimal::Comma.number(text, "r").err().unwrap().to_string();
            assert!(fault.contains(&format!("found {text:?}, wanted a number with a decimal comma")), "{fault}");
        }
        let fault = format!("{:?}", Decimal::Point.number("4,5", "r").err().unwrap());
        assert!(fault.contains("decimal: ") && fault.contains("finite number"), "{fault}");
    }
}
