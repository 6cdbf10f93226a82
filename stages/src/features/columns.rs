//! The columns of a table, each as a text for each row.

use std::borrow::Cow;
use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::kind::{Declared, FeatureKind};
use crate::artifact::{Items, Users};

/// A table of items or users by its columns; a missing value is an empty text.
pub struct Columns<'t> {
    /// `items` or `users`.
    pub of: &'static str,
    /// The ids of its rows.
    pub ids: &'t [String],
    /// The values by the column's name.
    pub values: BTreeMap<&'t str, Cow<'t, [String]>>,
}

impl<'t> Columns<'t> {
    /// Those of a catalogue: `year`, `genres` (the texts of lists) and every other feature. The title is a name and no column.
    #[must_use]
    pub fn of_items(items: &'t Items) -> Self {
        let mut values: BTreeMap<&str, Cow<[String]>> = of_map(&items.features);
        if items.year.iter().any(Option::is_some) {
            let year = |year: &Option<i32>| year.map_or_else(String::new, |year| year.to_string());
            values.insert("year", items.year.iter().map(year).collect());
        }
        if items.genres.iter().any(|genres| !genres.is_empty()) {
            let text = |genres: &Vec<String>| match genres.is_empty() {
                true => String::new(),
                false => serde_json::Value::from(genres.as_slice()).to_string(),
            };
            values.insert("genres", items.genres.iter().map(text).collect());
        }
        Self { of: "items", ids: &items.id, values }
    }

    /// Those of the users.
    #[must_use]
    pub fn of_users(users: &'t Users) -> Self {
        Self { of: "users", ids: &users.id, values: of_map(&users.features) }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The values of a column that a setting names.
    ///
    /// # Errors
    /// Where there is no such column, with the nearest name and those that there are.
    pub fn column(&self, name: &str) -> Result<&[String]> {
        if let Some(values) = self.values.get(name) {
            return Ok(values);
        }
        let known: Vec<&str> = self.values.keys().copied().collect();
        let alike = |known: &&str| strsim::normalized_damerau_levenshtein(name, known);
        let nearest =
            known.iter().copied().max_by(|a, b| alike(a).total_cmp(&alike(b))).filter(|known| alike(known) > 0.5);
        let meant = nearest.map_or_else(String::new, |known| format!("did you mean `{known}`? "));
        let has = match known.is_empty() {
            true => "it has no column with a value".to_owned(),
            false => format!("it has {}", known.join(", ")),
        };
        let read = match self.of {
            "items" => "`items.features` of `ingest.table` reads a column into the catalogue",
            _ => "the stage that reads the log takes the table of users",
        };
        bail!("the table of {} has no column `{name}`\nhelp: {meant}{has}; {read}", self.of)
    }

    /// The columns that `declared` does not name.
    pub fn undeclared<'s>(&'s self, declared: &'s Declared) -> impl Iterator<Item = &'s str> {
        self.values.keys().copied().filter(|name| !declared.contains_key(*name))
    }
}

fn of_map(features: &BTreeMap<String, Vec<String>>) -> BTreeMap<&str, Cow<'_, [String]>> {
    features.iter().map(|(name, values)| (name.as_str(), Cow::Borrowed(values.as_slice()))).collect()
}

/// The values in a text of several: of a list of JSON or Python, or between separators.
pub(super) fn several(text: &str, separator: &str) -> Vec<String> {
    let text = text.trim();
    if text.starts_with('[') && text.ends_with(']') {
        let list = serde_json::from_str::<Vec<serde_json::Value>>(text);
        if let Ok(list) = list.or_else(|_| serde_json::from_str(&text.replace('\'', "\""))) {
            let one = |value: serde_json::Value| match value {
                serde_json::Value::String(text) => text.trim().to_owned(),
                serde_json::Value::Null => String::new(),
                other => other.to_string(),
            };
            return list.into_iter().map(one).filter(|value| !value.is_empty()).collect();
        }
    }
    text.split(separator).map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
}

/// A number, nothing where the text is empty or says that there is none, and an error with the text otherwise.
pub(super) fn number(text: &str) -> Result<Option<f64>, &str> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Some(number)),
        Ok(number) if number.is_nan() => Ok(None),
        _ if text.is_empty() || ["na", "n/a", "null", "none"].contains(&text.to_lowercase().as_str()) => Ok(None),
        _ => Err(text),
    }
}

/// The kind that a column's values look like: numbers of more than twelve values are numeric, what a separator parts into repeated values is
/// multi-valued, few values are categorical, and long texts of words are text. `None` where every row has a value of its own.
#[must_use]
pub fn likely_kind<'v>(values: impl Iterator<Item = &'v str> + Clone) -> Option<FeatureKind> {
    let present = values.filter(|value| !value.trim().is_empty());
    let count = present.clone().count();
    let distinct = present.clone().collect::<std::collections::BTreeSet<_>>().len();
    if distinct < 2 {
        return None;
    }
    if distinct > 12 && present.clone().all(|value| number(value).is_ok()) {
        return Some(FeatureKind::Numeric);
    }
    let listed = present.clone().all(|value| value.trim().starts_with('[') && value.trim().ends_with(']'));
    for separator in ["|", ";", ","] {
        let parts: Vec<Vec<String>> = present.clone().map(|value| several(value, separator)).collect();
        let all = parts.iter().map(Vec::len).sum::<usize>();
        let kinds = parts.iter().flatten().collect::<std::collections::BTreeSet<_>>().len();
        let short = parts.iter().flatten().all(|part| part.chars().count() <= 40);
        if all > count && short && kinds * 2 <= all {
            return Some(FeatureKind::MultiValued(separator.to_owned()));
        }
        if listed {
            return Some(FeatureKind::MultiValued(separator.to_owned()));
        }
    }
    let words = present.map(|value| value.split_whitespace().count()).sum::<usize>();
    match words > 4 * count {
        true => Some(FeatureKind::Text),
        false => (distinct * 2 <= count || distinct <= 12).then_some(FeatureKind::Categorical),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_likely_kind_is_found_by_the_values() {
        let kind = |values: &[&str]| likely_kind(values.iter().copied());
        let prices: Vec<String> = (0..20).map(|k| format!("{}.5", k * 3)).collect();
        let prices: Vec<&str> = prices.iter().map(String::as_str).collect();
        assert_eq!(kind(&prices), Some(FeatureKind::Numeric));
        assert_eq!(kind(&["1", "0", "1", "", "0"]), Some(FeatureKind::Categorical), "few numbers are classes");
        assert_eq!(kind(&["a|b", "b", "a|c", "c|b"]), Some(FeatureKind::MultiValued("|".into())));
        assert_eq!(kind(&["['a', 'b']", "['c']"]), Some(FeatureKind::MultiValued("|".into())));
        assert_eq!(kind(&["red", "blue", "red"]), Some(FeatureKind::Categorical));
        let words = ["a film about two friends, and a dog", "a slow tale of an old house by the sea"];
        assert_eq!(kind(&words), Some(FeatureKind::Text));
        assert_eq!(kind(&["x", "x", ""]), None, "one value says nothing");
    }
}
