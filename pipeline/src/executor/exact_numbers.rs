//! Numbers that come back from JSON to the bit: the digits of a config join its key.
//!
//! A JSON reader may miss the last bit of a number with many digits. So each number with a fraction is written as its bits.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A value whose numbers come back to the bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub(crate) struct ExactNumbers(pub Value);

impl From<Value> for ExactNumbers {
    fn from(written: Value) -> Self {
        Self(decode(written))
    }
}

impl From<ExactNumbers> for Value {
    fn from(exact: ExactNumbers) -> Self {
        encode(exact.0)
    }
}

/// The field that holds the bits; no config has a field of that name.
const BITS: &str = "\u{1}f64";

/// The value with the bits of its numbers.
fn encode(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let bits = number.as_f64().unwrap_or_default().to_bits();
            Value::Object(Map::from_iter([(BITS.to_owned(), Value::from(bits))]))
        }
        other => inside(other, encode),
    }
}

/// The value that [`encode`] was given.
fn decode(value: Value) -> Value {
    if let Some(bits) = value.get(BITS).and_then(Value::as_u64) {
        return Value::from(f64::from_bits(bits));
    }
    inside(value, decode)
}

fn inside(value: Value, change: fn(Value) -> Value) -> Value {
    match value {
        Value::Array(rows) => rows.into_iter().map(change).collect(),
        Value::Object(map) => Value::Object(map.into_iter().map(|(name, value)| (name, change(value))).collect()),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn every_number_comes_back(number in proptest::num::f64::NORMAL, whole in any::<i64>()) {
            let config = json!({ "a": [number, { "b": number }], "n": whole, "t": "1.5", "none": null });
            let text = serde_json::to_string(&ExactNumbers(config.clone())).unwrap();
            prop_assert_eq!(serde_json::from_str::<ExactNumbers>(&text).unwrap().0, config);
        }
    }
}
