//! Rows of delimited fields.

use std::borrow::Cow;

use crate::artifact::TextFile;
use crate::ingest::readers::bad_rows::Fault;
use crate::ingest::readers::casts::{self, Seconds};
use crate::ingest::readers::decimal::Decimal;
use crate::ingest::readers::sampled_lines::sampled_lines;
use crate::ingest::readers::shard::Row;
use crate::ingest::readers::time_form::TimeForm;

/// The positions of a row's values among the fields of a line.
pub(in crate::ingest) struct Delimited<'a> {
    /// The separator of fields.
    pub separator: &'a str,
    /// Whether a field may be quoted; in quotes a quote is doubled, and the end of a line does not end the row (RFC 4180).
    pub quotes: bool,
    /// Whether spaces around a field are no part of it.
    pub trims: bool,
    /// The decimal sign of ratings.
    pub decimal: Decimal,
    /// The header: it occurs again in concatenated files, and is then not a row.
    pub header: Option<&'a str>,
    /// Number of fields per line.
    pub fields: usize,
    /// The position of the user's id, from 0.
    pub user: usize,
    /// The position of the item's id.
    pub item: usize,
    /// The name and position of the rating; `None` where all ratings are 1.
    pub rating: Option<(&'a str, usize)>,
    /// The time; `None` where all times are 0.
    pub time: Option<Time<'a>>,
}

/// The position of a time.
#[derive(Clone, Copy)]
pub(in crate::ingest) struct Time<'a> {
    /// The column's name.
    pub column: &'a str,
    /// Its position.
    pub at: usize,
    /// How times are written.
    pub form: &'a TimeForm,
    /// Whether it may be missing, which gives 0.
    pub may_be_missing: bool,
}

impl<'a> Time<'a> {
    /// A time in seconds, never missing.
    pub fn seconds(column: &'a str, at: usize) -> Self {
        Self { column, at, form: TimeForm::SECONDS, may_be_missing: false }
    }
}

impl Delimited<'_> {
    /// The separator of fields that may be quoted, so that a row may have several lines.
    pub fn quoted_by(&self) -> Option<u8> {
        self.separator.bytes().next().filter(|_| self.quotes)
    }

    /// The row in a line.
    pub fn parse<'l>(&self, line: &'l str) -> Result<Row<'l>, Fault> {
        if self.header.is_some_and(|header| is_header(line, header)) {
            return Err(Fault::repeated_header());
        }
        let wanted = [Some(self.user), Some(self.item), self.rating.map(|x| x.1), self.time.map(|x| x.at)];
        if self.quotes && line.contains('"') {
            let fields = quoted(line, self.separator)?;
            let found = wanted.map(|at| Cow::Owned(at.and_then(|at| fields.get(at).cloned()).unwrap_or_default()));
            return self.row(fields.len(), found);
        }
        let mut found = [""; 4];
        let mut count = 0;
        let mut field = |text| {
            for (slot, wanted) in found.iter_mut().zip(wanted) {
                if wanted == Some(count) {
                    *slot = text;
                }
            }
            count += 1;
        };
        if let [separator] = *self.separator.as_bytes() {
            // By bytes, which is faster than a text search for such short fields.
            let mut start = 0;
            for (at, &byte) in line.as_bytes().iter().enumerate() {
                if byte == separator {
                    field(&line[start..at]);
                    start = at + 1;
                }
            }
            field(&line[start..]);
        } else {
            line.split(self.separator).for_each(field);
        }
        self.row(count, found.map(Cow::Borrowed))
    }

    /// How the times of a file are written, by a sample of its lines.
    pub fn time_form(&self, file: &TextFile) -> anyhow::Result<TimeForm> {
        let Some(time) = self.time else { return Ok(TimeForm::SECONDS.clone()) };
        let fields = |line: &String| fields(line, self.separator, self.quotes).ok().filter(|f| f.len() == self.fields);
        let lines = sampled_lines(file)?;
        let texts = lines.iter().filter_map(fields).map(|mut fields| Cow::Owned(fields.swap_remove(time.at)));
        Ok(if self.trims { TimeForm::of_sample(texts.map(trimmed)) } else { TimeForm::of_sample(texts) })
    }

    fn row<'l>(&self, count: usize, found: [Cow<'l, str>; 4]) -> Result<Row<'l>, Fault> {
        if count != self.fields {
            return Err(Fault::fields(count, self.fields));
        }
        let [user, item, rating, time] = if self.trims { found.map(trimmed) } else { found };
        let timestamp = match self.time {
            Some(named) if !(named.may_be_missing && time.is_empty()) => named.form.of_text(&time, named.column)?,
            _ => Seconds::exactly(0),
        };
        let read = |column| casts::rating(self.decimal.number(&rating, column)?, column);
        let rating = self.rating.map_or(Ok(1.0), |(column, _)| read(column))?;
        Ok(Row { user, item, rating, timestamp })
    }
}

/// A text without the spaces around it.
fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => text.trim().into(),
        Cow::Owned(text) => text.trim().to_owned().into(),
    }
}

/// Whether a line is the header, also that of an appended file, with a byte-order mark.
pub(in crate::ingest) fn is_header(line: &str, header: &str) -> bool {
    line.trim_start_matches('\u{feff}') == header
}

/// The fields of a line: by the separator alone, or with quotes ([`quoted`]).
pub(in crate::ingest) fn fields(line: &str, separator: &str, quotes: bool) -> Result<Vec<String>, Fault> {
    if quotes { quoted(line, separator) } else { Ok(line.split(separator).map(str::to_owned).collect()) }
}

/// The fields of a line of which some may be quoted (RFC 4180). A quote opens a quoted field only at the beginning of the field; in
/// it a quote is doubled, and separators have no effect. Anywhere else a quote is an ordinary character, so that `a"b"c` is not read
/// as `abc`; pandas and DuckDB do the same.
///
/// # Errors
/// Where a quote is not closed, and where text follows a closed quote: pandas reads `"a"b` as `ab`, which may be another id, and
/// DuckDB refuses it.
pub(in crate::ingest) fn quoted(line: &str, separator: &str) -> Result<Vec<String>, Fault> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            Some(inside) => in_quotes(inside, separator)?,
            None => match rest.split_once(separator) {
                Some((field, behind)) => (field.to_owned(), Some(behind)),
                None => (rest.to_owned(), None),
            },
        };
        fields.push(field);
        match behind {
            Some(behind) => rest = behind,
            None => return Ok(fields),
        }
    }
}

/// A field after its opening quote, and the rest after its separator; `None` at the end of the line.
fn in_quotes<'l>(inside: &'l str, separator: &str) -> Result<(String, Option<&'l str>), Fault> {
    let mut field = String::new();
    let mut rest = inside;
    while let Some((part, behind)) = rest.split_once('"') {
        field.push_str(part);
        if let Some(behind) = behind.strip_prefix('"') {
            field.push('"');
            rest = behind;
            continue;
        }
        if behind.is_empty() {
            return Ok((field, None));
        }
        let next = behind.strip_prefix(separator).ok_or_else(|| {
            let found = format!("{behind:?} after the closing quote of {field:?}");
            let fault = Fault::row(found.chars().take(200).collect::<String>(), format!("{separator:?} there"));
            fault.help("in a quoted field a quote is doubled (`\"Say \"\"Hello\"\" now\"`)")
        })?;
        return Ok((field, Some(next)));
    }
    Err(Fault::row("an open quote", "a closed quote"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(separator: &str) -> Delimited<'_> {
        let time = Some(Time::seconds("timestamp", 3));
        Delimited {
            separator,
            quotes: false,
            trims: false,
            decimal: Decimal::Point,
            header: None,
            fields: 4,
            user: 0,
            item: 1,
            rating: Some(("rating", 2)),
            time,
        }
    }

    #[test]
    fn spaces_around_fields_are_left_out_where_that_is_wanted() {
        let plain = form(",");
        let fault = plain.parse("u1, i1, 4,5").err().unwrap();
        assert!(fault.to_string().starts_with("column `rating`: found \" 4\""), "{fault}");
        for quotes in [false, true] {
            let form = Delimited { trims: true, quotes, ..form(",") };
            for line in ["u1,i1,4,5", "u1 ,\ti1, 4 , 5 "] {
                let row = form.parse(line).unwrap_or_else(|fault| panic!("{fault}"));
                assert_eq!((&*row.user, &*row.item, row.rating, row.timestamp.whole), ("u1", "i1", 4.0, 5));
            }
        }
        let quoted = Delimited { trims: true, quotes: true, ..form(",") };
        assert_eq!(quoted.parse("\" u1 \",i1,4,5").ok().unwrap().user, "u1");
    }

    #[test]
    fn a_line_becomes_a_row_or_a_fault() {
        for separator in ["::", "\t"] {
            let form = form(separator);
            let row = form.parse(&"1::1193::4.5::978300760".replace("::", separator)).map(|row| {
                assert_eq!((&*row.user, &*row.item, row.rating, row.timestamp.whole), ("1", "1193", 4.5, 978_300_760));
            });
            row.unwrap_or_else(|fault| panic!("{fault}"));
            let fault = |line: &str| form.parse(&line.replace("::", separator)).err().unwrap().to_string();
            assert_eq!(fault("1::2::3"), "found 3 fields, wanted 4");
            assert_eq!(fault("1::2::x::4"), "column `rating`: found \"x\", wanted a finite number");
            assert_eq!(fault("1::2::3::NaN"), "column `timestamp`: found \"NaN\", wanted a finite number");
        }
    }

    #[test]
    fn quotes_units_and_what_may_be_missing() {
        let time = Some(Time { column: "t", at: 2, form: TimeForm::MILLISECONDS, may_be_missing: true });
        let header = Some("u,i,t");
        let form = Delimited {
            separator: ",",
            quotes: true,
            trims: false,
            decimal: Decimal::Point,
            header,
            fields: 3,
            user: 0,
            item: 1,
            rating: None,
            time,
        };
        let row = |line: &str| form.parse(line).map(|row| (row.item.into_owned(), row.rating, row.timestamp.whole));
        assert_eq!(row(r#"u,"a, ""b""",1500"#).ok().unwrap(), ("a, \"b\"".to_owned(), 1.0, 1));
        assert_eq!(row("u,a,-2000").ok().unwrap(), ("a".to_owned(), 1.0, -2));
        assert_eq!(row("u,a,").ok().unwrap().2, 0);
        for line in [r#"u,"a,3"#, r#"u,a,"3"#] {
            let fault = form.parse(line).err().unwrap().to_string();
            assert_eq!(fault, "found an open quote, wanted a closed quote");
        }
        // whitfin/s3-concat#3: files that are put together bring their headers, and a log without ratings takes any text.
        for line in ["u,i,t", "\u{feff}u,i,t"] {
            let fault = form.parse(line).err().unwrap().to_string();
            assert_eq!(fault, "found the header again, wanted a row");
        }
    }

    #[test]
    fn a_quote_opens_a_field_only_at_its_beginning() {
        let read = |line: &str| quoted(line, ",").map(|fields| fields.join("|")).map_err(|fault| fault.to_string());
        for (line, wanted) in [
            (r#"a"b"c,abc"#, r#"a"b"c|abc"#),
            (r#"Say "Hello" now,12" mix,x""#, r#"Say "Hello" now|12" mix|x""#),
            (r#""Say ""Hello"" now","x, y",z"#, r#"Say "Hello" now|x, y|z"#),
            (r#""","""","""""""#, r#"|"|"""#),
            (r#" "a",b"#, r#" "a"|b"#),
            ("\"\u{e9}\u{1f600}\",\u{e9}", "\u{e9}\u{1f600}|\u{e9}"),
        ] {
            assert_eq!(read(line).unwrap(), wanted, "{line}");
        }
        for line in [r#""a"b,c"#, r#""a" ,c"#, r#""Say "Hello" now",c"#] {
            let fault = read(line).unwrap_err();
            assert!(fault.contains("after the closing quote of") && fault.ends_with("wanted \",\" there"), "{fault}");
        }
        assert_eq!(fields("\"a\"\tb\"", "\t", false).ok().unwrap(), ["\"a\"", "b\""]);
    }
}
