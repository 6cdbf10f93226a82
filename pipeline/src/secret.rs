//! Secrets: values that only the environment knows.
//!
//! A config holds the *name* of a variable, written `${env:NAME}`, and only in a field of type [`Secret`]. The value is read
//! when a stage asks for it. It is never part of a config, so it reaches no key, no entry and no record by that way; and
//! should a server's answer or an error repeat it, [`redact`] cuts it out of everything that the program tells or writes, also
//! where it is escaped or encoded on its way (`secret_matcher`).

use std::borrow::Cow;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use crate::secret_matcher::SecretMatcher;

/// How a text that names a secret begins.
pub(crate) const OPENING: &str = "${env:";
/// Marks the fields of type [`Secret`] in a JSON schema.
pub(crate) const FORMAT: &str = "secret";
/// What a field of type [`Secret`] says to anything else; the value at fault is not repeated.
pub(crate) const RULE: &str = "takes `${env:NAME}`, the name of an environment variable";

/// The values that may be about, with their variables; the longest first, because one may contain another.
static KNOWN: RwLock<Vec<(SecretMatcher, String)>> = RwLock::new(Vec::new());

/// A config field that holds a secret: `api_key: ${env:NAME}`. It is never part of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    variable: String,
}

/// The error of a stage that asked for a secret that is not there.
#[derive(Debug, thiserror::Error)]
#[error("the environment variable `{variable}` is not set\nhelp: put the secret into it; its value is stored nowhere")]
pub(crate) struct Unset {
    pub variable: String,
}

impl Secret {
    /// The secret in a variable; nothing is read yet.
    #[must_use]
    pub fn of(variable: &str) -> Self {
        Self { variable: variable.to_owned() }
    }
    /// The name of the variable.
    #[must_use]
    pub fn variable(&self) -> &str {
        &self.variable
    }
    /// Its value, for as short a time as possible: ask when it is used, and keep it nowhere.
    ///
    /// # Errors
    /// When the variable is not set, empty, or not UTF-8. The engine adds the place in the experiment file.
    pub fn reveal(&self) -> anyhow::Result<String> {
        watch(&self.variable).ok_or_else(|| unset(&self.variable))
    }
}

/// The error of a variable that is not set.
pub(crate) fn unset(variable: &str) -> anyhow::Error {
    Unset { variable: variable.to_owned() }.into()
}

/// The variable of a text that is `${env:NAME}` and nothing else.
pub(crate) fn variable(text: &str) -> Option<&str> {
    let name = text.strip_prefix(OPENING)?.strip_suffix('}')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (name.starts_with(|c: char| plain(c) && !c.is_ascii_digit()) && name.chars().all(plain)).then_some(name)
}

/// Reads a variable; from here on its value is cut out of texts.
pub(crate) fn watch(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty())?;
    if let Some(matcher) = SecretMatcher::of(&value) {
        let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|(old, _)| *old == matcher) {
            known.push((matcher, variable.to_owned()));
            known.sort_by_key(|(matcher, _)| std::cmp::Reverse(matcher.len()));
        }
    }
    Some(value)
}

/// Watches every secret that a config names.
pub(crate) fn watch_all(config: &Value) {
    match config {
        Value::String(text) => drop(variable(text).and_then(watch)),
        Value::Array(values) => values.iter().for_each(watch_all),
        Value::Object(map) => map.values().for_each(watch_all),
        _ => {}
    }
}

/// The text without the value of any secret that this program has met: each gives way to its `${env:NAME}`.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    let mut text = Cow::Borrowed(text);
    for (matcher, variable) in known.iter() {
        if let Some(clean) = matcher.replaced(&text, &format!("{OPENING}{variable}}}")) {
            text = Cow::Owned(clean);
        }
    }
    text
}

/// As [`redact`], for every text of a JSON value: in its printed form a secret could be escaped, and be missed.
pub(crate) fn redact_json(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(clean) = redact(text) {
                *text = clean;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(redact_json),
        Value::Object(map) => map.values_mut().for_each(redact_json),
        _ => {}
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OPENING}{}}}", self.variable)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Read as any value first: serde's own complaint would repeat what may be a secret.
        let value = Value::deserialize(deserializer)?;
        let name = value.as_str().and_then(variable).ok_or_else(|| de::Error::custom(RULE))?;
        Ok(Self::of(name))
    }
}

impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": FORMAT, "pattern": r"^\$\{env:[A-Za-z_][A-Za-z0-9_]*\}$" })
    }
}

/// Whether a text names a secret, or tries to.
pub(crate) fn is_reference(text: &str) -> bool {
    text.contains(OPENING)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_name_of_a_variable_is_read_and_nothing_else_is_repeated() {
        let read = |value: Value| serde_json::from_value::<Secret>(value).map_err(|error| error.to_string());
        let secret = read(json!("${env:MY_KEY_2}")).unwrap();
        assert_eq!((secret.variable(), json!(secret)), ("MY_KEY_2", json!("${env:MY_KEY_2}")));
        assert_eq!(format!("{secret:?}"), "Secret(${env:MY_KEY_2})");
        for wrong in
            [json!("sk-1234"), json!("${env:}"), json!("${env:2X}"), json!("a${env:X}"), json!("${env:X Y}"), json!(7)]
        {
            assert_eq!(read(wrong), Err(RULE.to_owned()));
        }
    }

    #[test]
    fn a_value_is_cut_out_once_it_is_known() {
        // Set wherever programs run.
        let value = std::env::var("PATH").unwrap();
        assert_eq!(Secret::of("PATH").reveal().unwrap(), value);
        assert_eq!(redact(&format!("<{value}> and {value}")), "<${env:PATH}> and ${env:PATH}");
        let mut row = json!({ "a": [format!("x{value}"), 3] });
        redact_json(&mut row);
        assert_eq!(row, json!({ "a": ["x${env:PATH}", 3] }));
        assert!(matches!(redact("nothing here"), Cow::Borrowed("nothing here")));
        let escaped = value.replace('/', "\\/");
        assert_eq!(redact(&format!("<{escaped}>")), "<${env:PATH}>");
        let unset = Secret::of("NO_SUCH_SECRET_IS_SET").reveal().unwrap_err().to_string();
        assert!(unset.starts_with("the environment variable `NO_SUCH_SECRET_IS_SET` is not set\nhelp: "), "{unset}");
    }
}
