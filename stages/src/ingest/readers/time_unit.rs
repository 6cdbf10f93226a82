//! Units of times, and a warning about times that were probably read in a wrong unit.
//!
//! Seconds read as milliseconds give January 1970. No other check would find it: the order of each user's rows stays, and only splits
//! by time are silently wrong. (Milliseconds read as seconds give the year 52971, which is refused where a time is read.)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::year_of;
use crate::ingest::readers::casts::Seconds;

/// The unit of times since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds.
    #[default]
    Seconds,
    /// Thousandths of a second.
    Milliseconds,
    /// Millionths of a second.
    Microseconds,
    /// Billionths of a second.
    Nanoseconds,
}

impl Unit {
    pub(in crate::ingest) fn per_second(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Milliseconds => 1_000,
            Self::Microseconds => 1_000_000,
            Self::Nanoseconds => 1_000_000_000,
        }
    }

    /// As settings and messages call it.
    pub(in crate::ingest) fn name(self) -> &'static str {
        UNITS.iter().find(|(unit, _)| *unit == self).map_or("seconds", |(_, name)| *name)
    }

    /// The time of a count.
    pub(in crate::ingest) fn of_parts(self, parts: i64) -> Seconds {
        Seconds::of_parts(parts, self.per_second())
    }

    /// The count of a time.
    pub(in crate::ingest) fn count_of(self, seconds: i64) -> f64 {
        seconds as f64 * self.per_second() as f64
    }

    /// Whether a count of this unit is a time that a log may have. A number is plausible in at most one unit.
    pub(in crate::ingest) fn is_plausible(self, count: f64) -> bool {
        let first = if self == Self::Seconds { FIRST } else { LIKELY };
        (first as f64..LAST as f64).contains(&(count / self.per_second() as f64))
    }
}

/// Times of a log are plausible from 1980 on. Small numbers that count from another start than 1970 give no warning.
const FIRST: i64 = 315_532_800;
/// Another unit is proposed where it gives a year from 1990 on.
const LIKELY: i64 = 631_152_000;
/// Plausible until 2100.
const LAST: i64 = 4_102_444_800;

/// All units with their names.
pub(in crate::ingest) const UNITS: [(Unit, &str); 4] = [
    (Unit::Seconds, "seconds"),
    (Unit::Milliseconds, "milliseconds"),
    (Unit::Microseconds, "microseconds"),
    (Unit::Nanoseconds, "nanoseconds"),
];

/// A warning about times (in seconds since 1970) that were read in `unit`. `setting` is the setting of the unit; `None` where the
/// format has only one.
pub(in crate::ingest) fn unit_warning(times: &[i64], unit: Unit, setting: Option<&str>) -> Option<String> {
    let believed = |time: i64| (FIRST..LAST).contains(&time);
    // A count of one unit, read as another.
    let read_as = |time: i64, other: Unit| {
        let seconds = unit.count_of(time) / other.per_second() as f64;
        (LIKELY as f64..LAST as f64).contains(&seconds).then_some(seconds as i64)
    };
    let candidates = UNITS.iter().filter(|(other, _)| *other != unit).map(|&(other, name)| {
        let mut doubted = times.iter().filter(|&&time| !believed(time) && read_as(time, other).is_some());
        (doubted.next().copied(), 1 + doubted.count(), other, name)
    });
    let (first, count, other, name) = candidates.filter(|(first, ..)| first.is_some()).max_by_key(|found| found.1)?;
    let first = first?;
    let as_read = unit.name();
    let help = match setting {
        Some(setting) => format!("set `{setting}: {name}`"),
        None => format!(
            "this format has times in {as_read}: convert them, or read the file with `ingest.table`, which has a `unit`"
        ),
    };
    let rows = times.len();
    Some(format!(
        "{count} of {rows} times are implausible in {as_read} (the first is in the year {}), but plausible in {name} ({})\nhelp: \
         {help}",
        year_of(first),
        year_of(read_as(first, other)?)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_unit_is_told_with_both_years_and_the_setting() {
        let unit_warning = |times: &[i64], unit| super::unit_warning(times, unit, Some("log.timestamp.unit"));
        let said = unit_warning(&[1_609_459_200_000, 1_609_459_201_000], Unit::Seconds).unwrap();
        assert_eq!(
            said,
            "2 of 2 times are implausible in seconds (the first is in the year 52971), but plausible in milliseconds (2021)\nhelp: \
             set `log.timestamp.unit: milliseconds`"
        );
        let said = unit_warning(&[1_609_459_200_000_000], Unit::Seconds).unwrap();
        assert!(said.contains("`log.timestamp.unit: microseconds`"), "{said}");
        let said = unit_warning(&[1_609_459], Unit::Milliseconds).unwrap();
        assert!(
            said.contains("implausible in milliseconds (the first is in the year 1970), but plausible in seconds (20"),
            "{said}"
        );
        assert!(unit_warning(&[1_609_459_200], Unit::Nanoseconds).is_none());
        // 1.6e15 as nanoseconds is a count of microseconds.
        assert!(unit_warning(&[1_609_459], Unit::Nanoseconds).unwrap().contains("unit: microseconds"));
    }

    #[test]
    fn what_may_be_meant_is_left_alone() {
        for times in [
            vec![],
            vec![0; 3],
            (0..1000).collect(),
            vec![1, 86_400, 2_592_000],
            vec![874_724_710, 1_700_000_000],
            // 1975, and Spark's 9999-12-31.
            vec![157_766_400, 253_402_214_400],
        ] {
            assert_eq!(unit_warning(&times, Unit::Seconds, None), None, "{times:?}");
        }
        // One row in the wrong unit is told, too.
        assert!(
            unit_warning(&[1_700_000_000, 1_700_000_000_000], Unit::Seconds, None).unwrap().starts_with("1 of 2 times")
        );
    }
}
