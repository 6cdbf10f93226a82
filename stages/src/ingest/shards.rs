//! A log of lines, read in shards: in parallel, checked row by row, and committed shard by shard.
//!
//! A shard is about [`SHARD`] bytes, cut at a line's end. What a shard gives depends on its bytes alone, so neither threads
//! nor where a killed run went on changes the result. Ids that nobody listed are numbered as they appear: within a shard by
//! the shard, and among shards when they are joined in their order.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use pipeline::Context;
use pipeline::units::Log;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bad_rows::{BadRows, Fault};
use crate::artifact::Interactions;

/// Bytes of a shard, at least; one more line at most. A killed run goes on from its shards: with another size the `VERSION` of
/// every reader must be raised.
const SHARD: u64 = 16 << 20;

/// One row of the log.
pub(super) struct Row<'a> {
    /// The user's id, not empty.
    pub user: Cow<'a, str>,
    /// The item's id, not empty.
    pub item: Cow<'a, str>,
    /// Finite.
    pub rating: f32,
    /// Seconds since 1970.
    pub timestamp: i64,
}

/// What a line says. Called from many threads.
pub(super) type Parse<'a> = &'a (dyn for<'l> Fn(&'l str) -> Result<Row<'l>, Fault> + Sync);

/// A log and how to read it.
pub(super) struct Lines<'a> {
    /// The file.
    pub path: &'a Path,
    /// Lines before the first row.
    pub header: u64,
    /// The columns of users and items, for messages.
    pub columns: [&'a str; 2],
    /// The ids that may occur, in their rows; without them, ids are numbered as they appear.
    pub known: [Option<&'a [String]>; 2],
    /// What a line says.
    pub parse: Parse<'a>,
}

/// A log that was read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ReadLog {
    /// The rows that fit, in the order of the file.
    pub interactions: Interactions,
    /// Ids of users and of items by number; empty where they were known before.
    pub new: [Vec<String>; 2],
    /// Those that do not fit.
    pub bad: BadRows,
    /// How many rows the file has in all.
    pub rows: u64,
}

impl Lines<'_> {
    /// Reads the whole log.
    pub fn read(&self, cx: &Context) -> Result<ReadLog> {
        self.read_in_shards(SHARD, cx)
    }

    fn read_in_shards(&self, size: u64, cx: &Context) -> Result<ReadLog> {
        let ends = cut(self.path, size).with_context(|| format!("cannot read {}", self.path.display()))?;
        let known = self.known.map(|ids| ids.map(places));
        let bar = cx.bar("read", Some(ends.last().copied().unwrap_or(0)), "bytes");
        let (mut log, kept) = match ends.len() {
            // A single shard is quicker read again than kept.
            0 | 1 => (None, Vec::new()),
            _ => {
                let (log, frames) = Log::open(&cx.scratch().join("shards"))?;
                (Some(log), frames)
            }
        };
        let mut joined = Joined::default();
        for bytes in &kept {
            joined.push(Piece::from_bytes(bytes)?);
        }
        let first = kept.len();
        drop(kept);
        let start = |shard: usize| if shard == 0 { 0 } else { ends[shard - 1] };
        bar.inc(start(first));
        for wave in (first..ends.len()).collect::<Vec<_>>().chunks(2 * cx.threads()) {
            cx.go_on()?;
            let piece = |&shard: &usize| {
                let text = bytes(self.path, start(shard), ends[shard])?;
                let piece = self.piece(&text, if shard == 0 { self.header } else { 0 }, &known);
                bar.inc(ends[shard] - start(shard));
                Ok(piece)
            };
            let pieces: Vec<Piece> = wave.par_iter().map(piece).collect::<Result<_>>()?;
            for piece in pieces {
                if let Some(log) = &mut log {
                    log.append(&piece.to_bytes()?)?;
                }
                joined.push(piece);
            }
        }
        Ok(joined.log)
    }

    /// The rows of one shard after `header` lines.
    fn piece(&self, bytes: &[u8], header: u64, known: &[Option<HashMap<&str, u32>>; 2]) -> Piece {
        let mut piece = Piece::default();
        let mut new: [HashMap<String, u32>; 2] = Default::default();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            piece.lines += 1;
            if piece.lines <= header || line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            piece.rows += 1;
            // A row that is dropped must not number a user or an item that nothing else mentions: first all checks, then ids.
            match self.row(line, known) {
                Ok((row, numbers)) => {
                    let mut number =
                        |k: usize, id: &str| numbers[k].unwrap_or_else(|| number(id, &mut new[k], &mut piece.new[k]));
                    piece.columns.user.push(number(0, &row.user));
                    piece.columns.item.push(number(1, &row.item));
                    piece.columns.rating.push(row.rating);
                    piece.columns.timestamp.push(row.timestamp);
                }
                Err(fault) => piece.bad.add(fault, || piece.lines),
            }
        }
        piece
    }

    /// A row that fits, with the numbers of its ids as far as they are known.
    fn row<'l>(
        &self,
        line: &'l [u8],
        known: &[Option<HashMap<&str, u32>>; 2],
    ) -> Result<(Row<'l>, [Option<u32>; 2]), Fault> {
        let text = std::str::from_utf8(line);
        let text = text.map_err(|_| Fault::row(format!("{:?}", String::from_utf8_lossy(line)), "UTF-8"))?;
        let row = (self.parse)(text.trim_end_matches(['\n', '\r']))?;
        let mut numbers = [None; 2];
        for (k, id) in [&row.user, &row.item].into_iter().enumerate() {
            let column = self.columns[k];
            if id.is_empty() {
                return Err(Fault::value(column, id, "an id"));
            }
            if let Some(known) = &known[k] {
                let number = known.get(&**id).copied();
                numbers[k] = Some(number.ok_or_else(|| Fault::value(column, id, "an id that is listed"))?);
            }
        }
        Ok((row, numbers))
    }
}

/// The number of an id among the new ones, by first appearance.
fn number(id: &str, new: &mut HashMap<String, u32>, in_order: &mut Vec<String>) -> u32 {
    if let Some(&number) = new.get(id) {
        return number;
    }
    let number = new.len() as u32;
    new.insert(id.to_owned(), number);
    in_order.push(id.to_owned());
    number
}

fn places(ids: &[String]) -> HashMap<&str, u32> {
    ids.iter().map(String::as_str).zip(0..).collect()
}

/// Where each shard ends: at the first end of a line that is `size` bytes or more behind the end of the shard before.
fn cut(path: &Path, size: u64) -> std::io::Result<Vec<u64>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut ends = Vec::new();
    let mut from = 0;
    while from < length {
        let mut end = from + size;
        let mut block = [0; 4096];
        file.seek(SeekFrom::Start(end.saturating_sub(1)))?;
        end = end.saturating_sub(1);
        loop {
            let read = file.read(&mut block)?;
            if read == 0 {
                end = length;
                break;
            }
            if let Some(at) = block[..read].iter().position(|byte| *byte == b'\n') {
                end += at as u64 + 1;
                break;
            }
            end += read as u64;
        }
        ends.push(end.min(length));
        from = end;
    }
    Ok(ends)
}

fn bytes(path: &Path, start: u64, end: u64) -> Result<Vec<u8>> {
    let place = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(place)?;
    file.seek(SeekFrom::Start(start)).with_context(place)?;
    let mut bytes = vec![0; usize::try_from(end - start)?];
    file.read_exact(&mut bytes).with_context(place)?;
    Ok(bytes)
}

/// What one shard says.
#[derive(Debug, Default, PartialEq)]
struct Piece {
    /// With the shard's own numbers where ids are new.
    columns: Interactions,
    new: [Vec<String>; 2],
    bad: BadRows,
    rows: u64,
    /// Physical lines.
    lines: u64,
}

/// Everything of a [`Piece`] but its columns.
#[derive(Serialize, Deserialize)]
struct About {
    new: [Vec<String>; 2],
    bad: BadRows,
    rows: u64,
    lines: u64,
    kept: usize,
}

impl Piece {
    /// `length of the JSON (8 bytes) · JSON · user · item · rating · timestamp`, all little-endian.
    fn to_bytes(&self) -> Result<Vec<u8>> {
        let Self { columns, new, bad, rows, lines } = self;
        let (new, bad, rows, lines) = (new.clone(), bad.clone(), *rows, *lines);
        let about = serde_json::to_vec(&About { new, bad, rows, lines, kept: columns.len() })?;
        let mut bytes = Vec::with_capacity(8 + about.len() + 20 * columns.len());
        bytes.extend((about.len() as u64).to_le_bytes());
        bytes.extend(about);
        bytes.extend(columns.user.iter().chain(&columns.item).flat_map(|x| x.to_le_bytes()));
        bytes.extend(columns.rating.iter().flat_map(|x| x.to_le_bytes()));
        bytes.extend(columns.timestamp.iter().flat_map(|x| x.to_le_bytes()));
        Ok(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (length, rest) = bytes.split_first_chunk::<8>().context("a shard of fewer than 8 bytes")?;
        let (about, rest) =
            rest.split_at_checked(u64::from_le_bytes(*length) as usize).context("a shard that ends early")?;
        let About { new, bad, rows, lines, kept } = serde_json::from_slice(about)?;
        ensure!(rest.len() == 20 * kept, "a shard of {kept} rows with {} bytes of columns", rest.len());
        let (user, rest) = rest.split_at(4 * kept);
        let (item, rest) = rest.split_at(4 * kept);
        let (rating, timestamp) = rest.split_at(4 * kept);
        let columns = Interactions {
            user: user.as_chunks().0.iter().map(|x| u32::from_le_bytes(*x)).collect(),
            item: item.as_chunks().0.iter().map(|x| u32::from_le_bytes(*x)).collect(),
            rating: rating.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect(),
            timestamp: timestamp.as_chunks().0.iter().map(|x| i64::from_le_bytes(*x)).collect(),
        };
        Ok(Self { columns, new, bad, rows, lines })
    }
}

/// Pieces put together in their order.
#[derive(Default)]
struct Joined {
    log: ReadLog,
    places: [HashMap<String, u32>; 2],
    lines: u64,
}

impl Joined {
    fn push(&mut self, piece: Piece) {
        let log = &mut self.log;
        let Piece { columns, new, bad, rows, lines } = piece;
        let [users, items] = new;
        for (k, (column, new, into)) in
            [(columns.user, users, &mut log.interactions.user), (columns.item, items, &mut log.interactions.item)]
                .into_iter()
                .enumerate()
        {
            let mut numbers = Vec::with_capacity(new.len());
            for id in new {
                let next = self.places[k].len() as u32;
                let number = *self.places[k].entry(id).or_insert_with_key(|id| {
                    log.new[k].push(id.clone());
                    next
                });
                numbers.push(number);
            }
            // Where ids were known before, the piece has their numbers already.
            into.extend(column.iter().map(|&x| numbers.get(x as usize).copied().unwrap_or(x)));
        }
        log.interactions.rating.extend(columns.rating);
        log.interactions.timestamp.extend(columns.timestamp);
        log.bad.append(bad, self.lines);
        log.rows += rows;
        self.lines += lines;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Row<'_>, Fault> {
        let fields: Vec<&str> = line.split(' ').collect();
        let [user, item, rating] = fields[..] else {
            return Err(Fault::row(format!("{} fields", fields.len()), "3"));
        };
        let rating = rating.parse().map_err(|_| Fault::value("rating", rating, "a number"))?;
        Ok(Row { user: user.into(), item: item.into(), rating, timestamp: 0 })
    }

    fn lines<'a>(path: &'a Path, known: [Option<&'a [String]>; 2]) -> Lines<'a> {
        Lines { path, header: 1, columns: ["user", "item"], known, parse: &parse }
    }

    /// Blank lines, carriage returns, bad rows in several shards, no line's end at the end.
    const TEXT: &str = "u i r\na x 1\nb y 2\r\n\nc x bad\na z 3\nd\n\u{e9} y 4\nb x 5\n e 1\nf w 6";

    #[test]
    fn shards_of_any_size_give_what_one_gives() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, TEXT).unwrap();
        let read = |size: u64| {
            let scratch = tempfile::tempdir().unwrap();
            lines(&path, [None, None]).read_in_shards(size, &Context::detached(scratch.path())).unwrap()
        };
        let whole = read(1000);
        assert_eq!(whole.new[0], ["a", "b", "\u{e9}", "f"]);
        assert_eq!(whole.new[1], ["x", "y", "z", "w"]);
        assert_eq!(whole.interactions.user, [0, 1, 0, 2, 1, 3]);
        assert_eq!(whole.interactions.item, [0, 1, 2, 1, 0, 3]);
        assert_eq!(whole.interactions.rating, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(whole.rows, 9);
        let error =
            whole.bad.settle(&path, super::super::bad_rows::OnBadRow::Refuse, &Context::detached(folder.path()));
        let error = error.unwrap_err().to_string();
        for expected in [
            "3 rows of",
            "log:5: column `rating`: found \"bad\", wanted a number",
            "log:7: found 1 fields, wanted 3",
            "log:10: column `user`: found \"\", wanted an id",
        ] {
            assert!(error.contains(expected), "{error}");
        }
        for size in 1..TEXT.len() as u64 {
            assert_eq!(read(size), whole, "shards of {size} bytes");
        }
    }

    #[test]
    fn known_ids_keep_their_numbers_and_others_do_not_fit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "u i r\na x 1\nq x 2\nb x 3\nb v 4\n").unwrap();
        let users = ["b".to_owned(), "a".to_owned()];
        for size in [8, 1000] {
            let scratch = tempfile::tempdir().unwrap();
            let cx = Context::detached(scratch.path());
            let read = lines(&path, [Some(&users), None]).read_in_shards(size, &cx).unwrap();
            assert_eq!((read.interactions.user, read.interactions.item), (vec![1, 0, 0], vec![0, 0, 1]));
            assert_eq!(read.new, [vec![], vec!["x".to_owned(), "v".to_owned()]]);
        }
    }

    #[test]
    fn interrupted_after_every_wave_it_ends_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, TEXT).unwrap();
        let lines = lines(&path, [None, None]);
        let whole = lines.read_in_shards(1000, &Context::detached(folder.path())).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let cx = Context::detached(scratch.path());
        lines.read_in_shards(3, &cx).unwrap();
        // What a kill leaves: the first frames whole, the next one torn.
        let log = scratch.path().join("shards");
        let bytes = std::fs::read(&log).unwrap();
        for cut in [0, 1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1, bytes.len()] {
            std::fs::write(&log, &bytes[..cut]).unwrap();
            assert_eq!(lines.read_in_shards(3, &cx).unwrap(), whole, "cut after {cut} bytes");
        }
    }
}
