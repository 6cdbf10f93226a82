//! The form of dates that are not in ISO 8601, by a sample of them.
//!
//! `03/28/2021` has a month of 28 if days come first, so that it says its form; `03/04/2021` has two.

use crate::artifact::parse_written;
use crate::ingest::readers::time_unit::Unit;

/// Dates by day, month and year. With dashes and two digits of a year, `21-03-04`, nothing tells the year from the day.
const DATES: [&str; 15] = [
    "%d.%m.%Y",
    "%m.%d.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d.%m.%y",
    "%m.%d.%y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%y/%m/%d",
    "%d %B %Y",
    "%B %d, %Y",
    "%d-%B-%Y",
    "%B %d %Y",
];
/// What may stand behind a date.
const CLOCKS: [&str; 6] = ["", " %H:%M", " %H:%M:%S", ", %H:%M", " %I:%M %p", " %I:%M:%S %p"];

/// Texts that are tried with all forms.
const FIRST: usize = 64;

/// The forms of `strftime` that read most of these texts, all of them equally many; empty where none reads more than half.
pub(in crate::ingest) fn date_forms(texts: &[&str]) -> Vec<String> {
    let forms = DATES.iter().flat_map(|date| CLOCKS.map(|clock| format!("{date}{clock}")));
    // The first texts leave few forms, and nearly always none.
    let first = &texts[..texts.len().min(FIRST)];
    let read = |texts: &[&str], form: &str| texts.iter().filter(|text| is_read(text, form)).count();
    let likely: Vec<String> = forms.filter(|form| 3 * read(first, form) > first.len()).collect();
    let counts: Vec<usize> = likely.iter().map(|form| read(texts, form)).collect();
    let most = counts.iter().copied().max().filter(|most| 2 * most > texts.len());
    likely.into_iter().zip(counts).filter(|(_, count)| Some(*count) == most).map(|(form, _)| form).collect()
}

/// Whether a text is a date of that form in a year that a log may have; `%Y` alone takes `21` for the year 21.
pub(in crate::ingest) fn is_read(text: &str, form: &str) -> bool {
    parse_written(text, form).is_some_and(|moment| Unit::Seconds.is_plausible(moment.timestamp() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_beyond_twelve_says_the_form() {
        for (texts, wanted) in [
            (&["03/04/2021", "03/28/2021"][..], &["%m/%d/%Y"][..]),
            (&["28/03/2021", "4/3/2021"], &["%d/%m/%Y"]),
            (&["31.01.2021 12:30", "1.2.2021 0:05"], &["%d.%m.%Y %H:%M"]),
            (&["03/28/21 01:05:00 PM", "03/29/21 11:05:00 AM"], &["%m/%d/%y %I:%M:%S %p"]),
            (&["March 28, 2021", "Apr 1, 2021"], &["%B %d, %Y"]),
            (&["28-Mar-2021", "01-Apr-2021"], &["%d-%B-%Y"]),
            (&["28/03/21", "27/03/21"], &["%d/%m/%y", "%y/%m/%d"]),
            (&["03/04/2021", "05/06/2021"], &["%d/%m/%Y", "%m/%d/%Y"]),
            (&["03/28/2021", "soon", "03/29/2021"], &["%m/%d/%Y"]),
            (&["03/28/2021", "soon", "never"], &[]),
            (&["soon", "a.b/c-1"], &[]),
            (&["1.5", "2.5", "4.0"], &[]),
            (&["192.168.1.1", "10.0.0.1"], &[]),
            (&[], &[]),
        ] {
            assert_eq!(date_forms(texts), wanted, "{texts:?}");
        }
    }
}
