//! What a column holds, by a sample of its values.

use std::collections::BTreeSet;

use super::column_times::ColumnTimes;
use crate::ingest::readers::plain_number::behind_comma;

/// The share of values that makes a column one of numbers or of times.
const MOST: f64 = 0.95;
/// Values of a scale of ratings, at most: stars in tenths, or percents.
const SCALE: usize = 101;

/// A column by its sampled values.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub name: String,
    /// Values that are not missing.
    filled: usize,
    pub distinct: usize,
    numbers: usize,
    integers: usize,
    pub min: f64,
    pub max: f64,
    /// What its values are as times.
    pub times: ColumnTimes,
    /// Whether numbers have a decimal comma (`4,5`).
    pub decimal_comma: bool,
    /// Values that are numbers but for their commas (`4,5`, `1,234,567`).
    pub with_commas: usize,
    /// Values in the text of a list.
    pub lists: usize,
    /// Values with spaces around them.
    pub padded: usize,
    /// Values that stand for a missing one, as `NULL`.
    missing: usize,
    /// The first of the distinct values, in the order of the table.
    pub examples: Vec<String>,
}

/// Values that are shown of a column, at most.
const SHOWN: usize = 4;

/// What databases, R and Python write for a missing value.
pub(super) fn is_missing(text: &str) -> bool {
    ["", "null", "na", "n/a", "nan", "none", "<na>", "\\n"].contains(&text.to_ascii_lowercase().as_str())
}

/// Whether the numbers among these texts have a decimal comma. Three digits behind each comma may be thousands, and a point beside commas
/// leaves open what either means.
fn has_decimal_comma(texts: &[&str]) -> bool {
    let mut behind = texts.iter().filter_map(|text| behind_comma(text));
    behind.any(|digits| digits != 3) && !texts.iter().any(|text| text.contains('.') && text.parse::<f64>().is_ok())
}

fn is_number_with_commas(text: &str) -> bool {
    text.contains(',') && text.replace(',', "").parse::<f64>().is_ok_and(f64::is_finite)
}

impl Column {
    /// The column of these values; `typed_time` says that its type is a date or a time.
    pub fn new(name: &str, values: &[&str], typed_time: bool) -> Self {
        let present: Vec<&str> = values.iter().map(|value| value.trim()).filter(|value| !value.is_empty()).collect();
        let filled: Vec<&str> = present.iter().copied().filter(|value| !is_missing(value)).collect();
        let decimal_comma = has_decimal_comma(&filled);
        let number = |text: &str| match decimal_comma {
            true => text.replacen(',', ".", 1).parse().ok(),
            false => text.parse().ok(),
        };
        let numbers: Vec<f64> =
            filled.iter().filter_map(|text| number(text)).filter(|number: &f64| number.is_finite()).collect();
        // Times are read with a point alone.
        let counts = if decimal_comma { &[] } else { &numbers[..] };
        let times = ColumnTimes::new(&filled, counts, typed_time);
        let (mut distinct, mut examples) = (BTreeSet::new(), Vec::new());
        for value in &filled {
            if distinct.insert(*value) && examples.len() < SHOWN {
                examples.push(value.chars().take(20).collect());
            }
        }
        Self {
            name: name.to_owned(),
            filled: filled.len(),
            distinct: distinct.len(),
            numbers: numbers.len(),
            integers: numbers.iter().filter(|number| number.fract() == 0.0).count(),
            min: numbers.iter().copied().fold(f64::INFINITY, f64::min),
            max: numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            times,
            decimal_comma,
            with_commas: filled.iter().filter(|text| is_number_with_commas(text)).count(),
            lists: filled.iter().filter(|text| text.starts_with('[')).count(),
            padded: values.iter().filter(|value| value.trim() != **value && !value.trim().is_empty()).count(),
            missing: present.len() - filled.len(),
            examples,
        }
    }

    /// Whether some values are numbers, and some are not.
    pub fn holds_some_numbers(&self) -> bool {
        self.numbers > 0
    }

    /// Values that are no numbers, of how many.
    pub fn others(&self) -> (usize, usize) {
        (self.filled - self.numbers + self.missing, self.filled + self.missing)
    }

    /// Some of its values, in words: all where they are few.
    pub fn shown(&self) -> String {
        let values: Vec<String> = self.examples.iter().map(|value| format!("`{value}`")).collect();
        format!("{}{}", values.join(", "), if self.distinct > values.len() { ", …" } else { "" })
    }

    fn are_most(&self, count: usize) -> bool {
        self.filled > 0 && count as f64 >= MOST * self.filled as f64
    }

    pub fn holds_numbers(&self) -> bool {
        self.are_most(self.numbers)
    }

    /// The same, also with commas in them.
    pub fn holds_numbers_with_commas(&self) -> bool {
        self.are_most(self.numbers + if self.decimal_comma { 0 } else { self.with_commas })
    }

    pub fn holds_integers(&self) -> bool {
        self.are_most(self.integers)
    }

    pub fn holds_times(&self) -> bool {
        self.are_most(self.times.times)
    }

    /// Whether it holds dates for the most part, and too few of a known form to be read as times.
    pub fn holds_mixed_dates(&self) -> bool {
        !self.holds_times() && 2 * self.times.dates > self.filled
    }

    /// Whether it holds times in two units.
    pub fn holds_mixed_units(&self) -> bool {
        let [(_, own), (_, other)] = self.times.units;
        !self.holds_times() && other > 0 && self.are_most(own + other)
    }

    /// How many values are present.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Whether the values are those of a scale: few numbers in a small range, each of them often.
    pub fn is_scale(&self) -> bool {
        self.holds_numbers()
            && self.distinct <= SCALE
            && self.distinct * 2 <= self.filled
            && self.min >= -10.0
            && self.max <= 100.0
            && !self.holds_times()
    }

    /// Whether the values may be ids: no fractions, and present.
    pub fn may_be_ids(&self) -> bool {
        self.filled > 0
            && !self.holds_times()
            && !self.holds_mixed_dates()
            && self.lists == 0
            && (!self.holds_numbers() || self.holds_integers())
    }

    /// What it holds, in words.
    pub fn words(&self) -> &'static str {
        match self {
            _ if self.filled == 0 => "nothing",
            _ if self.holds_times() && !self.holds_numbers() => "dates",
            _ if self.holds_times() => "times",
            _ if self.holds_integers() => "integers",
            _ if self.holds_numbers() => "numbers",
            _ => "texts",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_known_by_its_values() {
        let column = |values: &[&str]| Column::new("c", values, false);
        let stars = column(&["1", "5", "4.5", "1", "5", "5", "1", "4.5"]);
        assert!(stars.is_scale() && !stars.holds_times() && !stars.may_be_ids(), "{stars:?}");
        assert_eq!((stars.words(), stars.min, stars.max, stars.distinct), ("numbers", 1.0, 5.0, 3));
        let times = column(&["1609459200000", "1609459201000", ""]);
        assert!(times.holds_times() && !times.is_scale() && times.words() == "times", "{times:?}");
        assert_eq!(column(&["2021-01-01", "2021-01-02"]).words(), "dates");
        let ids = column(&["10", "11", "12", "13"]);
        assert!(ids.may_be_ids() && !ids.is_scale() && ids.words() == "integers", "{ids:?}");
        assert!(column(&["a1", "b2"]).may_be_ids());
        assert_eq!(column(&["1609459200.25", "1609459201.5"]).words(), "times");
        assert_eq!(column(&["", ""]).words(), "nothing");
        let stars = column(&["4", "NULL", "5 ", "4", "NULL", "n/a"]);
        assert!(stars.holds_numbers() && stars.padded == 1, "a missing value is none: {stars:?}");
        assert_eq!((stars.others(), stars.shown()), ((3, 6), "`4`, `5`".to_owned()));
        assert_eq!(column(&["a", "b", "c", "d", "e"]).shown(), "`a`, `b`, `c`, `d`, …");
    }

    #[test]
    fn commas_are_decimal_where_nothing_else_can_be_meant() {
        let column = |values: &[&str]| Column::new("c", values, false);
        let stars = column(&["4,5", "3", "4,125", "4,5"]);
        assert!(stars.decimal_comma && stars.holds_numbers() && stars.max == 4.5, "{stars:?}");
        for others in [&["1,234", "2,000"][..], &["4,5", "4.5"], &["1,234,567"], &["a,b", "c"], &["4.5", "4"]] {
            assert!(!column(others).decimal_comma, "{others:?}");
        }
    }

    #[test]
    fn dates_of_one_form_are_times_and_others_are_mixed() {
        let column = |values: &[&str]| Column::new("c", values, false);
        let american = column(&["03/28/2021", "04/01/2021"]);
        assert_eq!((american.times.date_form().map(String::as_str), american.words()), (Some("%m/%d/%Y"), "dates"));
        assert!(!american.may_be_ids() && !american.holds_mixed_dates());
        let open = column(&["03/04/2021", "05/06/2021"]);
        assert!(
            open.times.date_form().is_none() && !open.holds_times() && open.holds_mixed_dates() && !open.may_be_ids()
        );
        let torn = column(&["2021-01-01", "yesterday", "2021-01-02"]);
        assert!(torn.holds_mixed_dates() && !torn.holds_mixed_units() && !torn.may_be_ids());
        let units = column(&["1609459200", "1609459200000", "1609459201"]);
        assert!(units.holds_mixed_units() && units.times.units == [("seconds", 2), ("milliseconds", 1)], "{units:?}");
        let ids = column(&["20210131", "7", "12"]);
        assert!(!ids.holds_mixed_dates() && !ids.holds_mixed_units() && ids.may_be_ids(), "{ids:?}");
    }
}
