//! Whole numbers that a file holds as f32.

use anyhow::{Result, ensure};

/// From here on f32 has no odd numbers.
const EXACT: u64 = 1 << 24;

/// The numbers of the array `name`, each whole, 0 or more and less than `limit`.
///
/// # Errors
/// On any other number: a file that is damaged, or of another program.
pub(super) fn whole_numbers(name: &str, values: &[f32], limit: u64) -> Result<Vec<u32>> {
    let limit = limit.min(EXACT);
    let whole = |&x: &f32| x >= 0.0 && x.fract() == 0.0 && f64::from(x) < limit as f64;
    let number = |x: &f32| {
        ensure!(whole(x), "`{name}` holds {x}, wanted a whole number below {limit}\nhelp: make the file anew");
        Ok(*x as u32)
    };
    values.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_numbers_below_the_limit_are_read() {
        assert_eq!(whole_numbers("n", &[0.0, 3.0, 2.0], 4).unwrap(), [0, 3, 2]);
        for wrong in [4.0, -1.0, 0.5, f32::NAN, f32::INFINITY, 1e30] {
            let error = whole_numbers("n", &[1.0, wrong], 4).unwrap_err().to_string();
            assert!(error.starts_with("`n` holds ") && error.contains("below 4\nhelp: "), "{error}");
        }
        assert!(whole_numbers("n", &[16_777_216.0], u64::MAX).is_err(), "it may have been another number");
    }
}
