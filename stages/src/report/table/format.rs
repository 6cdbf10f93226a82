//! How numbers are written on the page.

use crate::report::table::row::Estimate;

/// Two decimals, or as many more as a small value needs, with a true minus sign.
pub(in crate::report) fn two_decimals(value: f64) -> String {
    fixed(value, decimals(value, 2))
}

/// One decimal, or as many more as a small value needs.
pub(in crate::report) fn one_decimal(value: f64) -> String {
    fixed(value, decimals(value, 1))
}

/// Values that stand together, in the digits of the largest.
fn in_common_digits<const N: usize>(values: [f64; N], least: usize) -> [String; N] {
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    values.map(|value| fixed(value, decimals(largest, least)))
}

/// Decimals of a value of that size: `least`, none where they would be lost in it, more where it is small. Rewards may be
/// stars, clicks or milliseconds.
fn decimals(size: f64, least: usize) -> usize {
    match size.abs() {
        size if size >= 1e5 => 0,
        size if size >= 1.0 || size == 0.0 => least,
        size if size >= 0.1 => least.max(2),
        // Three digits of it, and no more zeros than anybody counts.
        size => (-size.log10().floor()).clamp(0.0, 7.0) as usize + 2,
    }
}

fn fixed(value: f64, decimals: usize) -> String {
    signed(format!("{value:.decimals$}"))
}

/// A written number with a true minus sign; what rounds to zero has none, and what is no number is a dash.
fn signed(text: String) -> String {
    if !text.contains(|c: char| c.is_ascii_digit()) {
        return "–".to_owned();
    }
    let is_zero = !text.contains(|c: char| c != '-' && c != '.' && c != '0');
    if is_zero { text.replace('-', "") } else { text.replace('-', "−") }
}

/// Four decimals, as ranking metrics are compared.
pub(in crate::report) fn four_decimals(value: f64) -> String {
    fixed(value, 4)
}

/// The same with its interval.
pub(in crate::report) fn four_decimals_with_interval(estimate: Estimate) -> String {
    let [mean, low, high] = [estimate.mean, estimate.low, estimate.high].map(four_decimals);
    format!("{mean} [{low}, {high}]")
}

/// About three digits of a value of unknown size.
pub(in crate::report) fn three_digits(value: f64) -> String {
    let text = match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    };
    signed(text)
}

/// A share as a percentage; what is there but rounds to nothing is said to be there, and what is not all is not said to be all.
pub(in crate::report) fn percent(share: f64) -> String {
    match share * 100.0 {
        p if !p.is_finite() => "–".to_owned(),
        p if p > 0.0 && p < 0.1 => "< 0.1 %".to_owned(),
        p if p >= 100.0 || p == 0.0 => format!("{p:.0} %"),
        p if p >= 99.95 => "> 99.9 %".to_owned(),
        p => format!("{p:.1} %"),
    }
}

/// `0.08 s`, `12.3 s`, `3 min 20 s`, `2 h 05 min`.
pub(in crate::report) fn seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match seconds {
        s if s < 9.95 => format!("{s:.2} s"),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3599.5 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
    }
}

/// A p-value.
pub(in crate::report) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { signed(format!("{p:.3}")) }
}

/// A mean with its interval; the mean alone where nothing varies.
pub(in crate::report) fn with_interval(estimate: Estimate) -> String {
    let [mean, low, high] = in_common_digits([estimate.mean, estimate.low, estimate.high], 1);
    if estimate.low < estimate.high { format!("{mean} [{low}, {high}]") } else { mean }
}

/// The ends of an interval alone, in the digits of the whole.
pub(in crate::report) fn interval_ends(estimate: Estimate) -> String {
    let [_, low, high] = in_common_digits([estimate.mean, estimate.low, estimate.high], 1);
    format!("[{low}, {high}]")
}

/// A difference with its sign and its interval.
pub(in crate::report) fn difference_with_interval(estimate: Estimate) -> String {
    let [mean, low, high] = in_common_digits([estimate.mean, estimate.low, estimate.high], 1);
    format!("{} [{low}, {high}]", plus(estimate.mean, mean))
}

/// A difference with its sign.
pub(in crate::report) fn signed_difference(difference: f64) -> String {
    plus(difference, one_decimal(difference))
}

/// A written difference with a plus where it is above what rounds to zero.
fn plus(difference: f64, text: String) -> String {
    let is_zero = !text.contains(|c: char| c != '.' && c != '0');
    if difference > 0.0 && !is_zero { format!("+{text}") } else { text }
}

/// `a`, `a and b`, `a, b and c`.
pub(in crate::report) fn list(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        difference_with_interval, list, one_decimal, p_value, percent, seconds, signed_difference, three_digits,
        two_decimals, with_interval,
    };
    use crate::report::table::row::Estimate;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0.0, 0.0004, 0.25, 12.34, 135.2, 1_234_567.0].map(three_digits),
            ["0", "4.0e−4", "0.25", "12.3", "135", "1.2e6"]
        );
        assert_eq!([0.0, 0.0004, 0.125, 0.999, 1.0].map(percent), ["0 %", "< 0.1 %", "12.5 %", "99.9 %", "100 %"]);
        // coveragepy/coveragepy#41: 513 of 514 lines were called 100 %.
        assert_eq!([0.9995, 0.9996, 1.0 - 1e-12].map(percent), ["> 99.9 %"; 3]);
        // yakew7/Fair-Code#515: a difference that rounds to nothing was called −0.0.
        assert_eq!([-4e-12, -0.0, 0.000_04].map(one_decimal), ["0.000000000", "0.0", "0.0000400"]);
        assert_eq!([-0.0, 0.04, -0.06, 2.0].map(signed_difference), ["0.0", "+0.0400", "−0.0600", "+2.0"]);
        let zero = difference_with_interval(Estimate { mean: 0.04, low: -0.04, high: 1.5 });
        assert_eq!(zero, "0.0 [0.0, 1.5]");
        // argoverse/av2-api#263: fixed decimals made all small values one. Clicks and milliseconds are no stars: neither all
        // zeros nor a digit that no user measured.
        let around = |mean: f64, half: f64| with_interval(Estimate { mean, low: mean - half, high: mean + half });
        assert_eq!(around(0.3125, 0.02), "0.31 [0.29, 0.33]");
        assert_eq!(around(0.0135, 0.001), "0.0135 [0.0125, 0.0145]");
        assert_eq!(around(-1.28e8, 1e6), "−128000000 [−129000000, −127000000]");
        assert_eq!([0.25, 0.05, 123_456.7].map(two_decimals), ["0.25", "0.0500", "123457"]);
        assert_eq!([0.083, 12.34, 200.0, 7500.0].map(seconds), ["0.08 s", "12.3 s", "3 min 20 s", "2 h 05 min"]);
        // What is no number is none: neither `NaN %` nor `inf`.
        assert_eq!(
            [f64::NAN, f64::INFINITY].map(|x| [
                one_decimal(x),
                two_decimals(x),
                three_digits(x),
                percent(x),
                p_value(x)
            ]),
            [["–"; 5]; 2]
        );
        assert_eq!([0.0, 0.0123].map(p_value), ["< 0.001", "0.012"]);
        assert_eq!(one_decimal(-2.52), "−2.5");
        assert_eq!(with_interval(Estimate { mean: 132.0, low: 132.0, high: 132.0 }), "132.0");
        assert_eq!(with_interval(Estimate { mean: 135.0, low: 134.0, high: 136.0 }), "135.0 [134.0, 136.0]");
        assert_eq!(list(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }
}
