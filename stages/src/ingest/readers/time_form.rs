//! How a column writes its times: as a count of one unit since 1970, as dates in ISO 8601, or in a form that the experiment names.
//!
//! Where the experiment names neither a unit nor a form, a sample of the column decides, one form for all rows. Counts are in the unit
//! in which most of them are plausible; the ranges of the units do not meet. Where most are plausible in none, as positions are, the
//! counts are kept as seconds, which keeps their order. Milliseconds read as seconds would give the year 52971 and, unnoticed, the
//! same order within each user.

use std::borrow::Cow;

use serde_json::Value;

use crate::artifact::{CALENDAR, date_of, parse_date_time, parse_written, year_of};
use crate::ingest::readers::bad_rows::Fault;
use crate::ingest::readers::casts::Seconds;
use crate::ingest::readers::plain_number::number;
use crate::ingest::readers::time_unit::{UNITS, Unit};

/// The help for a time that is not a number.
const COUNTS: &str = "the times of this column are read as numbers since 1970; `ingest.table` reads dates in text as well: those as \
                      2021-01-31 where `timestamp` has no `unit`, any other form where it is named, as \
                      `timestamp: { column: date, format: \"%m/%d/%Y\" }` for 01/31/2021";
/// The help for a text that is no date.
const DATES: &str = "dates are read as 2021-01-31, with or without a time and a zone; `format` of `timestamp` of `ingest.table` names any \
                     other form, as `format: \"%m/%d/%Y\"` for 01/31/2021 or `\"%d.%m.%Y\"` for 31.01.2021";

/// How a column writes its times.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::ingest) enum TimeForm {
    /// Numbers since 1970.
    Count(Unit),
    /// Dates, with or without a time and a zone.
    Date,
    /// Dates in a form of `strftime`.
    Written(String),
}

impl TimeForm {
    /// Numbers of seconds.
    pub const SECONDS: &'static Self = &Self::Count(Unit::Seconds);
    /// Numbers of milliseconds.
    pub const MILLISECONDS: &'static Self = &Self::Count(Unit::Milliseconds);

    /// What the settings say; `None` where the column has to be asked.
    pub fn given(unit: Option<Unit>, format: Option<&String>) -> Option<Self> {
        format.map(|form| Self::Written(form.clone())).or(unit.map(Self::Count))
    }

    /// The form of a column from which these texts are a sample.
    pub fn of_sample<'t>(texts: impl IntoIterator<Item = Cow<'t, str>>) -> Self {
        let (mut numbers, mut dates, mut compact) = (Vec::new(), 0_usize, 0_usize);
        for text in texts {
            match number(text.trim(), "") {
                Ok(count) => {
                    // `20210131`: a count of seconds would be a day in August 1970.
                    compact +=
                        usize::from(parse_date_time(&text).is_some_and(|moment| is_believed(moment.timestamp())));
                    numbers.push(count);
                }
                Err(_) => dates += usize::from(parse_date_time(&text).is_some()),
            }
        }
        if dates > numbers.len() || (compact > 0 && compact == numbers.len()) {
            return Self::Date;
        }
        let plausible = |unit: Unit| numbers.iter().filter(|count| unit.is_plausible(**count)).count();
        // The first of the units with the most: seconds, where none is plausible.
        let most = UNITS.iter().rev().max_by_key(|(unit, _)| plausible(*unit)).map_or(Unit::Seconds, |(unit, _)| *unit);
        Self::Count(if 2 * plausible(most) >= numbers.len() { most } else { Unit::Seconds })
    }

    /// The unit that times are counted in; dates have whole seconds.
    pub fn unit(&self) -> Unit {
        match self {
            Self::Count(unit) => *unit,
            Self::Date | Self::Written(_) => Unit::Seconds,
        }
    }

    /// What the times are, for notes.
    pub fn words(&self) -> Cow<'static, str> {
        match self {
            Self::Count(unit) => format!("{} since 1970", unit.name()).into(),
            Self::Date => "dates".into(),
            Self::Written(form) => format!("dates as `{form}`").into(),
        }
    }

    /// The time in a text of `column`.
    pub fn of_text(&self, text: &str, column: &str) -> Result<Seconds, Fault> {
        match self {
            Self::Count(unit) => match text.parse() {
                // An integer is not parsed as a float, which cannot hold nanoseconds since 1970.
                Ok(parts) => self.checked(unit.of_parts(parts), || text.to_owned(), column),
                Err(_) => self.of_number(number(text, column), column),
            },
            Self::Date => self.of_date(parse_date_time(text), text, "a date as 2021-01-31", column),
            Self::Written(form) => {
                self.of_date(parse_written(text, form), text, &format!("a date as `{form}`"), column)
            }
        }
    }

    fn of_date(
        &self,
        moment: Option<chrono::DateTime<chrono::Utc>>,
        text: &str,
        wanted: &str,
        column: &str,
    ) -> Result<Seconds, Fault> {
        let moment = moment.ok_or_else(|| Fault::value(column, text, wanted).help(DATES))?;
        Ok(Seconds { whole: moment.timestamp(), exact: moment.timestamp_subsec_nanos() == 0 })
    }

    /// The time in a number of `column`.
    pub fn of_number(&self, count: Result<f64, Fault>, column: &str) -> Result<Seconds, Fault> {
        let count = count.map_err(|fault| fault.help(COUNTS))?;
        match self {
            Self::Count(unit) => {
                let seconds = Seconds::of_number(count, unit.per_second() as f64);
                self.checked(seconds, || format!("{count:e}"), column)
            }
            _ => self.of_text(&count.to_string(), column),
        }
    }

    /// The time in a value of JSON.
    pub fn of_json(&self, value: Option<&Value>, column: &str) -> Result<Seconds, Fault> {
        match (value, self) {
            (Some(Value::String(text)), _) => self.of_text(text, column),
            (Some(Value::Number(parts)), Self::Count(unit)) if parts.is_i64() => {
                self.checked(unit.of_parts(parts.as_i64().unwrap_or_default()), || parts.to_string(), column)
            }
            (Some(Value::Number(count)), Self::Count(_)) => self
                .of_number(count.as_f64().ok_or_else(|| Fault::value(column, &count.to_string(), "a number")), column),
            (Some(Value::Number(count)), _) => self.of_text(&count.to_string(), column),
            (other, _) => {
                let found = other.map(Value::to_string).unwrap_or_default();
                Err(Fault::value(column, &found, "a time").help(if *self == Self::Date { DATES } else { COUNTS }))
            }
        }
    }

    /// Refuses a time that no calendar has: it was counted in another unit.
    pub fn checked(&self, seconds: Seconds, found: impl FnOnce() -> String, column: &str) -> Result<Seconds, Fault> {
        if CALENDAR.contains(&seconds.whole) {
            return Ok(seconds);
        }
        let unit = self.unit();
        let found = format!("{} (the year {})", found(), year_of(seconds.whole));
        let fault = Fault::value(column, &found, &format!("a time of {} in a year from 0 to 9999", unit.name()));
        let others = UNITS.iter().filter(|(other, _)| *other != unit);
        let mut likely = others.filter(|(other, _)| other.is_plausible(unit.count_of(seconds.whole)));
        Err(fault.help(&match likely.next() {
            Some((_, name)) => format!(
                "this time is plausible in {name}: if all are, set `unit: {name}` of `timestamp`; if only some are, write all in one unit"
            ),
            None => {
                "`unit` of `timestamp` says what the numbers count: seconds, milliseconds, microseconds or nanoseconds"
                    .into()
            }
        }))
    }

    /// What a log's times are, from the first to the last, for a note.
    pub fn note(&self, column: &str, times: &[i64]) -> String {
        let Some((first, last)) = times.iter().min().zip(times.iter().max()) else {
            return format!("`{column}` holds {}", self.words());
        };
        if *self == Self::Count(Unit::Seconds) && !times.iter().any(|time| is_believed(*time)) {
            return format!("`{column}` holds numbers that are no dates ({first} to {last}): only their order counts");
        }
        format!("`{column}` holds {}, from {} to {}", self.words(), date_of(*first), date_of(*last))
    }
}

fn is_believed(seconds: i64) -> bool {
    Unit::Seconds.is_plausible(seconds as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(texts: &[&str]) -> TimeForm {
        TimeForm::of_sample(texts.iter().map(|text| Cow::Borrowed(*text)))
    }

    #[test]
    fn a_sample_of_the_column_decides_on_its_form() {
        for (texts, wanted) in [
            (&["1609459200", "874724710", "x"][..], TimeForm::Count(Unit::Seconds)),
            (&["1609459200.25"], TimeForm::Count(Unit::Seconds)),
            (&["1609459200000", "1609459200000.0", "0"], TimeForm::Count(Unit::Milliseconds)),
            (&["1.609459200e12"], TimeForm::Count(Unit::Milliseconds)),
            (&["1609459200000000"], TimeForm::Count(Unit::Microseconds)),
            (&["1609459200000000000"], TimeForm::Count(Unit::Nanoseconds)),
            (&["2021-01-31", "2021-01-31 12:00:00", ""], TimeForm::Date),
            (&["20210131", "19991231"], TimeForm::Date),
            // Positions, and what cannot be read at all.
            (&["0", "1", "2", "8"], TimeForm::Count(Unit::Seconds)),
            (&["20210131", "7"], TimeForm::Count(Unit::Seconds)),
            (&["soon", ""], TimeForm::Count(Unit::Seconds)),
            (&[], TimeForm::Count(Unit::Seconds)),
        ] {
            assert_eq!(form(texts), wanted, "{texts:?}");
        }
    }

    #[test]
    fn one_moment_in_every_form_is_one_time() {
        for (text, exact) in [
            ("1609459200", true),
            ("1609459200.5", false),
            ("1609459200000", true),
            ("1609459200999", false),
            ("1609459200000000", true),
            ("1609459200000000001", false),
            ("2021-01-01", true),
            ("20210101", true),
            ("2021-01-01T02:00:00.5+02:00", false),
        ] {
            let read = form(&[text]).of_text(text, "t").unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(read, Seconds { whole: 1_609_459_200, exact }, "{text}");
            let json = form(&[text]).of_json(serde_json::from_str(text).ok().or(Some(text.into())).as_ref(), "t");
            assert_eq!(json.ok(), Some(read), "{text}");
        }
        let written = TimeForm::given(None, Some(&"%d.%m.%Y".to_owned())).unwrap();
        assert_eq!(written.of_text("1.1.2021", "t").ok(), Some(Seconds::exactly(1_609_459_200)));
    }

    #[test]
    fn a_year_beyond_the_calendar_is_refused_with_the_unit_that_fits() {
        let fault = |form: &TimeForm, text: &str| format!("{:?}", form.of_text(text, "t").err().unwrap());
        let found = fault(TimeForm::SECONDS, "1609459200000");
        assert!(
            found.contains("1609459200000 (the year 52971)")
                && found.contains("set `unit: milliseconds`")
                && found.contains("if only some are, write all in one unit"),
            "{found}"
        );
        let found = fault(TimeForm::SECONDS, "1e300");
        assert!(found.contains("says what the numbers count"), "{found}");
        let found = fault(TimeForm::SECONDS, "2021-01-31");
        assert!(
            found.contains("wanted: \"a finite number\"")
                && found.contains("reads dates in text as well")
                && found.contains(r#"format: \"%m/%d/%Y\" }` for 01/31/2021"#),
            "{found}"
        );
        let found = fault(&TimeForm::Date, "31.01.2021");
        assert!(
            found.contains("a date as 2021-01-31") && found.contains(r#"format: \"%m/%d/%Y\"` for 01/31/2021"#),
            "{found}"
        );
        assert!(TimeForm::SECONDS.of_text("253402214400", "t").is_ok(), "Spark's 9999-12-31");
    }

    #[test]
    fn the_note_says_what_was_found() {
        let day = 1_609_459_200;
        assert_eq!(
            TimeForm::MILLISECONDS.note("t", &[day, day + 86_400]),
            "`t` holds milliseconds since 1970, from 2021-01-01 to 2021-01-02"
        );
        assert_eq!(
            TimeForm::SECONDS.note("at", &[3, 0]),
            "`at` holds numbers that are no dates (0 to 3): only their order counts"
        );
        assert_eq!(TimeForm::Date.note("t", &[]), "`t` holds dates");
    }
}
