//! How a text separates and quotes its fields, and whether its first line names the columns.

use std::collections::BTreeMap;

use super::column::is_missing;
use super::role_names::{KNOWN_NAMES, normalised};
use crate::ingest::readers::delimited::fields;
use crate::ingest::readers::header::looks_like_header;
use crate::ingest::readers::side_table::SEPARATORS;

/// The share of rows with the usual number of fields from which on a separator is believed.
const CONSISTENT: f64 = 0.9;
/// The share of rows with half a quoted field from which on the quotes are taken for misread.
const TORN: f64 = 0.1;
/// Lines that a field in quotes may have, at most.
const LINES: usize = 50;

/// How fields are separated and quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextForm {
    pub separator: &'static str,
    /// Whether fields may be in quotes.
    pub quotes: bool,
    /// The number of fields of nearly all rows.
    pub width: usize,
}

/// What speaks for a form, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Whether it cuts the first row and nearly all others alike.
    fits_all: bool,
    /// Whether it cuts nearly all rows alike.
    fits_most: bool,
    /// Whether it leaves no quoted field in parts or in its quotes.
    is_clean: bool,
    /// 2 for the separator of the file's name, 0 for a space, which dates and titles hold, and for two fields, which may be one with a comma.
    worth: u8,
    width: usize,
}

impl TextForm {
    /// Of the forms that cut the first row and nearly all others alike one that leaves quoted fields whole, then that of the file's name
    /// (`own`), then the one that gives most fields, as `DuckDB` decides.
    pub fn of(lines: &[String], own: Option<&str>) -> Option<Self> {
        let has_quotes = lines.iter().any(|line| line.contains('"'));
        let mut best: Option<(Rank, Self)> = None;
        for separator in SEPARATORS {
            // By default quotes count beside commas and semicolons only.
            let usual = matches!(separator, "," | ";");
            for quotes in [usual, !usual].into_iter().filter(|quotes| *quotes == usual || has_quotes) {
                let rows = text_rows(lines, separator, quotes);
                let Some((rank, width)) = rank(&rows, separator, quotes, own) else { continue };
                if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                    best = Some((rank, Self { separator, quotes, width }));
                }
            }
        }
        best.map(|(_, found)| found)
    }
}

/// The rank of a form with the number of its fields; `None` where it cuts fewer than half of the rows alike.
fn rank(rows: &[Option<Vec<String>>], separator: &str, quotes: bool, own: Option<&str>) -> Option<(Rank, usize)> {
    let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
    for row in rows {
        *widths.entry(row.as_ref().map_or(0, Vec::len)).or_default() += 1;
    }
    let (&width, &count) = widths.iter().max_by_key(|(width, count)| (**count, **width))?;
    let share = count as f64 / rows.len() as f64;
    if width < 2 || share < 0.5 {
        return None;
    }
    let whole: Vec<&Vec<String>> = rows.iter().flatten().filter(|row| row.len() == width).collect();
    let is_first = rows.first()?.as_ref().is_some_and(|row| row.len() == width);
    let worth = match width > 2 {
        true if own == Some(separator) => 2,
        true if separator != " " => 1,
        _ => 0,
    };
    let rank = Rank {
        fits_all: share >= CONSISTENT && is_first,
        fits_most: share >= CONSISTENT,
        is_clean: !is_torn(&whole) && (quotes || !is_wrapped(&whole, width)),
        worth,
        width,
    };
    Some((rank, width))
}

/// Whether many rows have a field with one of the two quotes around a text, as where `"Doe, John"` is cut at its comma.
fn is_torn(rows: &[&Vec<String>]) -> bool {
    let is_half = |field: &String| field.matches('"').count() % 2 == 1;
    let torn = rows.iter().filter(|row| row.iter().any(is_half)).count();
    torn as f64 > TORN * rows.len() as f64
}

/// Whether a column has quotes around nearly all of its values.
fn is_wrapped(rows: &[&Vec<String>], width: usize) -> bool {
    let wrapped = |field: &str| field.len() > 1 && field.starts_with('"') && field.ends_with('"');
    let count = |at: usize| rows.iter().filter(|row| wrapped(&row[at])).count();
    (0..width).any(|at| count(at) as f64 >= CONSISTENT * rows.len() as f64)
}

/// The fields of each row, `None` for one that cannot be read; in quotes a row may go on in the next lines.
pub(super) fn text_rows(lines: &[String], separator: &str, quotes: bool) -> Vec<Option<Vec<String>>> {
    let halves = |line: &str| line.matches('"').count() % 2 == 1;
    let mut rows = Vec::with_capacity(lines.len());
    let mut rest = lines;
    while let Some((line, behind)) = rest.split_first() {
        rest = behind;
        let mut row = fields(line, separator, quotes).ok();
        if row.is_none() && halves(line) {
            // What a quote opens ends in the next line with half a pair.
            let end = behind.iter().take(LINES).position(|line| halves(line));
            let joined = end.map(|end| lines_to(line, &behind[..=end]));
            row = joined.and_then(|text| fields(&text, separator, quotes).ok());
            if let (Some(_), Some(end)) = (&row, end) {
                rest = &behind[end + 1..];
            }
        }
        rows.push(row);
    }
    rows
}

fn lines_to(first: &str, others: &[String]) -> String {
    others.iter().fold(first.to_owned(), |text, line| text + "\n" + line)
}

/// Whether the first of these rows names the columns.
pub(super) fn is_header(rows: &[Vec<String>]) -> bool {
    let Some((first, rest)) = rows.split_first() else { return false };
    let comes_again = |at: usize| rest.iter().any(|row| row[at] == first[at]);
    if !looks_like_header(first, &[]) {
        // A column may be called 2021; a user or an item is hardly called `user` or `item`, and only once.
        let names =
            |known: &[&str]| (0..first.len()).any(|at| known.contains(&&*normalised(&first[at])) && !comes_again(at));
        let [users, items, ..] = KNOWN_NAMES;
        return names(users) && names(items);
    }
    let known = looks_like_header(&[first.clone(), vec!["0".to_owned()]].concat(), &KNOWN_NAMES.concat());
    // A name does not come again as a value, unless it is one for a missing number.
    let is_name = |name: &str| !is_missing(name) && name.parse::<f64>().is_err();
    known || !(0..first.len()).any(|at| is_name(&first[at]) && comes_again(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str, own: Option<&str>) -> (&'static str, bool, usize) {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let TextForm { separator, quotes, width } = TextForm::of(&lines, own).unwrap();
        (separator, quotes, width)
    }

    #[test]
    fn a_separator_in_quotes_separates_nothing() {
        let both = "\"Doe, A\",\"Heat, a film\",4\n".repeat(9);
        for (text, own, wanted) in [
            (both.clone(), Some(","), (",", true, 3)),
            (both.clone(), None, (",", true, 3)),
            (format!("\"who, name\",\"what, title\",stars\n{both}"), Some(","), (",", true, 3)),
            (both.replace(',', ";"), Some(","), (";", true, 3)),
            (both.replace(',', "|"), None, ("|", true, 3)),
            (both.replace(',', "\t"), None, ("\t", true, 3)),
            ("u1,i1,5,\"a|b|c|d|e\"\n".repeat(9), None, (",", true, 4)),
            ("u1\t\"i1\"\t\"5\"\n".repeat(9), Some("\t"), ("\t", true, 3)),
            // Quotes that belong to the text.
            ("u1\tthe 12\" mix, long\t5\n".repeat(9), None, ("\t", false, 3)),
            ("u1\tthe \"good, the\" bad\t5\n".repeat(9), None, ("\t", false, 3)),
        ] {
            assert_eq!(form(&text, own), wanted, "{text}");
        }
    }

    #[test]
    fn a_field_in_quotes_may_have_several_lines() {
        let text = format!("user,item,rating,review\n{}", "u1,i1,4,\"good, \nvery \"\"good\"\"\nindeed\"\n".repeat(9));
        assert_eq!(form(&text, Some(",")), (",", true, 4));
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let rows = text_rows(&lines, ",", true);
        assert_eq!((rows.len(), &*rows[9].as_ref().unwrap()[3]), (10, "good, \nvery \"good\"\nindeed"));
        // A quote that is never closed spoils its row alone.
        let open: Vec<String> = ["u,i", "1,\"2", "2,3"].map(str::to_owned).to_vec();
        assert_eq!(text_rows(&open, ",", true).iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn names_that_read_like_numbers_are_names() {
        let is = |text: &str| {
            is_header(&text.lines().map(|row| row.split(',').map(str::to_owned).collect()).collect::<Vec<_>>())
        };
        for header in [
            "a,b,nan\nx,y,1\nz,y,nan\n",
            "inf,b,c\n1,y,1\ninf,y,2\n",
            "a,NA,c\nx,NA,1\n",
            "user,item,nan\nx,y,nan\n",
            "user,item,2021\nx,y,4\nz,y,5\n",
            "who,what,inf\nx,y,4\n",
        ] {
            assert!(is(header), "{header}");
        }
        for rows in
            ["u1,i1,nan\nu1,i2,3\n", "u1,i1,4\nu1,i2,inf\n", "user,item,3\nuser,item,4\n", "click,i1,3\nview,i2,4\n"]
        {
            assert!(!is(rows), "{rows}");
        }
    }
}
