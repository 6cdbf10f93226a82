//! Rows of a log in columns: one shard, and the concatenation of shards in their order.
//!
//! Ids without a side table are numbered as they appear: within a shard by the shard, over all shards when they are concatenated.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use foldhash::fast::FixedState;
use pipeline::Context;
use serde::{Deserialize, Serialize};

use crate::artifact::Interactions;
use crate::ingest::readers::bad_rows::{BadRows, Fault, OnBadRow};
use crate::ingest::readers::bitpack::{pack, unpack};
use crate::ingest::readers::casts::Seconds;
use crate::ingest::readers::integers;
use crate::ingest::readers::time_form::TimeForm;
use crate::ingest::readers::time_unit::{Unit, unit_warning};

/// The numbers of ids. The maps are never iterated.
///
/// Ids are short and many, and their lookup took half of the time. A small decimal number is an index into a table; other short ids
/// are encoded as one number each.
#[derive(Default)]
struct IdIndex {
    /// The number of the id plus one; 0 where there is none.
    decimal: Vec<u32>,
    short: HashMap<u128, u32, FixedState>,
    long: HashMap<String, u32, FixedState>,
}

impl IdIndex {
    fn get(&self, id: &str) -> Option<u32> {
        match Key::of(id) {
            Key::Decimal(place) => self.decimal.get(place)?.checked_sub(1),
            Key::Short(key) => self.short.get(&key).copied(),
            Key::Long => self.long.get(id).copied(),
        }
    }

    fn insert(&mut self, id: &str, number: u32) {
        match Key::of(id) {
            Key::Decimal(place) => {
                if place >= self.decimal.len() {
                    self.decimal.resize(place + 1, 0);
                }
                self.decimal[place] = number + 1;
            }
            Key::Short(key) => {
                self.short.insert(key, number);
            }
            Key::Long => {
                self.long.insert(id.to_owned(), number);
            }
        }
    }
}

/// Which table an id is looked up in.
enum Key {
    /// Up to six digits, the first of them no zero: a table of at most 4 MB.
    Decimal(usize),
    /// At most 15 bytes behind a 1, which tells how many they are.
    Short(u128),
    Long,
}

impl Key {
    fn of(id: &str) -> Self {
        let bytes = id.as_bytes();
        if bytes.len() <= 6 && matches!(bytes, [b'1'..=b'9', ..]) && bytes.iter().all(u8::is_ascii_digit) {
            return Self::Decimal(bytes.iter().fold(0, |value, digit| 10 * value + usize::from(digit - b'0')));
        }
        if bytes.len() >= size_of::<u128>() {
            return Self::Long;
        }
        Self::Short(bytes.iter().fold(1, |key, &byte| (key << 8) | u128::from(byte)))
    }
}

/// How databases, and IMDb, write missing values.
pub(in crate::ingest) const MISSING: &str = "\\N";

/// One row of the log.
pub(in crate::ingest) struct Row<'a> {
    /// The user's id, not empty.
    pub user: Cow<'a, str>,
    /// The item's id, not empty.
    pub item: Cow<'a, str>,
    /// Finite.
    pub rating: f32,
    /// The time.
    pub timestamp: Seconds,
}

/// A log as read from a file.
#[derive(Debug, Default, PartialEq)]
pub(in crate::ingest) struct ReadLog {
    /// The valid rows, in the order of the file.
    pub interactions: Interactions,
    /// Ids of users and of items by number; empty where they are known from a side table.
    pub new: [Vec<String>; 2],
    /// The invalid rows.
    pub bad: BadRows,
    /// Number of all rows of the file.
    pub rows: u64,
    /// Number of valid rows whose time was rounded to a second.
    pub rounded: u64,
}

impl ReadLog {
    /// Refuses or drops invalid rows, reads ids that are integers written as floats as integers ([`integers`]), and notes these and
    /// rounded times on the run. Warns about suspicious ids and times, in a format with times in seconds.
    ///
    /// # Errors
    /// Where rows are refused, or none is left.
    pub fn finish(&mut self, path: &Path, on_bad_row: OnBadRow, cx: &Context) -> Result<()> {
        self.finish_in(Unit::Seconds, None, path, on_bad_row, cx)
    }

    /// As [`ReadLog::finish`], for a log with times in `unit`; `setting` is the setting of the unit.
    ///
    /// # Errors
    /// Where rows are refused, or none is left.
    pub fn finish_in(
        &mut self,
        unit: Unit,
        setting: Option<&str>,
        path: &Path,
        on_bad_row: OnBadRow,
        cx: &Context,
    ) -> Result<()> {
        self.bad.enforce(path, on_bad_row, cx)?;
        let rows = self.interactions.len();
        if self.rounded > 0 {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            cx.note(&format!("times in {name}"), format!("{} of {rows} rounded down to whole seconds", self.rounded));
        }
        let mut doubts = Vec::new();
        doubts.extend(self.order_warning());
        for (ids, of) in self.new.iter_mut().zip(["user", "item"]) {
            if integers::strip_fractions(ids) {
                integers::note_stripped(of, path, cx);
            }
            doubts.extend(integers::id_warnings(ids, of));
        }
        doubts.extend(unit_warning(&self.interactions.timestamp, unit, setting));
        for doubt in doubts {
            cx.warn(format!("{}: {doubt}", path.file_name().unwrap_or_default().to_string_lossy()));
        }
        not_empty(rows, path)
    }
}

impl ReadLog {
    /// Notes on the run what the times of a column were found to be.
    pub fn note_times(&self, form: &TimeForm, column: &str, cx: &Context) {
        cx.note("times", form.note(column, &self.interactions.timestamp));
    }

    /// A warning where times were rounded, so that rows of one user share a second.
    fn order_warning(&self) -> Option<String> {
        if self.rounded == 0 {
            return None;
        }
        let log = &self.interactions;
        let mut seen = HashSet::with_capacity(log.len());
        let shared = log.user.iter().zip(&log.timestamp).filter(|(user, time)| !seen.insert((**user, **time))).count();
        (shared > 0).then(|| {
            format!(
                "{shared} of {} rows have the same second as an earlier row of the same user. Times are stored in whole seconds, so rows \
                 of one second keep the order of the file, and `split` holds out the last of them; sort the file by time first",
                log.len()
            )
        })
    }

    /// Concatenates logs, each with a flag whether its rows are kept. Ids without a side table are numbered over all of them, so that
    /// an id has the same number whichever logs are kept.
    pub fn concatenate(mut logs: Vec<(Self, bool)>) -> Self {
        if logs.len() == 1 {
            return logs.remove(0).0;
        }
        let (mut whole, mut places) = (Self::default(), Numbering::default());
        for (log, is_kept) in logs {
            let numbers: Vec<Vec<u32>> =
                (0..2).map(|k| log.new[k].iter().map(|id| places.number(k, id, &mut whole.new[k])).collect()).collect();
            if !is_kept {
                continue;
            }
            let number = |k: usize, x: u32| numbers[k].get(x as usize).copied().unwrap_or(x);
            whole.interactions.user.extend(log.interactions.user.iter().map(|&x| number(0, x)));
            whole.interactions.item.extend(log.interactions.item.iter().map(|&x| number(1, x)));
            whole.interactions.rating.extend(&log.interactions.rating);
            whole.interactions.timestamp.extend(&log.interactions.timestamp);
            whole.rows += log.rows;
        }
        whole
    }
}

/// Notes on the run that a log has no ratings.
pub(in crate::ingest) fn note_missing_ratings(path: &Path, cx: &Context) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    cx.note(
        "ratings",
        format!(
            "none are read from {name}: each row counts as 1; if the file has a column of ratings, name it in `rating`"
        ),
    );
}

/// Refuses a log without rows: later stages would report it less clearly.
pub(in crate::ingest) fn not_empty(rows: usize, path: &Path) -> Result<()> {
    ensure!(
        rows > 0,
        "{} holds no valid interaction\nhelp: check that it is the right file and complete, and which rows `on_bad_row: drop` dropped",
        path.display()
    );
    Ok(())
}

/// The known ids of users and items.
pub(in crate::ingest) struct KnownIds<'a> {
    columns: [&'a str; 2],
    known: [Option<IdIndex>; 2],
}

impl<'a> KnownIds<'a> {
    /// The known ids of the columns of users and items, by number; `None` where any id may occur.
    pub fn new(columns: [&'a str; 2], known: [Option<&'a [String]>; 2]) -> Self {
        let numbers = |ids: &[String]| {
            let mut numbers = IdIndex::default();
            ids.iter().zip(0..).for_each(|(id, number)| numbers.insert(id, number));
            numbers
        };
        Self { columns, known: known.map(|ids| ids.map(numbers)) }
    }

    /// Whether a user may occur.
    pub fn knows_user(&self, id: &str) -> bool {
        let known = self.known[0].as_ref();
        known.is_none_or(|known| known.get(id).is_some() || integers::id(id).is_some_and(|id| known.get(id).is_some()))
    }

    /// The numbers of a row's ids, where ids are known.
    fn find(&self, row: &Row<'_>) -> Result<[Option<u32>; 2], Fault> {
        let mut numbers = [None; 2];
        for (k, id) in [&row.user, &row.item].into_iter().enumerate() {
            if id.is_empty() || id == MISSING {
                return Err(Fault::value(self.columns[k], id, "an id"));
            }
            if let Some(known) = &self.known[k] {
                // An id written as a float is also looked up as an integer.
                let number = known.get(id).or_else(|| known.get(integers::id(id)?));
                numbers[k] = Some(number.ok_or_else(|| Fault::value(self.columns[k], id, "an id of the side table"))?);
            }
        }
        Ok(numbers)
    }
}

/// Numbers of the ids of users and items, by first appearance.
#[derive(Default)]
pub(in crate::ingest) struct Numbering([IdIndex; 2]);

impl Numbering {
    /// The number of an id; a new one is appended to `in_order`.
    fn number(&mut self, k: usize, id: &str, in_order: &mut Vec<String>) -> u32 {
        if let Some(number) = self.0[k].get(id) {
            return number;
        }
        let number = in_order.len() as u32;
        self.0[k].insert(id, number);
        in_order.push(id.to_owned());
        number
    }
}

/// The rows of one shard.
#[derive(Debug, Default, PartialEq)]
pub(in crate::ingest) struct Shard {
    /// New ids have the shard's own numbers.
    columns: Interactions,
    new: [Vec<String>; 2],
    bad: BadRows,
    rows: u64,
    rounded: u64,
    /// Physical lines.
    pub lines: u64,
}

/// Everything of a [`Shard`] but its columns.
#[derive(Serialize, Deserialize)]
struct ShardHeader {
    new: [Vec<String>; 2],
    bad: BadRows,
    rows: u64,
    rounded: u64,
    lines: u64,
    kept: usize,
}

impl Shard {
    /// Room for the rows of so many bytes, about; memory that no row comes to fill is never touched.
    pub fn with_room_for(bytes: usize) -> Self {
        let rows = bytes / 16;
        let columns = Interactions {
            user: Vec::with_capacity(rows),
            item: Vec::with_capacity(rows),
            rating: Vec::with_capacity(rows),
            timestamp: Vec::with_capacity(rows),
        };
        Self { columns, ..Self::default() }
    }

    /// Valid rows so far.
    pub fn kept(&self) -> usize {
        self.columns.len()
    }

    /// Adds a row, or counts it as invalid at line `lines`.
    pub fn take(&mut self, row: Result<Row<'_>, Fault>, ids: &KnownIds, numbering: &mut Numbering) {
        self.rows += 1;
        // A row that is dropped must not number a user or an item that nothing else mentions: first all checks, then ids.
        match row.and_then(|row| Ok((ids.find(&row)?, row))) {
            Ok((found, row)) => {
                let mut number =
                    |k: usize, id: &str| found[k].unwrap_or_else(|| numbering.number(k, id, &mut self.new[k]));
                self.columns.user.push(number(0, &row.user));
                self.columns.item.push(number(1, &row.item));
                self.columns.rating.push(row.rating);
                self.columns.timestamp.push(row.timestamp.whole);
                self.rounded += u64::from(!row.timestamp.exact);
            }
            Err(fault) => self.bad.add(fault, || self.lines),
        }
    }

    /// `length of the JSON (8 bytes, little-endian) · JSON · user · item · bits of the rating · timestamp`, the columns packed.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let Self { columns, new, bad, rows, rounded, lines } = self;
        let (new, bad, rows, rounded, lines) = (new.clone(), bad.clone(), *rows, *rounded, *lines);
        let about = serde_json::to_vec(&ShardHeader { new, bad, rows, rounded, lines, kept: columns.len() })?;
        let mut bytes = Vec::with_capacity(8 + about.len() + 20 * columns.len());
        bytes.extend((about.len() as u64).to_le_bytes());
        bytes.extend(about);
        pack(columns.user.iter().map(|&x| x.into()), &mut bytes);
        pack(columns.item.iter().map(|&x| x.into()), &mut bytes);
        pack(columns.rating.iter().map(|x| x.to_bits().into()), &mut bytes);
        pack(columns.timestamp.iter().copied(), &mut bytes);
        Ok(bytes)
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (length, rest) = bytes.split_first_chunk::<8>().context("a shard of fewer than 8 bytes")?;
        let (about, mut rest) =
            rest.split_at_checked(u64::from_le_bytes(*length) as usize).context("a shard that ends early")?;
        let ShardHeader { new, bad, rows, rounded, lines, kept } = serde_json::from_slice(about)?;
        let columns = Interactions {
            user: unpack(&mut rest, kept, |x| x as u32)?,
            item: unpack(&mut rest, kept, |x| x as u32)?,
            rating: unpack(&mut rest, kept, |x| f32::from_bits(x as u32))?,
            timestamp: unpack(&mut rest, kept, |x| x)?,
        };
        ensure!(rest.is_empty(), "a shard of {kept} rows with {} bytes too many", rest.len());
        Ok(Self { columns, new, bad, rows, rounded, lines })
    }
}

/// Concatenates shards in their order.
#[derive(Default)]
pub(in crate::ingest) struct LogBuilder {
    pub log: ReadLog,
    places: Numbering,
    lines: u64,
}

impl LogBuilder {
    /// Appends the next shard.
    pub fn push(&mut self, shard: &Shard) {
        let Shard { columns, new, bad, rows, rounded, lines } = shard;
        let log = &mut self.log;
        for (k, (column, into)) in
            [(&columns.user, &mut log.interactions.user), (&columns.item, &mut log.interactions.item)]
                .into_iter()
                .enumerate()
        {
            let numbers: Vec<u32> = new[k].iter().map(|id| self.places.number(k, id, &mut log.new[k])).collect();
            // Where ids were known before, the shard has their numbers already.
            into.extend(column.iter().map(|&x| numbers.get(x as usize).copied().unwrap_or(x)));
        }
        log.interactions.rating.extend(&columns.rating);
        log.interactions.timestamp.extend(&columns.timestamp);
        log.bad.append(bad.clone(), self.lines);
        log.rows += rows;
        log.rounded += rounded;
        self.lines += lines;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kometa-Team/Kometa#1901: `\N` was read as a value, so that all users without an id were one user.
    #[test]
    fn what_databases_write_for_a_missing_id_is_none() {
        let ids = KnownIds::new(["u", "i"], [None, None]);
        for (user, item) in [(MISSING, "a"), ("a", MISSING), ("a", "")] {
            let row = Row { user: user.into(), item: item.into(), rating: 1.0, timestamp: Seconds::exactly(0) };
            assert!(ids.find(&row).err().unwrap().to_string().ends_with("wanted an id"));
        }
    }

    #[test]
    fn ids_of_any_length_have_numbers_of_their_own() {
        let mut ids: Vec<String> = (0..=40).map(|length| "\0".repeat(length)).collect();
        ids.extend((1..=40).map(|length| "0".repeat(length)));
        ids.extend(["\u{1}", "\u{1}\0", "\u{e9}", "10", "01", "1", "999999", "1000000", "1a"].map(str::to_owned));
        let (mut numbering, mut in_order) = (Numbering::default(), Vec::new());
        for (id, number) in ids.iter().zip(0..) {
            assert_eq!(numbering.number(0, id, &mut in_order), number, "{id:?}");
        }
        for (id, number) in ids.iter().zip(0..) {
            assert_eq!(numbering.number(0, id, &mut in_order), number, "{id:?}");
        }
        assert_eq!(in_order, ids);
    }
}
