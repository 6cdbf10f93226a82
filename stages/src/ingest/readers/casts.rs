//! Casts of numbers to the types of a log: ratings in 32 bits, times in whole seconds since 1970. A number out of range is a fault,
//! never silently another number ([`TimeForm::checked`](crate::ingest::readers::time_form::TimeForm::checked) for times).

use crate::ingest::readers::bad_rows::Fault;

/// Casts a rating; one that overflows 32 bits would be infinite.
pub(in crate::ingest) fn rating(number: f64, column: &str) -> Result<f32, Fault> {
    let narrow = number as f32;
    if narrow.is_finite() {
        return Ok(narrow);
    }
    Err(Fault::value(column, &format!("{number:e}"), "a number that 32 bits hold (up to 3.4e38)"))
}

/// A time in whole seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ingest) struct Seconds {
    /// Rounded down, which keeps the order of times before 1970.
    pub whole: i64,
    /// Whether nothing was rounded.
    pub exact: bool,
}

impl Seconds {
    /// A time in whole seconds.
    pub fn exactly(whole: i64) -> Self {
        Self { whole, exact: true }
    }

    /// A count of parts of a second, of which `per_second` make one.
    pub fn of_parts(parts: i64, per_second: i64) -> Self {
        Self { whole: parts.div_euclid(per_second), exact: parts.rem_euclid(per_second) == 0 }
    }

    /// A number of which `per_second` make a second; beyond 64 bits the nearest time that they hold.
    pub fn of_number(count: f64, per_second: f64) -> Self {
        let seconds = count / per_second;
        let whole = seconds.floor();
        Self { whole: whole as i64, exact: whole == seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rating_beyond_32_bits_is_a_fault() {
        assert_eq!(rating(3.4e38, "r").ok(), Some(3.4e38));
        for number in [1e39, -1e39, 1e300] {
            let fault = rating(number, "r").err().unwrap().to_string();
            assert!(
                fault.contains(&format!("`r`: found \"{number:e}\", wanted a number that 32 bits hold")),
                "{fault}"
            );
        }
    }

    #[test]
    fn times_are_rounded_down_and_say_so() {
        let read = |time: f64, per_second: f64| {
            let seconds = Seconds::of_number(time, per_second);
            (seconds.whole, seconds.exact)
        };
        assert_eq!(read(1.9, 1.0), (1, false));
        assert_eq!(read(-5.0, 1000.0), (-1, false));
        assert_eq!(read(-2000.0, 1000.0), (-2, true));
        assert_eq!(Seconds::of_parts(-5, 1000), Seconds { whole: -1, exact: false });
        assert_eq!(Seconds::of_parts(3000, 1000), Seconds::exactly(3));
        assert_eq!(read(1e300, 1.0).0, i64::MAX);
    }
}
