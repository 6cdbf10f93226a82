//! Columns in words, for prompts: `brand: Acme, price: 12.5`.

use anyhow::Result;

use super::columns::{Columns, several};
use super::kind::{Declared, FeatureKind};

/// Characters of a value, and of a text.
const VALUE: usize = 60;
const TEXT: usize = 200;

/// What is told of each row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// One a row; empty where all values are missing.
    pub texts: Vec<String>,
    /// How many values were cut.
    pub cut: usize,
}

/// The `declared` columns of each row in the order of their names: `column: value`, several values by a slash, missing ones left out; a
/// value is cut at 60 characters, a text at 200. `line` makes one line of a value.
///
/// # Errors
/// Where there is no such column.
pub fn told(table: &Columns<'_>, declared: &Declared, line: impl Fn(&str, usize) -> String) -> Result<Told> {
    let mut told = Told { texts: vec![String::new(); table.len()], cut: 0 };
    for (name, kind) in declared {
        let (values, longest) = (table.column(name)?, if *kind == FeatureKind::Text { TEXT } else { VALUE });
        for (text, value) in told.texts.iter_mut().zip(values) {
            let value = match kind {
                FeatureKind::MultiValued(separator) => several(value, separator).join("/"),
                _ => value.clone(),
            };
            let whole = line(&value, usize::MAX);
            if whole.is_empty() {
                continue;
            }
            told.cut += usize::from(whole.chars().count() > longest);
            let separator = if text.is_empty() { "" } else { ", " };
            *text += &format!("{separator}{}: {}", line(name, VALUE), line(&value, longest));
        }
    }
    Ok(told)
}
