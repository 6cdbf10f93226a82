//! The tables of items and users: those of the dataset, or the ids of the log with descriptions where there are any.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use pipeline::Context;

use crate::artifact::{Items, TextFile, Users};
use crate::ingest::Outputs;
use crate::ingest::readers::bad_rows::{BadRows, Fault, OnBadRow};
use crate::ingest::readers::json_array::as_lines;
use crate::ingest::readers::record::{Record, record};
use crate::ingest::readers::shard::ReadLog;

/// The outputs: the log with the tables of users and items, or with the ids that it mentions.
pub(in crate::ingest) fn assemble(read: ReadLog, users: Option<Users>, items: Option<Items>) -> Outputs {
    let [new_users, new_items] = read.new;
    let items = items.unwrap_or_else(|| untitled(new_items));
    let users = users.unwrap_or_else(|| Users { id: new_users, features: BTreeMap::new() });
    Outputs { interactions: read.interactions, items, users }
}

/// Items with their ids as titles.
fn untitled(id: Vec<String>) -> Items {
    Items { title: id.clone(), year: vec![None; id.len()], genres: vec![Vec::new(); id.len()], id, ..Items::default() }
}

/// Refuses columns to keep that would take the place of one that a catalogue has; `setting` names them.
pub(in crate::ingest) fn check_kept(kept: &[String], place: &Path, setting: &str) -> Result<()> {
    if let Some(name) = kept.iter().find(|name| ["id", "title", "year", "genres"].contains(&name.as_str())) {
        bail!(
            "`{setting}` names the column `{name}` of {}, and the catalogue has a column of that name\nhelp: set `{}`, or rename the column",
            place.display(),
            setting.replace("features", name)
        );
    }
    Ok(())
}

/// Notes the columns of a catalogue that are not read, and the setting that would.
pub(in crate::ingest) fn note_left_out<'n>(columns: impl Iterator<Item = &'n String>, setting: &str, cx: &Context) {
    let columns: Vec<&str> = columns.map(String::as_str).collect();
    if !columns.is_empty() {
        cx.note("columns left out", format!("items: {} (`{setting}` reads them)", columns.join(", ")));
    }
}

/// The description of an item in a record.
pub(in crate::ingest) struct ItemRecord {
    pub id: String,
    /// Empty where the record has none.
    pub title: String,
    pub year: Option<i32>,
    pub genres: Vec<String>,
}

/// The items of the log, described by the records of a file of lines or of one array; the first record of an item counts. Items
/// without a record have their ids as titles; records of other items are ignored.
pub(in crate::ingest) fn describe_items(
    ids: Vec<String>,
    file: TextFile,
    on_bad_row: OnBadRow,
    cx: &Context,
    describe: impl Fn(&Record) -> Result<ItemRecord, Fault>,
) -> Result<Items> {
    let file = as_lines(file, cx)?;
    let place = || format!("cannot read {}", file.name().display());
    let mut items = untitled(ids);
    let mut open: HashMap<String, usize> = items.id.iter().cloned().zip(0..).collect();
    let mut bad = BadRows::default();
    let (reader, _) = file.open()?;
    let bar = cx.bar("describe", Some(reader.get_ref().metadata().with_context(place)?.len()), "bytes");
    for (number, line) in reader.split(b'\n').enumerate() {
        let line = line.with_context(place)?;
        bar.inc(line.len() as u64 + 1);
        if number % 4096 == 0 {
            cx.check_cancelled()?;
        }
        let line = str::from_utf8(&line)
            .map_err(|_| Fault::row(format!("{:?}", String::from_utf8_lossy(&line[..line.len().min(60)])), "UTF-8"));
        if line.as_ref().is_ok_and(|line| line.trim().is_empty()) {
            continue;
        }
        match line.and_then(record).and_then(|record| describe(&record)) {
            Ok(found) => {
                let Some(row) = open.remove(&found.id) else { continue };
                if !found.title.trim().is_empty() {
                    items.title[row] = found.title.trim().to_owned();
                }
                items.year[row] = found.year;
                items.genres[row] = found.genres;
            }
            Err(fault) => bad.add(fault, || number as u64 + 1),
        }
    }
    bad.enforce(file.name(), on_bad_row, cx)?;
    if !open.is_empty() {
        cx.note("without a record", format!("{} of {} items; their titles are their ids", open.len(), items.len()));
    }
    Ok(items)
}
