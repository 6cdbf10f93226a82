//! The side tables of `ingest.table`: the catalogue and the users.

use std::path::Path;

use anyhow::{Result, ensure};
use pipeline::Context;
use serde_json::Value;

use crate::artifact::{Items, Users};
use crate::ingest::datasets::table::{ItemColumns, Table, UserColumns};
use crate::ingest::readers::bad_rows::Fault;
use crate::ingest::readers::item_table::{check_kept, note_left_out};
use crate::ingest::readers::record::{Record, text};
use crate::ingest::readers::side_table::{SideTable, file_of};
use crate::ingest::readers::{genres, integers};

impl Table {
    pub(in crate::ingest) fn items(&self, asset: &Path, columns: &ItemColumns, cx: &Context) -> Result<Items> {
        let (path, names) = (file_of(asset, &columns.file)?, columns.names.as_deref());
        let table = SideTable::read(&path, names, columns.separator.as_deref(), self.quotes, self.on_bad_row, cx)?;
        let table = if self.trim_whitespace { table.trimmed()? } else { table };
        let genres = columns.genres.as_ref();
        let optional = [columns.title.as_ref(), columns.year.as_ref(), genres.map(|genres| &genres.column)];
        let features = &columns.features;
        optional.into_iter().flatten().chain(features).try_for_each(|name| table.require_column(name))?;
        check_kept(features, &table.path, "items.features")?;
        note_unread(&table, columns, cx);
        let (mut items, mut unread, mut unknown) = (Items::default(), 0, None);
        items.features = features.iter().map(|name| (name.clone(), Vec::new())).collect();
        table.for_each_id(&columns.id, self.on_bad_row, cx, |id, record| {
            let said = |name: &Option<String>| name.as_ref().map_or(Ok(String::new()), |name| text(record, name));
            let (title, year) = (said(&columns.title)?, said(&columns.year)?);
            // All checks come first: a dropped row must not leave a value in any column.
            let of_genres = match genres {
                Some(genres) => genres::parse(record.get(&genres.column), &genres.separator, &genres.column)?,
                None => Vec::new(),
            };
            let described: Vec<(&String, String)> =
                features.iter().map(|name| Ok((name, described(record, name)?))).collect::<Result<_, Fault>>()?;
            let read = integers::year(&year);
            if read.is_none() && !year.trim().is_empty() {
                unknown.get_or_insert((items.year.len() + 1, year.clone()));
                unread += 1;
            }
            items.title.push(if title.trim().is_empty() { id.clone() } else { title.trim().to_owned() });
            items.year.push(read);
            items.genres.push(of_genres);
            for (name, value) in described {
                items.features.entry(name.clone()).or_default().push(value);
            }
            items.id.push(id);
            Ok(())
        })?;
        if let (Some((item, text)), Some(column)) = (unknown, &columns.year) {
            cx.note(
                &format!("unknown `{column}`"),
                format!("{unread} values are not integers (the first: item {item}, {text:?})"),
            );
        }
        Ok(items)
    }

    pub(in crate::ingest) fn users(&self, asset: &Path, columns: &UserColumns, cx: &Context) -> Result<Users> {
        let (path, names) = (file_of(asset, &columns.file)?, columns.names.as_deref());
        let table = SideTable::read(&path, names, columns.separator.as_deref(), self.quotes, self.on_bad_row, cx)?;
        let table = if self.trim_whitespace { table.trimmed()? } else { table };
        let features: Vec<&String> =
            table.names.iter().filter(|name| **name != columns.id && !name.is_empty()).collect();
        ensure!(
            !features.iter().any(|name| *name == "id"),
            "{} has a column `id` beside `{}`\nhelp: rename it, because the ids of users have that name",
            table.path.display(),
            columns.id
        );
        let mut users =
            Users { features: features.iter().map(|name| ((*name).clone(), Vec::new())).collect(), id: Vec::new() };
        table.for_each_id(&columns.id, self.on_bad_row, cx, |id, record| {
            users.id.push(id);
            for (name, values) in &mut users.features {
                values.push(match record.get(name) {
                    None | Some(Value::Null) => String::new(),
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                });
            }
            Ok(())
        })?;
        Ok(users)
    }
}

/// A value as text; a list, also one that stands in a text, as a list in JSON.
fn described(record: &Record, name: &str) -> Result<String, Fault> {
    Ok(match record.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if text.trim().starts_with('[') && text.trim().ends_with(']') => {
            match genres::parse(record.get(name), "|", name) {
                Ok(list) => Value::from(list).to_string(),
                // Square brackets may stand around a text.
                Err(_) => text.clone(),
            }
        }
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(_)) => text(record, name).or_else(|_| Ok(record[name].to_string()))?,
        Some(list @ Value::Array(_)) => Value::from(genres::parse(Some(list), "|", name)?).to_string(),
        Some(other) => other.to_string(),
    })
}

/// Notes the columns of a catalogue that no setting names.
fn note_unread(table: &SideTable, columns: &ItemColumns, cx: &Context) {
    let genres = columns.genres.as_ref().map(|genres| &genres.column);
    let named = [Some(&columns.id), columns.title.as_ref(), columns.year.as_ref(), genres];
    let is_read = |name: &&String| named.contains(&Some(*name)) || columns.features.contains(name);
    note_left_out(table.names.iter().filter(|name| !name.is_empty() && !is_read(name)), "items.features", cx);
}
