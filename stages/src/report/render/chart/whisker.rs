//! A dot for each row's mean, a whisker for its 95 % interval, and the bars to beat as upright lines.

use super::canvas::{Anchor, Canvas};
use super::scale::Scale;
use super::{clip, text_width};
use crate::report::table::format;
use crate::report::table::row::{Role, Row};

/// Where the parts lie; a narrow chart writes each name above its whisker instead of beside it.
struct Layout {
    left: f64,
    right: f64,
    top: f64,
    row: f64,
    /// From a row's upper edge to its whisker.
    whisker: f64,
    stacked: bool,
}

impl Layout {
    /// `reach` is how wide the longest value is written.
    fn of(width: f64, reach: f64) -> Self {
        if width < 600.0 {
            Self { left: 10.0, right: width - 10.0, top: 40.0, row: 42.0, whisker: 30.0, stacked: true }
        } else {
            Self {
                left: 200.0,
                right: width - f64::max(165.0, reach + 24.0),
                top: 40.0,
                row: 30.0,
                whisker: 15.0,
                stacked: false,
            }
        }
    }
}

/// The chart; `None` when no row has a return. `references` are names of rows whose mean is drawn through all rows.
pub(in crate::report) fn draw(rows: &[Row], references: &[&str], width: f64) -> Option<String> {
    let rows: Vec<_> = rows.iter().filter_map(|row| Some((row, row.returns()?))).collect();
    if rows.is_empty() {
        return None;
    }
    let values: Vec<String> = rows.iter().map(|(_, estimate)| format::with_interval(*estimate)).collect();
    let reach = values.iter().map(|value| text_width(value, 12.0)).fold(0.0, f64::max);
    let at = Layout::of(width, reach);
    let bottom = at.top + at.row * rows.len() as f64;
    let want = if at.stacked { 4 } else { 8 };
    // Zero belongs to a return: without it a small lead looks like a large one.
    let ends = rows.iter().flat_map(|(_, estimate)| [estimate.mean, estimate.low, estimate.high]);
    let x = Scale::from_zero(ends, at.left, at.right);
    let mut canvas = Canvas::new(width, bottom + 44.0);

    for (i, (row, _)) in rows.iter().enumerate() {
        let y = at.top + at.row * i as f64;
        if row.role != Role::Baseline {
            canvas.rect(&format!("band {}", row.role.name()), [0.0, y], [width, at.row]);
        }
    }
    for tick in x.ticks(want) {
        let px = x.at(tick.value);
        canvas.line("grid", [px, at.top], [px, bottom]);
        canvas.text("tick", Anchor::Middle, [px, bottom + 16.0], &tick.label);
    }
    canvas.text("axis-name", Anchor::Middle, [(at.left + at.right) / 2.0, bottom + 36.0], "return of an episode");

    let mut marked: Vec<_> = rows.iter().filter(|(row, _)| references.contains(&row.name.as_str())).collect();
    marked.sort_by(|(_, a), (_, b)| b.mean.total_cmp(&a.mean));
    for (i, (row, estimate)) in marked.into_iter().enumerate() {
        // Each lower reference is named one line further down, to the left of its line: no label is struck through.
        let (px, y) = (x.at(estimate.mean), 13.0 + 16.0 * i as f64);
        if at.stacked {
            // Between the names, which reach over the whole width.
            for top in (0..rows.len()).map(|i| at.top + at.row * i as f64) {
                canvas.line("reference", [px, top + 19.0], [px, top + at.row]);
            }
            canvas.line("reference", [px, y + 4.0], [px, at.top + 3.0]);
        } else {
            canvas.line("reference", [px, y - 9.0], [px, bottom]);
        }
        let label = format!("{} {}", clip(&row.name, 28), format::one_decimal(estimate.mean));
        let reach = text_width(&label, 12.0);
        canvas.text("reference-name", Anchor::End, [(px - 6.0).max(reach), y], &label);
    }

    for (i, ((row, estimate), value)) in rows.iter().zip(&values).enumerate() {
        let top = at.top + at.row * i as f64;
        let y = top + at.whisker;
        let class = row.role.name();
        if at.stacked {
            canvas.text(&format!("name {class}"), Anchor::Start, [4.0, top + 15.0], &clip(&row.name, 28));
            canvas.text("value", Anchor::End, [width - 4.0, top + 15.0], value);
        } else {
            canvas.text(&format!("name {class}"), Anchor::End, [at.left - 14.0, y + 4.5], &clip(&row.name, 28));
            canvas.text("value", Anchor::End, [width - 6.0, y + 4.5], value);
        }
        if estimate.low < estimate.high {
            let (low, high) = (x.at(estimate.low), x.at(estimate.high));
            canvas.line(&format!("whisker {class}"), [low, y], [high, y]);
            for end in [low, high] {
                canvas.line(&format!("whisker {class}"), [end, y - 7.0], [end, y + 7.0]);
            }
        }
        canvas.small_mark(row.role, [x.at(estimate.mean), y], &format!("{}: {value}", row.name));
    }
    Some(canvas.finish("Mean return of an episode with its 95 % interval, one line for each row of the table"))
}

#[cfg(test)]
mod tests {
    use super::super::{NARROW, WIDE};
    use super::draw;
    use crate::report::fixture;

    #[test]
    fn every_row_with_a_return_is_drawn_at_both_widths() {
        let rows =
            fixture::rows(&[("random", true, 24.1, 0.3), ("a2c", false, 135.0, 1.0), ("bc", false, f64::NAN, 0.0)]);
        for width in [WIDE, NARROW] {
            let svg = draw(&rows, &["random"], width).expect("two rows have a return");
            assert_eq!(svg.matches("class=\"mark").count(), 2, "{svg}");
            assert_eq!(svg.matches("class=\"reference-name\"").count(), 1);
            assert!(svg.contains("135.0 [134.0, 136.0]") && !svg.contains("NaN"));
        }
    }

    #[test]
    fn nothing_to_draw_is_no_chart() {
        assert_eq!(draw(&fixture::rows(&[("bc", false, f64::NAN, 0.0)]), &[], WIDE), None);
    }
}
