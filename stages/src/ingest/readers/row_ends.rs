//! Ends of rows in delimited text: ends of lines outside of quotes (RFC 4180).

use std::io::BufRead as _;

use anyhow::{Context as _, Result, bail, ensure};

use crate::artifact::TextFile;

/// Maximum bytes of a quoted field: an open quote must not consume the rest of a large file.
const MAX_QUOTED: u64 = 1 << 20;

/// That lines end as they are read.
///
/// # Errors
/// Where they end in a carriage return alone: the whole file would be one line.
pub(in crate::ingest) fn check_ends(file: &TextFile) -> Result<()> {
    let (mut from, _) = file.open()?;
    let first = from.fill_buf().with_context(|| format!("cannot read {}", file.name().display()))?;
    // The last of these bytes may be followed by `\n`.
    let inner = &first[..first.len().saturating_sub(1)];
    ensure!(
        first.contains(&b'\n') || !inner.contains(&b'\r'),
        "the lines of {} end in a carriage return alone, as some spreadsheets write them\nhelp: write it anew: `tr '\\r' '\\n' < old > new`",
        file.name().display()
    );
    Ok(())
}

/// What stands before the next byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The beginning of a field.
    Beginning,
    /// A field that no quote opened.
    Bare,
    /// Within quotes.
    Quoted,
    /// A quote within quotes, which closes them or is the first of two.
    Quote,
}

/// A walk over separated text, byte by byte, that knows which ends of lines end a row.
#[derive(Clone, Debug)]
pub(in crate::ingest) struct RowEnds {
    separator: u8,
    place: Place,
    /// The line of the next byte, from 1.
    line: u64,
    /// The line of the last quote that opened a field, and how many bytes follow it.
    opened: (u64, u64),
}

impl RowEnds {
    /// Before the first byte of a text in which this separates fields.
    pub fn new(separator: u8) -> Self {
        Self { separator, place: Place::Beginning, line: 1, opened: (0, 0) }
    }

    /// Goes on over some bytes and gives the place behind each end of a row among them.
    ///
    /// # Errors
    /// Where a quote is not closed within [`MAX_QUOTED`] bytes.
    pub fn advance(&mut self, bytes: &[u8], file: &TextFile, mut end: impl FnMut(usize)) -> Result<()> {
        // Most files hold no quote; there, nothing but ends of lines is to be found.
        if self.place != Place::Quoted && self.place != Place::Quote && !bytes.contains(&b'"') {
            for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
                self.line += 1;
                end(at + 1);
            }
            if let Some(&last) = bytes.last() {
                let begins = last == b'\n' || last == self.separator;
                self.place = if begins { Place::Beginning } else { Place::Bare };
            }
            return Ok(());
        }
        for (at, &byte) in bytes.iter().enumerate() {
            let is_end = byte == b'\n';
            self.line += u64::from(is_end);
            self.place = match (self.place, byte) {
                (Place::Quoted, b'"') => Place::Quote,
                (Place::Quoted, _) => {
                    self.opened.1 += 1;
                    if self.opened.1 > MAX_QUOTED {
                        return self.closed(file);
                    }
                    continue;
                }
                (Place::Quote, b'"') => Place::Quoted,
                (Place::Beginning, b'"') => {
                    self.opened = (self.line, 0);
                    Place::Quoted
                }
                (_, byte) if is_end || byte == self.separator => Place::Beginning,
                _ => Place::Bare,
            };
            if is_end {
                end(at + 1);
            }
        }
        Ok(())
    }

    /// That no quote is open, as at the end of a text.
    ///
    /// # Errors
    /// Where one is: with its line.
    pub fn closed(&self, file: &TextFile) -> Result<()> {
        if self.place == Place::Quoted {
            bail!(
                "{}:{}: found an open quote, wanted a closed quote\nhelp: a quote opens a field where it is its first character; a \
                 literal quote is doubled, in a quoted field: `\"\"\"Tis\"`; `quotes: never` of `ingest.table` reads all \
                 quotes as ordinary characters",
                file.name().display(),
                self.opened.0
            );
        }
        Ok(())
    }
}

/// The rows of a text, each with its first line, from 1; with `separator`, a row may take several lines.
///
/// # Errors
/// Where a quote is not closed.
pub(in crate::ingest) fn rows<'t>(
    text: &'t [u8],
    separator: Option<u8>,
    file: &TextFile,
) -> Result<Vec<(u64, &'t [u8])>> {
    let Some(separator) = separator.filter(|_| text.contains(&b'"')) else {
        return Ok((1..).zip(text.split_inclusive(|byte| *byte == b'\n')).collect());
    };
    let (mut ends, mut walk) = (Vec::new(), RowEnds::new(separator));
    walk.advance(text, file, |end| ends.push(end))?;
    walk.closed(file)?;
    if ends.last().copied().unwrap_or(0) < text.len() {
        ends.push(text.len());
    }
    let (mut from, mut line) = (0, 1);
    let row = |end: usize| {
        let row = (line, &text[from..end]);
        line += row.1.iter().filter(|byte| **byte == b'\n').count() as u64;
        from = end;
        row
    };
    Ok(ends.into_iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_row_ends_at_a_line_end_that_is_not_in_quotes() {
        let file = TextFile::new(Path::new("x.csv"));
        let text = "u,i\n1,\"a\nb\"\n2,c\"d\n3,\"e \"\"f\"\"\r\n\n\",g\r\n4,\"\"\n5,\"h\"\n6,i";
        let found: Vec<(u64, &str)> = rows(text.as_bytes(), Some(b','), &file)
            .unwrap()
            .into_iter()
            .map(|(line, row)| (line, std::str::from_utf8(row).unwrap()))
            .collect();
        let wanted = [
            (1, "u,i\n"),
            (2, "1,\"a\nb\"\n"),
            (4, "2,c\"d\n"),
            (5, "3,\"e \"\"f\"\"\r\n\n\",g\r\n"),
            (8, "4,\"\"\n"),
            (9, "5,\"h\"\n"),
            (10, "6,i"),
        ];
        assert_eq!(found, wanted);
        // Wherever the text is cut, the ends stay.
        for cut in 0..text.len() {
            let (mut walk, mut ends) = (RowEnds::new(b','), Vec::new());
            walk.advance(&text.as_bytes()[..cut], &file, |end| ends.push(end)).unwrap();
            walk.advance(&text.as_bytes()[cut..], &file, |end| ends.push(cut + end)).unwrap();
            let lengths: Vec<usize> = wanted[..6].iter().map(|(_, row)| row.len()).collect();
            let sums: Vec<usize> = (1..=6).map(|count| lengths[..count].iter().sum()).collect();
            assert_eq!(ends, sums, "cut after {cut} bytes");
        }
        assert_eq!(rows(text.as_bytes(), None, &file).unwrap().len(), 10);
    }

    #[test]
    fn lines_that_end_in_a_carriage_return_alone_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        for (text, is_read) in
            [("u,i\r1,2\r", false), ("u,i\r\n1,2\r\n", true), ("u,i\r", true), ("", true), ("u,i", true)]
        {
            std::fs::write(&path, text).unwrap();
            let checked = check_ends(&TextFile::new(&path)).map_err(|error| error.to_string());
            assert!(checked.is_ok() == is_read, "{text:?}: {checked:?}");
            assert!(is_read || checked.unwrap_err().contains("carriage return alone"), "{text:?}");
        }
    }

    #[test]
    fn a_quote_that_is_left_open_is_named_and_takes_in_no_more_than_it_may() {
        let file = TextFile::new(Path::new("x.csv"));
        let error = |text: &str| rows(text.as_bytes(), Some(b','), &file).unwrap_err().to_string();
        assert!(error("u,i\n1,\"a\nb\n").starts_with("x.csv:2: found an open quote"));
        let long = format!("u,i\n1,\"{}\"\n", "a\n".repeat(1 << 20));
        assert!(error(&long).starts_with("x.csv:2: found an open quote"));
    }
}
