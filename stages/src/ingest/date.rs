//! Dates without a time, as datasets write them, in seconds since 1970 (midnight, UTC).

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `2017-12-17`.
pub(super) fn iso(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    seconds(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

/// `November 5, 2011`, or `July 3` of the year that is given.
pub(super) fn english(text: &str, year: Option<i64>) -> Option<i64> {
    let (month, rest) = text.split_once(' ')?;
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    let (day, year) = match rest.split_once(", ") {
        Some((day, year)) => (day, year.parse().ok()?),
        None => (rest, year?),
    };
    seconds(year, month, day.parse().ok()?)
}

/// The civil calendar's days, counted from March so that the odd day of a leap year is the last.
fn seconds(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=longest).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + of_year;
    Some((days - 719_468) * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_since_1970() {
        for (text, days) in [("1970-01-01", 0), ("1969-12-31", -1), ("2000-02-29", 11_016), ("2017-12-17", 17_517)] {
            assert_eq!(iso(text), Some(days * 86_400), "{text}");
        }
        assert_eq!(english("November 5, 2011", None), iso("2011-11-05"));
        assert_eq!(english("July 3", Some(2016)), iso("2016-07-03"));
        assert_eq!(english("July 3", None), None);
        for text in ["", "2017-13-01", "2017-02-29", "2017-04-31", "1900-02-29", "17.12.2017", "2017-1", "99999-01-01"]
        {
            assert_eq!(iso(text), None, "{text}");
        }
    }
}
