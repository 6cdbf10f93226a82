//! Dates and times as people write them. The one place that knows a calendar; the calendar is chrono's.
//!
//! Read are ISO 8601 with and without a zone, and what databases and spreadsheets make of it: `2021-01-31`, `2021/01/31`, `20210131`,
//! `2021-01-31 12:00`, `2021-01-31T12:00:00.250Z`, `… +02:00`, `…+0200`, `…+02`, `… UTC`. A time without a zone is UTC. Not here: dates
//! whose order of day and month is a custom (`03/04/2021`), names of zones, week dates.

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// The first second of the year 0 and the last of the year 9999, since 1970.
pub(crate) const CALENDAR: std::ops::RangeInclusive<i64> = -62_167_219_200..=253_402_300_799;

/// The moment in a text; `None` where it is in no form that is read.
pub(crate) fn parse_date_time(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    // Most texts in a column that is asked about are numbers.
    if !text.is_ascii() || text.len() < 8 || !text.as_bytes()[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (date, rest) = text.split_at(text.find(['T', 't', ' ']).unwrap_or(text.len()));
    let date = parse_date(date)?;
    let rest = rest.get(1..).unwrap_or_default().trim_start();
    if rest.is_empty() {
        return Some(date.and_time(NaiveTime::MIN).and_utc());
    }
    let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.' | ','))).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(end);
    let time = time.replace(',', ".");
    let time = ["%H:%M:%S%.f", "%H:%M"].iter().find_map(|form| NaiveTime::parse_from_str(&time, form).ok())?;
    let offset = parse_zone(zone.trim())?;
    date.and_time(time).and_local_timezone(offset).single().map(|moment| moment.with_timezone(&Utc))
}

fn parse_date(text: &str) -> Option<NaiveDate> {
    let forms: &[&str] = match text.len() {
        8 if text.bytes().all(|byte| byte.is_ascii_digit()) => &["%Y%m%d"],
        8..=10 => &["%Y-%m-%d", "%Y/%m/%d"],
        _ => &[],
    };
    forms.iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok())
}

/// `Z`, `UTC`, `+02:00`, `+0200`, `+02`; nothing means UTC.
fn parse_zone(zone: &str) -> Option<FixedOffset> {
    match zone {
        // The last two as Go writes them.
        "" | "Z" | "z" | "UTC" | "GMT" | "+0000 UTC" | "+0000 +0000" => FixedOffset::east_opt(0),
        // Hours alone, as PostgreSQL writes them.
        hours if hours.len() == 3 => format!("{hours}:00").parse().ok(),
        zone => zone.parse().ok(),
    }
}

/// The moment in a text of a form of `strftime`; without a time of the day midnight, without a zone UTC.
pub(crate) fn parse_written(text: &str, form: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    DateTime::parse_from_str(text, form)
        .map(|moment| moment.with_timezone(&Utc))
        .or_else(|_| NaiveDateTime::parse_from_str(text, form).map(|moment| moment.and_utc()))
        .or_else(|_| NaiveDate::parse_from_str(text, form).map(|date| date.and_time(NaiveTime::MIN).and_utc()))
        .ok()
}

/// Whether a text is a form of `strftime` that says at least a date.
pub(crate) fn is_date_form(form: &str) -> bool {
    use chrono::format::{Item, Numeric, StrftimeItems};
    let items: Vec<Item<'_>> = StrftimeItems::new(form).collect();
    let counts =
        |item: &Item<'_>| matches!(item, Item::Numeric(Numeric::Year | Numeric::YearMod100 | Numeric::Timestamp, _));
    items.iter().any(counts) && !items.contains(&Item::Error)
}

/// The year of a time in seconds since 1970; beyond chrono's calendar by years of mean length.
pub(crate) fn year_of(seconds: i64) -> i64 {
    match DateTime::from_timestamp(seconds, 0) {
        Some(moment) => moment.year().into(),
        None => 1970 + seconds.div_euclid(31_556_952),
    }
}

/// The date of a time in seconds since 1970, as `2021-01-31`; beyond the calendar the year alone.
pub(crate) fn date_of(seconds: i64) -> String {
    match DateTime::from_timestamp(seconds, 0).filter(|_| CALENDAR.contains(&seconds)) {
        Some(moment) => moment.format("%Y-%m-%d").to_string(),
        None => format!("the year {}", year_of(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_the_forms_that_people_write() {
        let read =
            |text: &str| parse_date_time(text).map(|moment| (moment.timestamp(), moment.timestamp_subsec_millis()));
        let noon = 1_612_094_400;
        for (text, wanted) in [
            ("2021-01-31", (noon - 43_200, 0)),
            ("2021/01/31", (noon - 43_200, 0)),
            ("20210131", (noon - 43_200, 0)),
            ("2021-1-31", (noon - 43_200, 0)),
            ("2021-01-31T12:00:00", (noon, 0)),
            (" 2021-01-31 12:00 ", (noon, 0)),
            ("2021-01-31T12:00:00Z", (noon, 0)),
            ("2021-01-31t12:00:00z", (noon, 0)),
            ("2021-01-31 12:00:00 UTC", (noon, 0)),
            ("2021-01-31 12:00:00 +0000 UTC", (noon, 0)),
            ("2021-01-31T14:00:00+02:00", (noon, 0)),
            ("2021-01-31 14:00:00 +0200", (noon, 0)),
            ("2021-01-31 14:00:00+02", (noon, 0)),
            ("2021-01-31T04:30:00.250-07:30", (noon, 250)),
            ("2021-01-31T12:00:00,250", (noon, 250)),
            ("1969-12-31T23:59:59.5Z", (-1, 500)),
            ("2000-02-29", (951_782_400, 0)),
        ] {
            assert_eq!(read(text), Some(wanted), "{text}");
        }
        for text in [
            "",
            "soon",
            "1612094400",
            "2021",
            "2021-13-01",
            "2021-02-29",
            "1900-02-29",
            "31.01.2021",
            "01/31/2021",
            "20211331",
            "2021-01-31T25:00:00",
            "2021-01-31T12:00:00 Mars",
            "2021-01-31T12:00:00+99:00",
            "99999-01-01",
            "2021-01-31é",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn other_forms_are_read_where_they_are_named() {
        let read = |text: &str, form: &str| parse_written(text, form).map(|moment| moment.timestamp());
        assert_eq!(read("31.01.2021", "%d.%m.%Y"), Some(1_612_051_200));
        assert_eq!(read("01/31/2021 12:00 PM", "%m/%d/%Y %I:%M %p"), Some(1_612_094_400));
        assert_eq!(read("Sun Jan 31 14:00:00 +0200 2021", "%a %b %d %H:%M:%S %z %Y"), Some(1_612_094_400));
        assert_eq!(read("31.02.2021", "%d.%m.%Y"), None);
        assert!(is_date_form("%d.%m.%Y") && is_date_form("%F %T") && is_date_form("%D"));
        assert!(!is_date_form("%Q") && !is_date_form("day") && !is_date_form("%H:%M"));
    }

    #[test]
    fn years_go_beyond_the_calendar() {
        assert_eq!((year_of(0), year_of(-1), year_of(1_609_459_200_000)), (1970, 1969, 52_971));
        assert!(year_of(i64::MAX) > 200_000_000_000);
        assert_eq!((date_of(0), date_of(1_609_459_200_000)), ("1970-01-01".into(), "the year 52971".into()));
        assert_eq!((year_of(*CALENDAR.start()), year_of(*CALENDAR.end())), (0, 9999));
        assert_eq!((year_of(CALENDAR.start() - 1), year_of(CALENDAR.end() + 1)), (-1, 10_000));
    }
}
