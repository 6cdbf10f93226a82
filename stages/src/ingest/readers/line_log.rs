//! A log in lines, read in shards: in parallel, validated row by row, and committed shard by shard.
//!
//! A shard has about [`SHARD`] bytes and ends at the end of a row, which is the end of a line outside of quotes. Its content depends
//! on its bytes alone, so that neither the number of threads nor a resumed run changes the result. Ids without a side table are
//! numbered as they appear: within a shard by the shard, over all shards when they are concatenated in their order.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Seek, SeekFrom};
use std::str::Utf8Error;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use anyhow::{Context as _, Result, anyhow};
use pipeline::Context;
use pipeline::checkpointing::Log;
use rayon::prelude::*;

use crate::artifact::TextFile;
use crate::ingest::readers::bad_rows::Fault;
use crate::ingest::readers::row_ends::{RowEnds, rows};
use crate::ingest::readers::shard::{KnownIds, LogBuilder, Numbering, ReadLog, Row, Shard};

/// Minimum bytes of a shard; it ends with the line in which they end. A killed run resumes from its shards: with another size the
/// `VERSION` of every reader must rise.
const SHARD: u64 = 16 << 20;

/// Passes the rows of a line, mostly one, to the callback. Called from many threads.
pub(in crate::ingest) type Parse<'a> = &'a (dyn for<'l> Fn(&'l str, Emit<'_, 'l>) + Sync);
/// The callback for a row of a line, or its fault.
pub(in crate::ingest) type Emit<'t, 'l> = &'t mut dyn FnMut(Result<Row<'l>, Fault>);

/// A log and how it is read.
pub(in crate::ingest) struct Lines<'a> {
    /// The file.
    pub file: &'a TextFile,
    /// Lines before the first row.
    pub header: u64,
    /// The separator of fields that may be quoted, so that a row may have several lines; `None` where every line is a row.
    pub quoted_by: Option<u8>,
    /// The columns of users and items, for messages.
    pub columns: [&'a str; 2],
    /// The known ids, by number; `None` where ids are numbered as they appear.
    pub known: [Option<&'a [String]>; 2],
    /// Parses a row, without the end of its last line.
    pub parse: Parse<'a>,
}

impl Lines<'_> {
    /// Reads the whole log.
    pub fn read(&self, cx: &Context) -> Result<ReadLog> {
        self.read_in_shards(SHARD, cx)
    }

    fn read_in_shards(&self, size: u64, cx: &Context) -> Result<ReadLog> {
        let (file, begin) = self.file.open()?;
        let place = || format!("cannot read {}", self.file.name().display());
        let ends = match self.quoted_by {
            None => cut(file.into_inner(), begin, size).with_context(place)?,
            Some(separator) => cut_outside_of_quotes(file, separator, self.file, begin, size)?,
        };
        let ids = KnownIds::new(self.columns, self.known);
        let bar = cx.bar("read", Some(ends.last().copied().unwrap_or(0)), "bytes");
        let (log, kept) = match ends.len() {
            // A single shard is read again faster than it is stored.
            0 | 1 => (None, Vec::new()),
            _ => {
                // A dataset may have several logs.
                let name = self.file.path().file_name().unwrap_or_default().to_string_lossy();
                let (log, frames) = Log::open(&cx.scratch().join(format!("{name}.packed")))?;
                (Some(log), frames)
            }
        };
        let mut builder = LogBuilder::default();
        let first = kept.len();
        for bytes in kept {
            builder.push(&Shard::from_bytes(&bytes)?);
        }
        let start = |shard: usize| if shard == 0 { begin } else { ends[shard - 1] };
        bar.inc(start(first));
        let read_shard = |&number: &usize| {
            let text = bytes(self.file, start(number), ends[number])?;
            let shard = self.shard(&text, if number == 0 { self.header } else { 0 }, &ids)?;
            bar.inc(ends[number] - start(number));
            Ok(Arc::new(shard))
        };
        let at_once = 2 * cx.threads();
        // Shards are written and concatenated while the next ones are read; up to a whole wave of them may wait.
        std::thread::scope(|scope| {
            let (save, saved) = sync_channel::<Arc<Shard>>(at_once);
            let saver = scope.spawn(move || {
                let Some(mut log) = log else { return Ok(()) };
                saved.into_iter().try_for_each(|shard| log.append(&shard.to_bytes()?))
            });
            let mut ready: Vec<Arc<Shard>> = Vec::new();
            let mut waves = (first..ends.len()).collect::<Vec<_>>();
            let mut all = || {
                while !waves.is_empty() {
                    cx.check_cancelled()?;
                    let wave: Vec<usize> = waves.drain(..waves.len().min(at_once)).collect();
                    let (shards, ()) = rayon::join(
                        || wave.par_iter().map(read_shard).collect::<Result<Vec<_>>>(),
                        || ready.drain(..).for_each(|shard| builder.push(&shard)),
                    );
                    ready = shards?;
                    // With a single shard, or after a failure, the receiver is gone; the failure is returned below.
                    if ready.iter().any(|shard| save.send(Arc::clone(shard)).is_err()) {
                        break;
                    }
                }
                anyhow::Ok(())
            };
            let read = all();
            drop(save);
            saver.join().map_err(|_| anyhow!("the thread that writes shards panicked"))??;
            read?;
            ready.iter().for_each(|shard| builder.push(shard));
            Ok(builder.log)
        })
    }

    /// The rows of one shard after `header` lines.
    fn shard(&self, bytes: &[u8], header: u64, ids: &KnownIds) -> Result<Shard> {
        let mut shard = Shard::with_room_for(bytes.len());
        let mut numbering = Numbering::default();
        let mut read = |line: &[u8], text: Result<&str, Utf8Error>, more: u64| {
            shard.lines += 1;
            if shard.lines <= header || line.iter().all(u8::is_ascii_whitespace) {
                shard.lines += more;
                return;
            }
            let mut take = |row: Result<Row<'_>, Fault>| shard.take(row, ids, &mut numbering);
            match text {
                Ok(text) => (self.parse)(text.trim_end_matches(['\n', '\r']), &mut take),
                Err(_) => take(Err(Fault::row(format!("{:?}", String::from_utf8_lossy(line)), "UTF-8"))),
            }
            // A row has the number of its first line.
            shard.lines += more;
        };
        if self.quoted_by.is_some() && bytes.contains(&b'"') {
            for (_, row) in rows(bytes, self.quoted_by, self.file)? {
                let ends = row.iter().filter(|byte| **byte == b'\n').count() as u64;
                read(row, str::from_utf8(row), ends.saturating_sub(1));
            }
            return Ok(shard);
        }
        // One check of the whole shard is faster than one per line, which finds the invalid lines.
        match str::from_utf8(bytes) {
            Ok(text) => text.split_inclusive('\n').for_each(|line| read(line.as_bytes(), Ok(line), 0)),
            Err(_) => bytes.split_inclusive(|byte| *byte == b'\n').for_each(|line| read(line, str::from_utf8(line), 0)),
        }
        Ok(shard)
    }
}

/// Where each shard ends: at the first end of a line that is `size` bytes or more behind the end of the shard before, which is
/// `begin` for the first.
fn cut(mut file: File, begin: u64, size: u64) -> std::io::Result<Vec<u64>> {
    let length = file.metadata()?.len();
    let mut ends = Vec::new();
    let mut from = begin;
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

/// The same where a line's end in quotes ends no row: one pass over the file.
fn cut_outside_of_quotes(
    mut from: BufReader<File>,
    separator: u8,
    file: &TextFile,
    begin: u64,
    size: u64,
) -> Result<Vec<u64>> {
    let place = || format!("cannot read {}", file.name().display());
    let (mut walk, mut ends, mut start, mut at) = (RowEnds::new(separator), Vec::new(), begin, begin);
    loop {
        let bytes = from.fill_buf().with_context(place)?;
        if bytes.is_empty() {
            break;
        }
        walk.advance(bytes, file, |end| {
            let end = at + end as u64;
            if end >= start + size {
                ends.push(end);
                start = end;
            }
        })?;
        let read = bytes.len();
        at += read as u64;
        from.consume(read);
    }
    walk.closed(file)?;
    if start < at {
        ends.push(at);
    }
    Ok(ends)
}

fn bytes(file: &TextFile, start: u64, end: u64) -> Result<Vec<u8>> {
    let place = || format!("cannot read {}", file.name().display());
    let mut file = File::open(file.path()).with_context(place)?;
    file.seek(SeekFrom::Start(start)).with_context(place)?;
    let mut bytes = vec![0; usize::try_from(end - start)?];
    file.read_exact(&mut bytes).with_context(place)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::readers::casts::Seconds;

    fn parse<'l>(line: &'l str, take: Emit<'_, 'l>) {
        take(row(line));
    }

    fn row(line: &str) -> Result<Row<'_>, Fault> {
        let fields: Vec<&str> = line.split(' ').collect();
        let [user, item, rating] = fields[..] else {
            return Err(Fault::row(format!("{} fields", fields.len()), "3"));
        };
        let rating: f32 = rating.parse().map_err(|_| Fault::value("rating", rating, "a number"))?;
        Ok(Row { user: user.into(), item: item.into(), rating, timestamp: Seconds::of_parts(rating as i64, 2) })
    }

    fn lines<'a>(file: &'a TextFile, known: [Option<&'a [String]>; 2]) -> Lines<'a> {
        Lines { file, header: 1, quoted_by: None, columns: ["user", "item"], known, parse: &parse }
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
            lines(&TextFile::new(&path), [None, None]).read_in_shards(size, &Context::detached(scratch.path())).unwrap()
        };
        let whole = read(1000);
        assert_eq!(whole.new[0], ["a", "b", "\u{e9}", "f"]);
        assert_eq!(whole.new[1], ["x", "y", "z", "w"]);
        assert_eq!(whole.interactions.user, [0, 1, 0, 2, 1, 3]);
        assert_eq!(whole.interactions.item, [0, 1, 2, 1, 0, 3]);
        assert_eq!(whole.interactions.rating, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(whole.interactions.timestamp, [0, 1, 1, 2, 2, 3]);
        assert_eq!((whole.rows, whole.rounded), (9, 3));
        let error = whole.bad.enforce(
            &path,
            crate::ingest::readers::bad_rows::OnBadRow::Refuse,
            &Context::detached(folder.path()),
        );
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
        std::fs::write(&path, format!("\u{feff}{TEXT}")).unwrap();
        for size in 1..TEXT.len() as u64 {
            assert_eq!(read(size), whole, "shards of {size} bytes behind a mark");
        }
    }

    #[test]
    fn a_row_may_take_several_lines_in_quotes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, "u i r\na \"x\ny\" 1\r\nb z bad\nb \"x\ny\" 2\nc 1\"2 3").unwrap();
        let file = TextFile::new(&path);
        let read = |size: u64| {
            let scratch = tempfile::tempdir().unwrap();
            let lines = Lines { quoted_by: Some(b' '), ..lines(&file, [None, None]) };
            lines.read_in_shards(size, &Context::detached(scratch.path())).unwrap()
        };
        let whole = read(1000);
        assert_eq!(whole.new[1], ["\"x\ny\"", "1\"2"]);
        assert_eq!(whole.interactions.rating, [1.0, 2.0, 3.0]);
        assert!(format!("{:?}", whole.bad).contains("first: [(4, "), "{:?}", whole.bad);
        for size in 1..60 {
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
            let read = lines(&TextFile::new(&path), [Some(&users), None]).read_in_shards(size, &cx).unwrap();
            assert_eq!((read.interactions.user, read.interactions.item), (vec![1, 0, 0], vec![0, 0, 1]));
            assert_eq!(read.new, [vec![], vec!["x".to_owned(), "v".to_owned()]]);
        }
    }

    #[test]
    fn interrupted_after_every_wave_it_ends_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, TEXT).unwrap();
        let file = TextFile::new(&path);
        let lines = lines(&file, [None, None]);
        let whole = lines.read_in_shards(1000, &Context::detached(folder.path())).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let cx = Context::detached(scratch.path());
        lines.read_in_shards(3, &cx).unwrap();
        // What a kill leaves: the first frames whole, the next one torn.
        let log = scratch.path().join("log.packed");
        let bytes = std::fs::read(&log).unwrap();
        for cut in [0, 1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1, bytes.len()] {
            std::fs::write(&log, &bytes[..cut]).unwrap();
            assert_eq!(lines.read_in_shards(3, &cx).unwrap(), whole, "cut after {cut} bytes");
        }
    }
}
