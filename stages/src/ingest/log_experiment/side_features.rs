//! The other columns of a catalogue and of a table of users: what each is likely to be, for lines that a person may take in.

use std::collections::BTreeSet;

use super::sampled_table::SampledTable;
use super::yaml_text::{counted, scalar};
use crate::features::{FeatureKind, likely_kind};
use crate::ingest::datasets::table::{ItemColumns, UserColumns};

/// Names of columns that every catalogue has.
pub(super) const RESERVED: [&str; 4] = ["id", "title", "year", "genres"];

/// A column with its likely kind, and why.
pub(super) struct Likely {
    pub name: String,
    pub kind: FeatureKind,
    pub why: String,
}

/// What a column of these values is likely to be; `None` where they show no kind.
fn likely<'v>(name: &str, values: impl Iterator<Item = &'v str> + Clone) -> Option<Likely> {
    let present = || values.clone().filter(|value| !value.trim().is_empty());
    // Row numbers say nothing.
    let numbers: Vec<i64> = present().map_while(|value| value.trim().parse().ok()).collect();
    if numbers.len() == values.clone().count() && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1) {
        return None;
    }
    let kind = likely_kind(present())?;
    let distinct = present().collect::<BTreeSet<_>>().len();
    let why = match &kind {
        FeatureKind::Numeric => "numbers".to_owned(),
        FeatureKind::Categorical => counted(distinct, "value"),
        FeatureKind::MultiValued(separator) => format!("values between `{separator}`, or lists"),
        FeatureKind::Text => "words".to_owned(),
    };
    Some(Likely { name: name.to_owned(), kind, why })
}

/// A column of sequences with spaces between their values, as `RecBole` has them: values that come again, or words.
pub(super) fn likely_sequence(name: &str, values: &[&str]) -> Option<Likely> {
    let parts: Vec<&str> = values.iter().flat_map(|value| value.split_whitespace()).collect();
    let distinct = parts.iter().collect::<BTreeSet<_>>().len();
    let come_again = 2 * distinct <= parts.len();
    let kind = if come_again { FeatureKind::MultiValued(" ".to_owned()) } else { FeatureKind::Text };
    let why = if come_again { format!("sequences of {}", counted(distinct, "value")) } else { "words".to_owned() };
    (distinct > 1).then(|| Likely { name: name.to_owned(), kind, why })
}

/// The columns of a catalogue or of users that show a kind.
pub(super) fn of_columns<'c>(columns: impl Iterator<Item = (&'c String, Vec<&'c str>)>) -> Vec<Likely> {
    columns.filter_map(|(name, values)| likely(name, values.iter().copied())).collect()
}

/// The columns of `table` besides `taken`, those of which a sample shows a kind.
fn others(table: &SampledTable, taken: &[Option<&String>]) -> Vec<Likely> {
    let free = table.names.iter().enumerate().filter(|(_, name)| !name.is_empty() && !taken.contains(&Some(*name)));
    free.filter_map(|(at, name)| likely(name, table.rows.iter().map(move |row| &*row[at]))).collect()
}

/// Those of a catalogue that no setting names.
pub(super) fn of_items(table: &SampledTable, columns: &ItemColumns) -> Vec<Likely> {
    let genres = columns.genres.as_ref().map(|genres| &genres.column);
    let mut found = others(table, &[Some(&columns.id), columns.title.as_ref(), columns.year.as_ref(), genres]);
    found.retain(|column| !RESERVED.contains(&column.name.as_str()));
    found
}

/// Those of the users.
pub(super) fn of_users(table: &SampledTable, columns: &UserColumns) -> Vec<Likely> {
    others(table, &[Some(&columns.id)])
}

/// A map of columns and kinds as YAML, and the reasons.
fn declared(columns: &[Likely]) -> (String, String) {
    let kind = |kind: &FeatureKind| match kind {
        FeatureKind::MultiValued(separator) => {
            format!("{{ multi_valued: {} }}", serde_json::Value::from(separator.as_str()))
        }
        other => other.name().to_owned(),
    };
    let of = |column: &Likely| format!("{}: {}", scalar(&column.name), kind(&column.kind));
    let why = |column: &Likely| format!("{}: {}", column.name, column.why);
    let join = |texts: Vec<String>| texts.join(", ");
    (join(columns.iter().map(of).collect()), columns.iter().map(why).collect::<Vec<_>>().join("; "))
}

/// Commented lines of a world that declare the columns; empty where there is none. With a year and genres where the catalogue has them
/// (`described`), which a declaration would leave out; `setting` is the one that keeps columns of items, where they have to be named.
pub(super) fn world_lines(
    mut items: Vec<Likely>,
    users: Vec<Likely>,
    described: [bool; 2],
    setting: Option<&str>,
) -> String {
    // A text needs vectors, which a stage of its own makes.
    let mut texts = Vec::new();
    items.retain(|column| {
        let is_text = column.kind == FeatureKind::Text;
        if is_text {
            texts.push(column.name.clone());
        }
        !is_text
    });
    let users: Vec<Likely> = users.into_iter().filter(|column| column.kind != FeatureKind::Text).collect();
    if items.is_empty() && users.is_empty() {
        return String::new();
    }
    let mut lines =
        "      # Other columns that the world may read, and what each looks like:\n\x20     # features:\n".to_owned();
    if !items.is_empty() {
        let (mut map, why) = declared(&items);
        let [year, genres] = described;
        if year {
            map += ", year: numeric";
        }
        if genres {
            map += ", genres: { multi_valued: \"|\" }";
        }
        let setting = setting.map(|setting| format!("with `{setting}` of `log`. ")).unwrap_or_default();
        let texts = match texts.is_empty() {
            true => String::new(),
            false => format!("; words, through the stage `embed`: {}", texts.join(", ")),
        };
        lines += &format!("      #   items: {{ {map} }} # {setting}{why}{texts}\n");
    }
    if !users.is_empty() {
        let (map, why) = declared(&users);
        lines += &format!("      #   users: {{ {map} }} # {why}\n");
    }
    lines.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_of_values_that_come_again_are_no_words() {
        let kind = |values: &[&str]| likely_sequence("c", values).map(|found| found.kind);
        assert_eq!(kind(&["red big", "red small", "big", "small red"]), Some(FeatureKind::MultiValued(" ".into())));
        assert_eq!(kind(&["The Good", "Heat of a night"]), Some(FeatureKind::Text));
        assert_eq!(kind(&["", ""]), None);
    }
}
