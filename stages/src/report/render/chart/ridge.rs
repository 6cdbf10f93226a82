//! How episode returns spread: a small histogram for each row on a common axis, with the middle half and the median.

use super::canvas::{Anchor, Canvas};
use super::clip;
use super::scale::Scale;
use crate::report::table::format;
use crate::report::table::row::Row;

/// With fewer episodes a histogram would invent a shape: each episode is a stroke instead.
const FEW: usize = 40;
const BINS: usize = 60;

/// The chart; `None` when there is no episode.
pub(in crate::report) fn draw(rows: &[Row], width: f64) -> Option<String> {
    let rows: Vec<(&Row, Vec<f64>)> = rows
        .iter()
        .map(|row| {
            let mut returns: Vec<f64> = row.stats.returns.iter().copied().filter(|r| r.is_finite()).collect();
            returns.sort_by(f64::total_cmp);
            (row, returns)
        })
        .filter(|(_, returns)| !returns.is_empty())
        .collect();
    if rows.is_empty() {
        return None;
    }
    let stacked = width < 600.0;
    let (left, right) = if stacked { (10.0, width - 10.0) } else { (200.0, width - 12.0) };
    let (top, height) = (6.0, if stacked { 62.0 } else { 48.0 });
    let tall = height - if stacked { 32.0 } else { 16.0 };
    let bottom = top + height * rows.len() as f64;
    let want = if stacked { 4 } else { 8 };
    let ends = rows.iter().flat_map(|(_, returns)| [returns[0], returns[returns.len() - 1]]);
    let x = Scale::from_zero(ends, left, right);
    let mut canvas = Canvas::new(width, bottom + 44.0);
    for tick in x.ticks(want) {
        let px = x.at(tick.value);
        canvas.line("grid", [px, top], [px, bottom]);
        canvas.text("tick", Anchor::Middle, [px, bottom + 16.0], &tick.label);
    }
    canvas.text("axis-name", Anchor::Middle, [(left + right) / 2.0, bottom + 36.0], "return of a single episode");
    for (i, (row, returns)) in rows.iter().enumerate() {
        let edge = top + height * i as f64;
        let (base, class) = (edge + height - 11.0, row.role.name());
        let [low, median, high] = [0.25, 0.5, 0.75].map(|share| quantile(returns, share));
        let name = clip(&row.name, 28);
        if stacked {
            canvas.text(&format!("name {class}"), Anchor::Start, [4.0, edge + 14.0], &name);
            canvas.text(
                "value",
                Anchor::End,
                [width - 4.0, edge + 14.0],
                &format!("median {}", format::one_decimal(median)),
            );
        } else {
            canvas.text(&format!("name {class}"), Anchor::End, [left - 14.0, base - 10.0], &name);
            canvas.text(
                "value",
                Anchor::End,
                [left - 14.0, base + 5.0],
                &format!("median {}", format::one_decimal(median)),
            );
        }
        if returns.len() < FEW {
            for &value in returns {
                canvas.line(&format!("whisker {class}"), [x.at(value), base - tall * 0.5], [x.at(value), base]);
            }
        } else {
            canvas.path(&format!("hill {class}"), &hill(returns, x, base, tall), true);
        }
        canvas.line("ground", [left, base], [right, base]);
        canvas.line(&format!("middle-half {class}"), [x.at(low), base + 4.0], [x.at(high), base + 4.0]);
        canvas.line(&format!("median {class}"), [x.at(median), base + 0.5], [x.at(median), base + 8.0]);
    }
    Some(canvas.finish("How the returns of single episodes spread, one strip for each row of the table"))
}

/// The outline of a histogram whose fullest bin is `tall`.
fn hill(returns: &[f64], x: Scale, base: f64, tall: f64) -> Vec<[f64; 2]> {
    let mut counts = [0u32; BINS];
    for value in returns {
        let bin = ((value - x.low) / (x.high - x.low) * BINS as f64) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1);
    let bin = (x.to - x.from) / BINS as f64;
    let steps = counts.iter().enumerate().filter(|(_, count)| **count > 0).flat_map(|(i, &count)| {
        let (left, top) = (x.from + bin * i as f64, base - tall * f64::from(count) / f64::from(most));
        [[left, base], [left, top], [left + bin, top], [left + bin, base]]
    });
    steps.collect()
}

/// The value below which `share` of the sorted `values` lies, between neighbours in a straight line.
fn quantile(values: &[f64], share: f64) -> f64 {
    let at = share * (values.len() - 1) as f64;
    let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::super::{NARROW, WIDE};
    use super::{draw, quantile};
    use crate::report::fixture;

    #[test]
    fn quantiles_of_five_values() {
        let values = [1.0, 2.0, 3.0, 4.0, 10.0];
        assert_eq!([0.25, 0.5, 0.75].map(|share| quantile(&values, share)), [2.0, 3.0, 4.0]);
    }

    #[test]
    fn few_episodes_are_strokes_and_many_a_histogram() {
        let mut rows =
            fixture::rows(&[("teacher (LLM)", false, 118.0, 6.0), ("a2c", false, 135.0, 1.0), ("bc", false, 1.0, 0.0)]);
        rows[0].stats.returns = vec![110.0, 120.0, f64::NAN];
        rows[1].stats.returns = (0..100).map(|i| 130.0 + f64::from(i % 10)).collect();
        for width in [WIDE, NARROW] {
            let svg = draw(&rows, width).expect("two rows were played");
            assert_eq!(svg.matches("whisker teacher").count(), 2);
            assert_eq!(svg.matches("hill learned").count(), 1);
            assert!(!svg.contains("NaN"));
        }
        assert_eq!(draw(&rows[2..], WIDE), None);
    }
}
