//! One record of named values: a line of JSON or of a literal of Python, or a row of a table.

use serde_json::{Map, Value};

use super::bad_rows::Fault;
use super::{literal, separated};

/// Names and values.
pub(super) type Record = Map<String, Value>;

/// The record in a line.
pub(super) fn record(line: &str) -> Result<Record, Fault> {
    let value = serde_json::from_str(line).ok().or_else(|| literal::parse(line));
    match value {
        Some(Value::Object(record)) => Ok(record),
        _ => Err(Fault::row(
            format!("{:?}", line.chars().take(60).collect::<String>()),
            "a record `{\"name\": value, …}`",
        )),
    }
}

/// A value as text: a text or a whole number, as ids are; empty where it is missing or null.
pub(super) fn text(record: &Record, name: &str) -> Result<String, Fault> {
    match record.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) if !number.is_f64() => Ok(number.to_string()),
        Some(other) => Err(Fault::value(name, &other.to_string(), "a text or a whole number")),
    }
}

/// A finite number, or a text that says one.
pub(super) fn number(record: &Record, name: &str) -> Result<f64, Fault> {
    match record.get(name) {
        Some(Value::Number(number)) => {
            number.as_f64().ok_or_else(|| Fault::value(name, &number.to_string(), "a number"))
        }
        Some(Value::String(text)) => separated::number(text, name),
        other => Err(Fault::value(name, &other.map(Value::to_string).unwrap_or_default(), "a finite number")),
    }
}

/// The texts in a value, however deep in lists, in their order; empty ones left out.
pub(super) fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) if !text.trim().is_empty() => vec![text.trim().to_owned()],
        Some(Value::Array(list)) => list.iter().flat_map(|value| texts(Some(value))).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_name() {
        let record = record(
            r#"{"id": 7, "name": "x", "hours": "1.5", "n": 2, "none": null, "tags": [["a", " "], "b "], "odd": 1.5}"#,
        );
        let record = record.unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(text(&record, "id").ok().unwrap(), "7");
        assert_eq!(text(&record, "none").ok().unwrap() + &text(&record, "gone").ok().unwrap(), "");
        assert_eq!((number(&record, "hours").ok(), number(&record, "n").ok()), (Some(1.5), Some(2.0)));
        assert_eq!(texts(record.get("tags")), ["a", "b"]);
        assert!(
            text(&record, "odd").err().unwrap().to_string().contains("found \"1.5\", wanted a text or a whole number")
        );
        assert!(number(&record, "none").err().unwrap().to_string().contains("`none`: found \"null\""));
        let fault = super::record("[1]").err().unwrap().to_string();
        assert!(fault.contains("found \"[1]\", wanted a record"), "{fault}");
    }
}
