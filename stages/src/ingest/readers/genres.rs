//! Genres in tables: names with a separator, a list of JSON, or the text of such a list.

use serde_json::Value;

use crate::ingest::readers::bad_rows::Fault;
use crate::ingest::readers::record::texts;
use crate::ingest::readers::{integers, python_literal};

/// How MovieLens and its copies write that a film has no genres.
pub(in crate::ingest) const NONE: &str = "(no genres listed)";

/// The genres in a value of `column`. The text of a list in JSON or Python, as pandas writes a column of lists, is read as that list,
/// and its records by their `name`; any other text is split at `separator`.
///
/// # Errors
/// Where a text in square brackets is not such a list.
pub(in crate::ingest) fn parse(value: Option<&Value>, separator: &str, column: &str) -> Result<Vec<String>, Fault> {
    let listed = |list: &Value| match list {
        Value::Array(list) => list.iter().flat_map(of_element).collect(),
        other => of_element(other),
    };
    let Some(Value::String(text)) = value else { return Ok(value.map_or_else(Vec::new, listed)) };
    let text = text.trim();
    if text == NONE {
        return Ok(Vec::new());
    }
    if text.starts_with('[') && text.ends_with(']') {
        let list = serde_json::from_str(text).ok().or_else(|| python_literal::parse(text));
        let wanted = "a list as ['Drama', 'War'], or names separated by the `separator`";
        return list.as_ref().map(listed).ok_or_else(|| Fault::value(column, text, wanted));
    }
    Ok(text.split(separator).map(str::trim).filter(|genre| !genre.is_empty()).map(str::to_owned).collect())
}

/// Numbers, too: some datasets have categories without names.
fn of_element(value: &Value) -> Vec<String> {
    match value {
        Value::Number(number) => {
            vec![
                number
                    .as_f64()
                    .and_then(integers::from_float)
                    .map_or_else(|| number.to_string(), |whole| whole.to_string()),
            ]
        }
        other => texts(Some(other)).into_iter().filter(|genre| genre != NONE).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_in_a_text_is_a_list() {
        let read = |value: Value| parse(Some(&value), "|", "g").map_err(|fault| fault.to_string());
        for (value, wanted) in [
            (json!("Drama|War| "), &["Drama", "War"][..]),
            // pandas-dev/pandas#58906: a column of lists comes back from CSV as their text.
            (json!("['Drama', 'Sci-Fi']"), &["Drama", "Sci-Fi"]),
            (json!(r#"["Drama", "Sci-Fi"]"#), &["Drama", "Sci-Fi"]),
            (json!("[{'id': 16, 'name': 'Animation'}, {'id': 35, 'name': 'Comedy'}]"), &["Animation", "Comedy"]),
            (json!([{"id": 16, "name": "Animation"}]), &["Animation"]),
            (json!("[27, 9.0]"), &["27", "9"]),
            (json!([27, "x"]), &["27", "x"]),
            (json!("[]"), &[]),
            (json!("(no genres listed)"), &[]),
            (json!(["(no genres listed)"]), &[]),
            (Value::Null, &[]),
        ] {
            assert_eq!(read(value.clone()).unwrap(), wanted, "{value}");
        }
        assert!(parse(None, "|", "g").ok().unwrap().is_empty());
        // huggingface/datasets#6778: arrays of NumPy are written without commas, and were one genre.
        let fault = read(json!("['Drama' 'War']")).unwrap_err();
        assert!(fault.contains("column `g`: found \"['Drama' 'War']\", wanted a list as ['Drama', 'War']"), "{fault}");
    }
}
