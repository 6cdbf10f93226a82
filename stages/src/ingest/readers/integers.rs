//! Integers in files, also written as floats: pandas writes a column of integers as floats (`1995.0`) whenever one is missing.
//!
//! An id is a text, and `123.0` is kept as it is, unless **every** id of a column is an integer followed by `.0`. The ids of such a
//! column are read as `123`, so that they join with a table in which no value was missing.

use std::collections::HashSet;
use std::path::Path;

use arrow::datatypes::DataType;
use pipeline::Context;

/// From 2⁵³ on, neighbouring integers share a float.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The bound from which on neighbouring integers share a number of this type.
pub(in crate::ingest) fn exact_below(kind: &DataType) -> f64 {
    match kind {
        DataType::Float16 => 2048.0,
        DataType::Float32 => 16_777_216.0,
        _ => EXACT,
    }
}

/// The integer that a float holds exactly.
pub(in crate::ingest) fn from_float(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

/// The integer in a text: digits, or a float without a fraction (`1995.0`, `2e3`).
pub(in crate::ingest) fn from_text(text: &str) -> Option<i64> {
    let text = text.trim();
    // Digits are exact however many they are, zeros behind the point or not.
    let digits = match text.split_once('.') {
        Some((digits, zeros)) if zeros.bytes().all(|byte| byte == b'0') => digits,
        _ => text,
    };
    digits.parse().ok().or_else(|| text.parse().ok().and_then(from_float))
}

/// A year, or another integer of 32 bits, in a text.
pub(in crate::ingest) fn year(text: &str) -> Option<i32> {
    from_text(text)?.try_into().ok()
}

/// The id of a float: `123` for `123.0`; `None` where the text is not an integer written as a float.
pub(in crate::ingest) fn id(text: &str) -> Option<&str> {
    let digits = text.strip_suffix(".0")?;
    let plain = digits.strip_prefix('-').unwrap_or(digits);
    let is_whole = match plain.as_bytes() {
        [b'0'] => digits == plain,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_whole.then_some(digits)
}

/// Whether these ids are a column of integers written as floats; missing values (`nan`) are ignored.
pub(in crate::ingest) fn are_floats<'a>(ids: impl IntoIterator<Item = &'a str>) -> bool {
    let mut ids = ids.into_iter().filter(|id| !EMPTY.contains(id)).peekable();
    ids.peek().is_some() && ids.all(|text| id(text).is_some())
}

/// Writes ids that [`are_floats`] as integers, and returns whether they were. Distinct ids stay distinct.
pub(in crate::ingest) fn strip_fractions(ids: &mut [String]) -> bool {
    let floats = are_floats(ids.iter().map(String::as_str));
    if floats {
        for text in ids.iter_mut().filter(|text| id(text).is_some()) {
            text.truncate(text.len() - ".0".len());
        }
    }
    floats
}

/// How pandas writes missing values as text.
const EMPTY: [&str; 6] = ["nan", "NaN", "None", "<NA>", "null", "NULL"];

/// Notes on the run that the ids of a column were read as integers.
pub(in crate::ingest) fn note_stripped(column: &str, file: &Path, cx: &Context) {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    cx.note(
        &format!("{column} ids in {name}"),
        format!("`{column}` holds integers written as floats: `123.0` is read as `123`"),
    );
}

/// Warnings about ids of which several may have become one, or one several.
pub(in crate::ingest) fn id_warnings(ids: &[String], of: &str) -> Vec<String> {
    let mut doubts = Vec::new();
    let rounded = ids.iter().filter(|id| is_rounded(id)).count();
    if let Some(first) = ids.iter().find(|id| is_rounded(id)) {
        doubts.push(format!(
            "{rounded} {of} ids are rounded numbers (the first: {first:?}), as spreadsheets and pandas write long numbers: several ids \
             may have become one; write ids as text"
        ));
    }
    if let Some(empty) = ids.iter().find(|id| EMPTY.contains(&id.as_str())) {
        doubts.push(format!(
            "one {of} id is {empty:?}, which pandas writes for a missing id: all rows without an id then count as one {of}; \
             remove them from the file"
        ));
    }
    let floats: Vec<&str> = ids.iter().filter_map(|text| id(text)).collect();
    let padded: Vec<&String> = ids.iter().filter(|id| id.trim() != **id).collect();
    let known: HashSet<&str> =
        if floats.is_empty() && padded.is_empty() { HashSet::new() } else { ids.iter().map(String::as_str).collect() };
    let twice: Vec<&&String> = padded.iter().filter(|id| known.contains(id.trim())).collect();
    if let Some(first) = twice.first() {
        doubts.push(format!(
            "{} {of} ids differ from another one by spaces around them alone (the first: {first:?}), and count as two; \
             `trim_whitespace: true` of `ingest.table` leaves such spaces out",
            twice.len()
        ));
    }
    let both: Vec<&str> = floats.into_iter().filter(|whole| known.contains(whole)).collect();
    if let Some(first) = both.first() {
        doubts.push(format!(
            "{} {of} ids occur both as integers and as floats (the first: {first:?} and \"{first}.0\"), and count as two; write \
             them in one form",
            both.len()
        ));
    }
    doubts
}

/// Whether a text is a number with an exponent as spreadsheets and pandas write it (`1.23E+11`); an id written so has lost digits.
pub(in crate::ingest) fn is_rounded(id: &str) -> bool {
    let Some((digits, power)) = id.split_once(['e', 'E']) else { return false };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fraction = digits.split_once('.').map_or(are_digits(digits) && digits.len() == 1, |(whole, fraction)| {
        whole.len() == 1 && are_digits(whole) && are_digits(fraction)
    });
    fraction && power.strip_prefix('+').is_some_and(are_digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_in_floats_are_whole_numbers() {
        for (text, number) in [
            ("1995", 1995),
            ("1995.0", 1995),
            (" 1995.000 ", 1995),
            ("1995.", 1995),
            ("-44.0", -44),
            ("1.995e3", 1995),
            ("9223372036854775807.0", i64::MAX),
        ] {
            assert_eq!(from_text(text), Some(number), "{text}");
        }
        for text in ["", "1995.5", "(1995)", "1,995", "nan", "inf", "1e16", "1995.0.0", "soon"] {
            assert_eq!(from_text(text), None, "{text}");
        }
        assert_eq!(
            (from_float(-3.0), from_float(0.5), from_float(1e16), from_float(f64::NAN)),
            (Some(-3), None, None, None)
        );
        assert_eq!((year("1995.0"), year("3e9")), (Some(1995), None));
    }

    #[test]
    fn ids_are_floats_all_or_none() {
        let mended = |ids: &[&str]| {
            let mut ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let were = strip_fractions(&mut ids);
            (were, ids.join(" "))
        };
        assert_eq!(
            mended(&["1.0", "0.0", "-7.0", "12345678901234567890.0"]),
            (true, "1 0 -7 12345678901234567890".into())
        );
        // pandas-dev/pandas#25353: so a column of numbers with one missing becomes text.
        assert_eq!(mended(&["1.0", "nan", "2.0"]), (true, "1 nan 2".into()));
        for ids in
            [&["nan"][..], &["1.0", "2"], &["1.0", "1.5"], &["01.0"], &["-0.0"], &["1.00"], &["v.0"], &[".0"], &[]]
        {
            assert_eq!(mended(ids), (false, ids.join(" ")));
        }
        let doubts =
            |ids: &[&str]| id_warnings(&ids.iter().map(ToString::to_string).collect::<Vec<_>>(), "user").join("|");
        assert_eq!(doubts(&["1", "2.0", "x1e+5", "u1 "]), "");
        assert!(doubts(&["u1", "u1 ", " u1", " u2"]).starts_with("2 user ids differ from another one by spaces"));
        assert!(doubts(&["1", "1.0"]).contains("1 user ids occur both as integers and as floats"));
        let both = doubts(&["1.23E+11", "nan"]);
        assert!(
            both.contains("1 user ids are rounded numbers (the first: \"1.23E+11\")")
                && both.contains("|one user id is \"nan\""),
            "{both}"
        );
        assert!(is_rounded("1.23E+11") && is_rounded("1e+16") && is_rounded("1.2345678901234568e+16"));
        for id in ["1e5", "12E+3", "E+1", "1.2", "b1e+5", "1.E+2", "1e+"] {
            assert!(!is_rounded(id), "{id}");
        }
    }
}
