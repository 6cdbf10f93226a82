//! The settings of `ingest.table` that read a sampled table.

use std::path::Path;

use super::column::Column;
use super::roles::{Choice, Roles};
use super::sampled_table::{Form, SampledTable};
use crate::ingest::datasets::table::{LogColumns, TimeColumn};
use crate::ingest::readers::decimal::Decimal;
use crate::ingest::readers::side_table::Quotes;

/// The columns of a sampled table.
pub(super) fn columns_of(table: &SampledTable) -> Vec<Column> {
    let column = |(at, name): (usize, &String)| {
        let values: Vec<&str> = table.rows.iter().map(|row| &*row[at]).collect();
        Column::new(name, &values, table.typed_times[at])
    };
    table.names.iter().enumerate().map(column).collect()
}

/// The names of a table's columns: where a file has none, those of the roles.
pub(super) fn column_names(table: &SampledTable, roles: &Roles) -> Vec<String> {
    let mut names = table.names.clone();
    if matches!(table.form, Form::Text { header: false, .. }) {
        let named = [
            ("user", Some(&roles.user)),
            ("item", Some(&roles.item)),
            ("rating", roles.rating.as_ref()),
            ("timestamp", roles.time.as_ref()),
        ];
        for (name, choice) in named {
            choice.into_iter().for_each(|choice| name.clone_into(&mut names[choice.at]));
        }
    }
    names
}

/// The settings of the log's columns.
pub(super) fn log_columns(
    table: &SampledTable,
    columns: &[Column],
    roles: &Roles,
    names: &[String],
    path: &Path,
) -> LogColumns {
    let name = |at: usize| names[at].clone();
    let has_comma = roles.rating.as_ref().is_some_and(|choice| columns[choice.at].decimal_comma);
    let time = |choice: &Choice| TimeColumn {
        column: name(choice.at),
        unit: None,
        format: columns[choice.at].times.date_form().cloned(),
    };
    LogColumns {
        file: file_name(path),
        names: matches!(table.form, Form::Text { header: false, .. }).then(|| names.to_vec()),
        separator: separator_of(table, path),
        user: name(roles.user.at),
        item: name(roles.item.at),
        rating: roles.rating.as_ref().map(|choice| name(choice.at)),
        decimal: if has_comma { Decimal::Comma } else { Decimal::Point },
        timestamp: roles.time.as_ref().map(time),
    }
}

/// The separator, where the extension does not say it.
pub(super) fn separator_of(table: &SampledTable, path: &Path) -> Option<String> {
    let Form::Text { separator, .. } = table.form else { return None };
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    let usual = match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("csv") => Some(","),
        Some("tsv" | "tab") => Some("\t"),
        _ => None,
    };
    (usual != Some(separator)).then(|| separator.to_owned())
}

/// Whether fields are quoted, where that differs from what the separator says.
pub(super) fn quotes_of(table: &SampledTable) -> Quotes {
    match table.form {
        Form::Text { separator, quotes, .. } if quotes != Quotes::ByEnding.allowed_in(separator) => {
            if quotes {
                Quotes::Always
            } else {
                Quotes::Never
            }
        }
        _ => Quotes::ByEnding,
    }
}

/// The setting `file` for a table that is an asset of its own.
pub(super) fn file_name(path: &Path) -> String {
    if path.is_dir() { ".".to_owned() } else { path.file_name().unwrap_or_default().to_string_lossy().into_owned() }
}
