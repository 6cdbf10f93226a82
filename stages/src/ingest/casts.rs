//! Casts of numbers to the types of a log: ratings in 32 bits, times in whole seconds since 1970. A number out of range is a fault,
//! never silently another number.

use super::bad_rows::Fault;

/// The help for a time that is not a number.
const TIMES: &str = "times are numbers since 1970, not dates in text; `ingest.table` has a `unit` of seconds, milliseconds, \
                     microseconds or nanoseconds";

/// The first number out of the range of 64 bits. It is a power of two and therefore exact, unlike the last one in range.
const BEYOND: f64 = -(i64::MIN as f64);

/// Casts a rating; one that overflows 32 bits would be infinite.
pub(super) fn rating(number: f64, column: &str) -> Result<f32, Fault> {
    let narrow = number as f32;
    if narrow.is_finite() {
        return Ok(narrow);
    }
    Err(Fault::value(column, &format!("{number:e}"), "a number that 32 bits hold (up to 3.4e38)"))
}

/// A time in whole seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seconds {
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

    /// Casts a number of `column`, of which `per_second` make a second.
    pub fn read(time: Result<f64, Fault>, per_second: f64, column: &str) -> Result<Self, Fault> {
        let time = time.map_err(|fault| fault.help(TIMES))?;
        let seconds = time / per_second;
        let whole = seconds.floor();
        if !(-BEYOND..BEYOND).contains(&whole) {
            return Err(Fault::value(column, &format!("{time:e}"), "a time that 64 bits hold (up to 9.2e18 seconds)"));
        }
        Ok(Self { whole: whole as i64, exact: whole == seconds })
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
        let read =
            |time: f64, per_second: f64| Seconds::read(Ok(time), per_second, "t").ok().map(|s| (s.whole, s.exact));
        assert_eq!(read(1.9, 1.0), Some((1, false)));
        assert_eq!(read(-5.0, 1000.0), Some((-1, false)));
        assert_eq!(read(-2000.0, 1000.0), Some((-2, true)));
        assert_eq!(Seconds::of_parts(-5, 1000), Seconds { whole: -1, exact: false });
        assert_eq!(Seconds::of_parts(3000, 1000), Seconds::exactly(3));
        assert_eq!(read(-(2_f64.powi(63)), 1.0), Some((i64::MIN, true)));
        assert_eq!(read(2_f64.powi(63), 1.0), None);
        let fault = Seconds::read(Ok(99_999_999_999_999_999_999.0), 1.0, "t").err().unwrap().to_string();
        assert!(fault.contains("`t`: found \"1e20\", wanted a time that 64 bits hold"), "{fault}");
        assert_eq!(read(1e20, 1e3), Some((100_000_000_000_000_000, true)));
    }
}
