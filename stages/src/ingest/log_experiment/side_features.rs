//! The other columns of a catalogue and of a table of users: what each is likely to be, for lines that a person may take in.

use super::super::table::{ItemColumns, UserColumns};
use super::sampled_table::SampledTable;
use super::yaml_text::scalar;
use crate::features::{FeatureKind, likely_kind};

/// A column with its likely kind, and why.
pub(super) struct Likely {
    pub name: String,
    pub kind: FeatureKind,
    pub why: String,
}

/// The columns of `table` besides `taken`, those of which a sample shows a kind.
fn likely(table: &SampledTable, taken: &[Option<&String>]) -> Vec<Likely> {
    let column = |(at, name): (usize, &String)| {
        let values = || table.rows.iter().map(|row| &*row[at]).filter(|value| !value.trim().is_empty());
        // Row numbers say nothing.
        let numbers: Vec<i64> = values().map_while(|value| value.trim().parse().ok()).collect();
        if numbers.len() == table.rows.len() && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1) {
            return None;
        }
        let kind = likely_kind(values())?;
        let distinct = values().collect::<std::collections::BTreeSet<_>>().len();
        let why = match &kind {
            FeatureKind::Numeric => "numbers".to_owned(),
            FeatureKind::Categorical => format!("{distinct} values"),
            FeatureKind::MultiValued(separator) => format!("values between `{separator}`, or lists"),
            FeatureKind::Text => "words".to_owned(),
        };
        Some(Likely { name: name.clone(), kind, why })
    };
    let free = table.names.iter().enumerate().filter(|(_, name)| !name.is_empty() && !taken.contains(&Some(*name)));
    free.filter_map(column).collect()
}

/// Those of a catalogue that no setting names.
pub(super) fn of_items(table: &SampledTable, columns: &ItemColumns) -> Vec<Likely> {
    let genres = columns.genres.as_ref().map(|genres| &genres.column);
    let reserved = ["id", "title", "year", "genres"];
    let mut found = likely(table, &[Some(&columns.id), columns.title.as_ref(), columns.year.as_ref(), genres]);
    found.retain(|column| !reserved.contains(&column.name.as_str()));
    found
}

/// Those of the users.
pub(super) fn of_users(table: &SampledTable, columns: &UserColumns) -> Vec<Likely> {
    likely(table, &[Some(&columns.id)])
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

/// Commented lines of a world that declare the columns; empty where there is none. With a year and genres, which a declaration would leave out.
pub(super) fn world_lines(mut items: Vec<Likely>, users: Vec<Likely>, columns: Option<&ItemColumns>) -> String {
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
        if columns.is_some_and(|columns| columns.year.is_some()) {
            map += ", year: numeric";
        }
        if columns.is_some_and(|columns| columns.genres.is_some()) {
            map += ", genres: { multi_valued: \"|\" }";
        }
        let texts = match texts.is_empty() {
            true => String::new(),
            false => format!("; words, through the stage `embed`: {}", texts.join(", ")),
        };
        lines += &format!("      #   items: {{ {map} }} # with `items.features` of `log`. {why}{texts}\n");
    }
    if !users.is_empty() {
        let (map, why) = declared(&users);
        lines += &format!("      #   users: {{ {map} }} # {why}\n");
    }
    lines.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}
