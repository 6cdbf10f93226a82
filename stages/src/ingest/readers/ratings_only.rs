//! Amazon's "ratings only" files: CSV with a user, an item, a rating and a time.
//!
//! The release of 2014 has users first, that of 2018 items, both without a header: ids of users begin with `A`, ids of items never
//! do. That of 2023 has a header and times in milliseconds.

use std::io::BufRead as _;

use anyhow::{Context as _, Result, bail};
use pipeline::Context;

use crate::artifact::TextFile;
use crate::ingest::readers::decimal::Decimal;
use crate::ingest::readers::delimited::{Delimited, Time, quoted};
use crate::ingest::readers::header::{Header, check_unique, looks_like_header};
use crate::ingest::readers::line_log::Lines;
use crate::ingest::readers::shard::ReadLog;
use crate::ingest::readers::time_form::TimeForm;

const USER: &[&str] = &["user_id", "reviewerID", "user"];
const ITEM: &[&str] = &["parent_asin", "asin", "item", "product_id"];
const RATING: &[&str] = &["rating", "overall"];
const TIME: &[&str] = &["timestamp", "unixReviewTime", "time"];

/// Number of lines that decide the columns where there is no header.
const PROBED_LINES: usize = 1000;

/// Reads the log, and how its times are written; the caller decides on its invalid rows.
pub(in crate::ingest) fn read(file: &TextFile, cx: &Context) -> Result<(ReadLog, TimeForm)> {
    let line = file.first_line()?;
    let names = quoted(&line, ",").unwrap_or_default();
    let is_header = looks_like_header(&names, &[USER, ITEM].concat());
    let header = Header { file: file.name().to_path_buf(), names, line };
    let mut form = if is_header {
        check_unique(file.name(), &header.names)?;
        Delimited {
            separator: ",",
            quotes: true,
            trims: false,
            decimal: Decimal::Point,
            header: Some(&header.line),
            fields: header.names.len(),
            user: header.one_of(USER)?,
            item: header.one_of(ITEM)?,
            rating: Some(("rating", header.one_of(RATING)?)),
            time: Some(Time::seconds("timestamp", header.one_of(TIME)?)),
        }
    } else {
        let user = user_column(file)?;
        let order = if user == 0 { "user, item" } else { "item, user" };
        cx.note("columns", format!("no header; {order}, rating, timestamp, because ids of users begin with A"));
        let (rating, time) = (Some(("rating", 2)), Some(Time::seconds("timestamp", 3)));
        Delimited {
            separator: ",",
            quotes: true,
            trims: false,
            decimal: Decimal::Point,
            header: None,
            fields: 4,
            user,
            item: 1 - user,
            rating,
            time,
        }
    };
    // The release with the parent product as item has milliseconds.
    let times = form.time_form(file)?;
    form.time = form.time.map(|time| Time { form: &times, ..time });
    Lines {
        file,
        header: u64::from(is_header),
        quoted_by: form.quoted_by(),
        columns: ["user", "item"],
        known: [None, None],
        parse: &|line, take| take(form.parse(line)),
    }
    .read(cx)
    .map(|log| (log, times))
}

/// The position of the users' ids, 0 or 1, by the first lines.
fn user_column(file: &TextFile) -> Result<usize> {
    let place = || format!("cannot read {}", file.name().display());
    let (mut first, mut second) = (0, 0);
    for line in file.open()?.0.split(b'\n').take(PROBED_LINES) {
        let line = line.with_context(place)?;
        let line = String::from_utf8_lossy(&line);
        let mut fields = line.split(',').map(|field| field.trim_start_matches('"').starts_with('A'));
        first += u64::from(fields.next() == Some(true));
        second += u64::from(fields.next() == Some(true));
    }
    match (first, second) {
        (1.., 0) => Ok(0),
        (0, 1..) => Ok(1),
        _ => bail!(
            "{} has no header, and its ids do not distinguish users from items: of the first lines, {first} have a first field and \
             {second} have a second field that begins with `A`, as ids of users do\nhelp: read it with `ingest.table`, and name its \
             columns in their order, as `names: [user, item, rating, timestamp]` (2014) or `names: [item, user, rating, timestamp]` (2018)",
            file.name().display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str) -> Result<ReadLog> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ratings_Books.csv");
        std::fs::write(&path, text).unwrap();
        read(&TextFile::new(&path), &Context::detached(folder.path())).map(|(log, _)| log)
    }

    #[test]
    fn the_header_or_the_ids_decide_the_release() {
        for text in [
            "A1X,0001,5.0,1252800000\nA2X,B1,1.0,1252800001\n",
            "0001,A1X,5.0,1252800000\nB1,A2X,1.0,1252800001\n",
            "user_id,parent_asin,rating,timestamp\nA1X,0001,5.0,1252800000000\nA2X,B1,1.0,1252800001999\n",
            "\u{feff}asin,reviewerID,unixReviewTime,overall\n0001,A1X,1252800000,5.0\nB1,A2X,1252800001,1.0\n",
        ] {
            let read = run(text).unwrap();
            assert_eq!(read.new, [["A1X", "A2X"].map(str::to_owned), ["0001", "B1"].map(str::to_owned)], "{text}");
            assert_eq!(read.interactions.rating, [5.0, 1.0]);
            assert_eq!(read.interactions.timestamp, [1_252_800_000, 1_252_800_001]);
        }
        for text in ["U1,B1,5.0,1\n", "A1,A2,5.0,1\n", "A1,B1,5,1\nB1,A1,5,1\n"] {
            let error = run(text).err().unwrap().to_string();
            assert!(
                error.contains("ratings_Books.csv has no header, and its ids do not distinguish users from items"),
                "{error}"
            );
        }
    }
}
