//! What the values of a column are as times: dates in one form or another, or counts of one unit or another.

use std::borrow::Cow;

use crate::artifact::parse_date_time;
use crate::ingest::readers::date_forms::{date_forms, is_read};
use crate::ingest::readers::time_form::TimeForm;
use crate::ingest::readers::time_unit::{UNITS, Unit};

/// The sampled values of a column as times.
#[derive(Clone, Debug)]
pub(super) struct ColumnTimes {
    /// Values that are times: dates of one form, or counts that are plausible in the unit of the column.
    pub times: usize,
    /// Texts that are dates, in ISO 8601 or in the form that most have.
    pub dates: usize,
    /// The forms of dates that are not in ISO 8601: several where the days do not say which is right.
    pub date_forms: Vec<String>,
    /// Counts since 1970 that are plausible in the unit of the column, and those in the most frequent other unit.
    pub units: [(&'static str, usize); 2],
}

impl ColumnTimes {
    /// Of the values that are present, and those of them that are numbers; `typed` says that the column's type is a date or a time.
    pub fn new(filled: &[&str], numbers: &[f64], typed: bool) -> Self {
        let form = TimeForm::of_sample(filled.iter().map(|text| Cow::Borrowed(*text)));
        let iso = filled.iter().filter(|text| parse_date_time(text).is_some()).count();
        let has_others = !typed && 2 * iso.max(numbers.len()) <= filled.len();
        let date_forms = if has_others { date_forms(filled) } else { Vec::new() };
        let is_text = |text: &&&str| text.parse::<f64>().is_err();
        let dates = match date_forms.first() {
            Some(form) => filled.iter().filter(|text| is_read(text, form)).count(),
            None => filled.iter().filter(is_text).filter(|text| parse_date_time(text).is_some()).count(),
        };
        let plausible = |unit: Unit| numbers.iter().filter(|count| unit.is_plausible(**count)).count();
        let own = form.unit();
        let others = UNITS.iter().filter(|(unit, _)| *unit != own).map(|(unit, name)| (*name, plausible(*unit)));
        let units = [(own.name(), plausible(own)), others.max_by_key(|(_, count)| *count).unwrap_or(("", 0))];
        let times = match form {
            _ if typed => filled.len(),
            _ if date_forms.len() == 1 => dates,
            TimeForm::Count(_) => units[0].1,
            TimeForm::Date | TimeForm::Written(_) => iso,
        };
        Self { times, dates, date_forms, units }
    }

    /// The form of its dates, where it is not ISO 8601 and the only one that fits.
    pub fn date_form(&self) -> Option<&String> {
        match &self.date_forms[..] {
            [form] => Some(form),
            _ => None,
        }
    }
}
