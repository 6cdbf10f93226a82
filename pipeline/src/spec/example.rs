//! An example of a value, by its schema: the default, else something of the type.

use serde_json::{Map, Value};

use super::schema_lookup::{SchemaLookup, Step};

/// Mappings within mappings that an example shows.
const DEPTH: usize = 3;

impl SchemaLookup {
    /// `gamma: 0.9` for the setting at a path; none for a value of a list, or where the schema says nothing.
    pub fn example(&self, path: &[Step]) -> Option<String> {
        let Some(Step::Key(name)) = path.last() else { return None };
        Some(format!("{name}: {}", flow(&self.example_of(self.at(path)?, 0)?)))
    }

    /// A value that the schema takes.
    pub(super) fn example_of(&self, here: &Value, depth: usize) -> Option<Value> {
        let plain = |value: &&Value| !value.is_null() && **value != Value::Object(Map::new());
        if let Some(default) = here.get("default").filter(plain) {
            return Some(default.clone());
        }
        let here = self.target(here);
        if let Some(only) = here.get("const").or_else(|| here.get("enum")?.as_array()?.first()) {
            return Some(only.clone());
        }
        // An optional value is a choice between a value and null.
        let choices = ["oneOf", "anyOf"].into_iter().filter_map(|name| here.get(name)?.as_array()).flatten();
        let is_null = |choice: &&Value| choice.get("type").and_then(Value::as_str) == Some("null");
        if let Some(choice) = choices.into_iter().find(|choice| !is_null(choice)) {
            return self.example_of(choice, depth);
        }
        let kind = here.get("type")?;
        let kind =
            kind.as_str().or_else(|| kind.as_array()?.iter().filter_map(Value::as_str).find(|kind| *kind != "null"))?;
        let least = here.get("minimum").and_then(Value::as_f64).unwrap_or(0.0);
        Some(match kind {
            "boolean" => true.into(),
            "integer" => (least.max(1.0) as u64).into(),
            "number" => 0.5_f64.max(least).into(),
            "string" => "text".into(),
            "array" => {
                let items = here.get("items").and_then(|items| self.example_of(items, depth));
                let least = here.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, 4) as usize;
                items.map_or_else(|| Value::Array(Vec::new()), |item| vec![item; least].into())
            }
            "object" if depth < DEPTH => {
                let names =
                    here.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
                let value = |name: &str| {
                    let field = here.get("properties").and_then(|properties| properties.get(name));
                    Some((name.to_owned(), self.example_of(field?, depth + 1)?))
                };
                Value::Object(names.filter_map(value).collect())
            }
            _ => return None,
        })
    }
}

/// A value as YAML in one line.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
                && !["null", "true", "false", "yes", "no", "on", "off"].contains(&text.as_str());
            if is_plain { text.clone() } else { value.to_string() }
        }
        Value::Array(values) => format!("[{}]", values.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {}", flow(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_in_one_line() {
        let value = json!({ "a": [1, 0.5, true], "b": "x", "c": "with: colon", "d": {}, "e": null });
        assert_eq!(flow(&value), "{ a: [1, 0.5, true], b: x, c: \"with: colon\", d: {}, e: null }");
    }
}
