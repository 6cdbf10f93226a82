//! How a separated text is written: by its first records, what separates fields, and whether the first of them names the columns.

use std::path::Path;

use super::records::{Cut, Field};

/// Separators of fields, by preference.
const SEPARATORS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// Records that tell the form.
const RECORDS: usize = 20;

/// How a text is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub cut: Cut,
    /// Whether the first record names the columns.
    pub has_header: bool,
    /// The names of the columns.
    pub names: Vec<String>,
}

impl Form {
    /// By the beginning of a file.
    pub fn of(path: &Path, start: &[u8], quotes: bool) -> Self {
        let cut = Cut { separator: separator(path, start, quotes), quotes };
        let mut fields = Vec::new();
        let first = match cut.record(start, &mut fields) {
            Ok(Some(_)) => fields.iter().map(|field| field.text(start)).collect(),
            // Whoever reads on says what is wrong.
            _ => vec![String::new()],
        };
        // A number names no column.
        let has_header = !first.iter().any(|name| name.trim().parse::<f64>().is_ok_and(f64::is_finite));
        let names = match has_header {
            true => distinct(first.into_iter()),
            false => (1..=first.len()).map(|column| format!("column_{column}")).collect(),
        };
        Self { cut, has_header, names }
    }
}

/// The names of columns in a first record.
pub(super) fn header(record: &[u8], fields: &[Field]) -> Vec<String> {
    distinct(fields.iter().map(|field| field.text(record)))
}

/// The separator by which the first records have equally many fields, and the most of them; where there is none, by which the first record
/// has the most.
fn separator(path: &Path, start: &[u8], quotes: bool) -> u8 {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let preferred = match ending.as_deref() {
        Some("tsv" | "tab") => b'\t',
        Some("psv") => b'|',
        _ => b',',
    };
    let others = SEPARATORS.into_iter().filter(|&separator| separator != preferred);
    let rank = |separator: u8| {
        let counts = counts(Cut { separator, quotes }, start);
        let first = counts.first().copied().unwrap_or(0);
        let is_even = counts.iter().all(|&count| count == first);
        // A text of one column and one that is cut in the wrong way look alike.
        (is_even && first > 1, if first > 1 || is_even { first } else { 0 })
    };
    // The first of those that are as good.
    let all: Vec<u8> = std::iter::once(preferred).chain(others).collect();
    all.into_iter().rev().max_by_key(|&separator| rank(separator)).unwrap_or(preferred)
}

/// Fields of each of the first records; 0 of one that is broken.
fn counts(cut: Cut, mut text: &[u8]) -> Vec<usize> {
    let (mut fields, mut counts) = (Vec::new(), Vec::new());
    while counts.len() < RECORDS {
        match cut.record(text, &mut fields) {
            Ok(Some(length)) => {
                // A blank line tells nothing.
                if length > 2 || counts.is_empty() {
                    counts.push(fields.len());
                }
                text = &text[length..];
            }
            Ok(None) => break,
            Err(_) => {
                counts.push(0);
                break;
            }
        }
    }
    counts
}

/// The names with those that are taken numbered.
fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let numbered = (0..).map(|number| format!("{name}_duplicated_{number}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        all.extend(names.find(|name| !all.contains(name)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str, text: &str) -> (char, bool, String) {
        let form = Form::of(Path::new(name), text.as_bytes(), true);
        (form.cut.separator.into(), form.has_header, form.names.join("|"))
    }

    #[test]
    fn separator_and_header_are_found_with_quotes_in_mind() {
        for (name, text, separator, names) in [
            ("x.csv", "a,b\n1,2\n", ',', "a|b"),
            ("x.csv", "\"a,b,c,d\";f\n1;2\n", ';', "a,b,c,d|f"),
            ("x.csv", "\"x\"\"y\",b\n1,2\n", ',', "x\"y|b"),
            ("x.csv", "x\"\"y,b\n1,2\n", ',', "x\"\"y|b"),
            ("x.csv", "id;name, first, last\n1;a\n", ';', "id|name, first, last"),
            ("x.tsv", "title\nHeat, the\n", '\t', "title"),
            ("x.csv", "title\nHeat\n", ',', "title"),
            ("x.csv", "a,b\n1,2\n3,4,5\n", ',', "a|b"),
            ("x.psv", "a|b\n", '|', "a|b"),
            ("x.csv", "a,,b,,a\n", ',', "a||b|_duplicated_0|a_duplicated_0"),
            ("x.csv", "\"a\nb\",c\n1,2\n", ',', "a\nb|c"),
        ] {
            assert_eq!(form(name, text), (separator, true, names.into()), "{text:?}");
        }
        for text in ["1,x\n", "\"1\",x\n"] {
            assert_eq!(form("x.csv", text), (',', false, "column_1|column_2".into()), "{text:?}");
        }
    }
}
