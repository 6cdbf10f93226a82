//! Numbers as files write them.

use anyhow::Result;

use crate::ingest::readers::bad_rows::Fault;

/// A finite number.
pub(in crate::ingest) fn number(text: &str, column: &str) -> Result<f64, Fault> {
    let finite = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    plain(text.as_bytes()).or_else(|| finite(text)).ok_or_else(|| {
        let fault = Fault::value(column, text, "a finite number");
        match finite(text.trim()) {
            Some(_) => fault.help("spaces stand around it: set `trim_whitespace: true` of `ingest.table`"),
            None if behind_comma(text.trim()).is_some() => {
                fault.help("if its comma is a decimal comma, set `decimal: \",\"` in `log` of `ingest.table`")
            }
            None => fault,
        }
    })
}

/// Parses up to 15 digits with at most one decimal point. The digits and the power of ten are exact in an `f64`, so their quotient
/// is correctly rounded, as by `parse`.
fn plain(text: &[u8]) -> Option<f64> {
    const TENS: [f64; 16] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    if text.is_empty() || text.len() > 15 {
        return None;
    }
    let (mut digits, mut behind) = (0_u64, None);
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'0'..=b'9' => digits = 10 * digits + u64::from(byte - b'0'),
            b'.' if behind.is_none() && text.len() > 1 => behind = Some(text.len() - at - 1),
            _ => return None,
        }
    }
    Some(digits as f64 / TENS[behind.unwrap_or(0)])
}

/// The digits behind the comma of a text that is a number with one comma, as `-4,5`.
pub(in crate::ingest) fn behind_comma(text: &str) -> Option<usize> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = text.split_once(',')?;
    (digits(whole.trim_start_matches(['-', '+'])) && digits(part)).then_some(part.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_numbers_are_read_as_the_library_reads_them() {
        for text in
            ["0", "5", "4.5", "3.", ".5", "0.1", "978300760", "123456789.01234", "0.0000000000001", "999999999999999"]
        {
            assert_eq!(plain(text.as_bytes()).map(f64::to_bits), text.parse::<f64>().ok().map(f64::to_bits), "{text}");
        }
        for text in ["", ".", "1.2.3", "-1", "1e5", "1234567890123456", " 1", "nan"] {
            assert_eq!(plain(text.as_bytes()), None, "{text}");
        }
        assert_eq!(number("-1e1", "x").ok(), Some(-10.0));
    }

    #[test]
    fn one_comma_between_digits_is_a_decimal_comma() {
        assert_eq!(
            ["4,5", "-1,234", "4", "4,", "1,2,3", "a,5"].map(behind_comma),
            [Some(1), Some(3), None, None, None, None]
        );
    }
}
