//! One record of named values: a line of JSON, a Python literal, or a row of a table.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::ingest::readers::bad_rows::Fault;
use crate::ingest::readers::{integers, plain_number, python_literal};

/// Names and values.
pub(in crate::ingest) type Record = Map<String, Value>;

/// The record in a line.
///
/// # Errors
/// Where it is not a record, or a name is not unique: it is unknown which of two values is right.
pub(in crate::ingest) fn record(line: &str) -> Result<Record, Fault> {
    let found = || format!("{:?}", line.chars().take(60).collect::<String>());
    if let Ok(Named { record, twice }) = serde_json::from_str(line) {
        return match twice {
            None => Ok(record),
            Some(name) => Err(Fault::row(format!("`{name}` twice in {}", found()), "each name once in a record")),
        };
    }
    match python_literal::parse(line) {
        Some(Value::Object(record)) => Ok(record),
        _ => Err(Fault::row(found(), "a record `{\"name\": value, …}`")),
    }
}

/// A record as written, because a map silently keeps the last of two values with one name.
struct Named {
    record: Record,
    twice: Option<String>,
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Named;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Named, M::Error> {
                let mut named = Named { record: Map::new(), twice: None };
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if named.record.contains_key(&name) {
                        named.twice.get_or_insert_with(|| name.clone());
                    }
                    named.record.insert(name, value);
                }
                Ok(named)
            }
        }
        from.deserialize_map(Names)
    }
}

/// A value as text: a text or an integer, as ids are; empty where it is missing or null. A float without a fraction is the
/// whole number (`123.0` is `123`): so pandas writes a column in which one is missing.
pub(in crate::ingest) fn text(record: &Record, name: &str) -> Result<String, Fault> {
    match record.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) if !number.is_f64() => Ok(number.to_string()),
        Some(Value::Number(number)) => match number.as_f64().and_then(integers::from_float) {
            Some(whole) => Ok(whole.to_string()),
            None => Err(Fault::value(name, &number.to_string(), "a text or an integer")),
        },
        Some(other) => Err(Fault::value(name, &other.to_string(), "a text or an integer")),
    }
}

/// The same without the spaces around names and texts.
pub(in crate::ingest) fn trimmed(record: Record) -> Record {
    let value = |value| match value {
        Value::String(text) => Value::String(text.trim().to_owned()),
        other => other,
    };
    record.into_iter().map(|(name, of)| (name.trim().to_owned(), value(of))).collect()
}

/// A finite number, or a text that says one.
pub(in crate::ingest) fn number(record: &Record, name: &str) -> Result<f64, Fault> {
    match record.get(name) {
        Some(Value::Number(number)) => {
            number.as_f64().ok_or_else(|| Fault::value(name, &number.to_string(), "a number"))
        }
        Some(Value::String(text)) => plain_number::number(text, name),
        other => Err(Fault::value(name, &other.map(Value::to_string).unwrap_or_default(), "a finite number")),
    }
}

/// The texts in a value, however deep in lists, in their order; empty ones left out. Of a record its `name` counts, as in
/// `[{'id': 16, 'name': 'Animation'}]`.
pub(in crate::ingest) fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) if !text.trim().is_empty() => vec![text.trim().to_owned()],
        Some(Value::Array(list)) => list.iter().flat_map(|value| texts(Some(value))).collect(),
        Some(Value::Object(record)) => texts(record.get("name")),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_by_name() {
        let record = record(
            r#"{"id": 7, "float": 7.0, "vast": 1e16, "of": [{"id": 1, "name": "n"}, 3], "name": "x", "hours": "1.5", "n": 2, "none": null, "tags": [["a", " "], "b "], "odd": 1.5}"#,
        );
        let record = record.unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(text(&record, "id").ok().unwrap() + &text(&record, "float").ok().unwrap(), "77");
        assert!(text(&record, "vast").is_err(), "floats of that size are not distinct");
        assert_eq!(texts(record.get("of")), ["n"]);
        assert_eq!(text(&record, "none").ok().unwrap() + &text(&record, "gone").ok().unwrap(), "");
        assert_eq!((number(&record, "hours").ok(), number(&record, "n").ok()), (Some(1.5), Some(2.0)));
        assert_eq!(texts(record.get("tags")), ["a", "b"]);
        assert!(text(&record, "odd").err().unwrap().to_string().contains("found \"1.5\", wanted a text or an integer"));
        assert!(number(&record, "none").err().unwrap().to_string().contains("`none`: found \"null\""));
        let fault = super::record("[1]").err().unwrap().to_string();
        assert!(fault.contains("found \"[1]\", wanted a record"), "{fault}");
        // brimdata/super#2523, jqlang/jq#1509: the last of two values was read silently.
        let fault = super::record(r#"{"id": 1, "x": 0, "id": 2}"#).err().unwrap().to_string();
        assert!(fault.contains("found `id` twice in") && fault.contains("wanted each name once"), "{fault}");
        assert!(super::record("{'id': 1, 'x': 0, 'id': 2}").is_err());
    }
}
