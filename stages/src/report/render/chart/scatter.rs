//! Length against reward per step: how a policy earns its return. Their product is the return, so lines of equal return
//! are hyperbolas.

use super::canvas::{Anchor, Canvas};
use super::scale::Scale;
use super::{clip, text_width};
use crate::report::table::format;
use crate::report::table::row::Row;

const LINE: f64 = 12.5;

struct Dot<'a> {
    row: &'a Row,
    length: f64,
    each: f64,
}

/// A rectangle that a later label must leave free.
#[derive(Clone, Copy)]
struct Box {
    x: [f64; 2],
    y: [f64; 2],
}

impl Box {
    fn around([x, y]: [f64; 2], [width, height]: [f64; 2]) -> Self {
        Self { x: [x - width / 2.0, x + width / 2.0], y: [y - height / 2.0, y + height / 2.0] }
    }
    fn meets(&self, other: &Self) -> bool {
        self.x[0] < other.x[1] && other.x[0] < self.x[1] && self.y[0] < other.y[1] && other.y[0] < self.y[1]
    }
    fn inside(&self, other: &Self) -> bool {
        self.x[0] >= other.x[0] && self.x[1] <= other.x[1] && self.y[0] >= other.y[0] && self.y[1] <= other.y[1]
    }
}

/// The chart; `None` when no row has both measures.
pub(in crate::report) fn draw(rows: &[Row], width: f64) -> Option<String> {
    let dot = |row| {
        let row: &Row = row;
        Some(Dot { row, length: row.get("length")?.mean, each: row.get("reward_per_step")?.mean })
    };
    let dots: Vec<Dot> = rows.iter().filter_map(dot).collect();
    if dots.is_empty() {
        return None;
    }
    let narrow = width < 600.0;
    let height = if narrow { 380.0 } else { 460.0 };
    let frame = Box { x: [46.0, width - 14.0], y: [26.0, height - 46.0] };
    let want = if narrow { 4 } else { 7 };
    let x = Scale::holding(padded(dots.iter().map(|d| d.length)), want, frame.x[0], frame.x[1]);
    let y = Scale::holding(padded(dots.iter().map(|d| d.each)), want, frame.y[1], frame.y[0]);
    let mut canvas = Canvas::new(width, height);

    canvas.rect("frame", [frame.x[0], frame.y[0]], [frame.x[1] - frame.x[0], frame.y[1] - frame.y[0]]);
    let mut taken = contours(&mut canvas, x, y, if narrow { 5 } else { 10 });
    for tick in x.ticks(want) {
        let px = x.at(tick.value);
        canvas.line("tick-mark", [px, frame.y[1]], [px, frame.y[1] + 5.0]);
        canvas.text("tick", Anchor::Middle, [px, frame.y[1] + 19.0], &tick.label);
    }
    for tick in y.ticks(want) {
        let py = y.at(tick.value);
        canvas.line("tick-mark", [frame.x[0] - 5.0, py], [frame.x[0], py]);
        canvas.text("tick", Anchor::End, [frame.x[0] - 9.0, py + 4.0], &tick.label);
    }
    canvas.text(
        "axis-name",
        Anchor::Middle,
        [(frame.x[0] + frame.x[1]) / 2.0, height - 8.0],
        "length of an episode, steps",
    );
    canvas.text("axis-name", Anchor::Start, [2.0, 12.0], "reward per step");

    let place = |dot: &Dot| [x.at(dot.length), y.at(dot.each)];
    taken.extend(dots.iter().map(|dot| Box::around(place(dot), [14.0, 14.0])));
    // From the top, so that labels of a pile fan out in the order of their dots.
    let mut order: Vec<&Dot> = dots.iter().collect();
    order.sort_by(|a, b| b.each.total_cmp(&a.each));
    for dot in order {
        let name = clip(&dot.row.name, if narrow { 24 } else { 30 });
        let label = free_place(place(dot), &name, &frame, &taken);
        leader(&mut canvas, place(dot), &label);
        let middle = [(label.x[0] + label.x[1]) / 2.0, label.y[1] - 4.0];
        canvas.text(&format!("name halo {}", dot.row.role.name()), Anchor::Middle, middle, &name);
        taken.push(label);
    }
    for dot in &dots {
        let tip = format!(
            "{}: {} steps × {} a step",
            dot.row.name,
            format::one_decimal(dot.length),
            format::two_decimals(dot.each)
        );
        canvas.mark(dot.row.role, place(dot), &tip);
    }
    Some(canvas.finish("Mean length of an episode against mean reward per step, with lines of equal return"))
}

/// The values and a tenth of their span on both sides, never below zero if they are not.
fn padded(values: impl Iterator<Item = f64> + Clone) -> impl Iterator<Item = f64> {
    let low = values.clone().fold(f64::INFINITY, f64::min);
    let high = values.clone().fold(f64::NEG_INFINITY, f64::max);
    let pad = (high - low) * 0.1;
    let floor = if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
    [(low - pad).max(floor), high + pad].into_iter()
}

/// Draws the lines of equal return and gives the places of their labels.
fn contours(canvas: &mut Canvas, x: Scale, y: Scale, want: usize) -> Vec<Box> {
    // The name of the upright axis is there already.
    let mut labels = vec![Box { x: [0.0, 92.0], y: [0.0, 22.0] }];
    // A product of a negative reward has no such picture.
    if x.low < 0.0 || y.low < 0.0 {
        return labels;
    }
    for tick in super::scale::ticks(x.low * y.low, x.high * y.high, want) {
        let value = tick.value;
        if value <= 0.0 {
            continue;
        }
        let (first, last) = (x.low.max(value / y.high), if y.low > 0.0 { x.high.min(value / y.low) } else { x.high });
        if first >= last {
            continue;
        }
        let point = |length: f64| [x.at(length), y.at(value / length)];
        let curve: Vec<_> = (0..=48).map(|i| point(first + (last - first) * f64::from(i) / 48.0)).collect();
        canvas.path("contour", &curve, false);
        // Above the frame where the line leaves through the top, else at its lower right end.
        let place = if value / first >= y.high * 0.999 {
            [x.at(first), y.to - 7.0]
        } else {
            [x.from + 16.0, y.at(value / x.low) - 7.0]
        };
        let label = Box::around(place, [text_width(&tick.label, 11.0) + 10.0, LINE]);
        if labels.iter().all(|other| !other.meets(&label)) && (place[1] > y.to || place[0] > x.from + 70.0) {
            canvas.text("contour-name", Anchor::Middle, [place[0], place[1] + 3.0], &tick.label);
            labels.push(label);
        }
    }
    labels
}

/// The nearest place around a dot that is inside the frame and free; the first one when none is.
fn free_place(dot: [f64; 2], name: &str, frame: &Box, taken: &[Box]) -> Box {
    let size = [text_width(name, LINE) + 4.0, LINE + 3.0];
    let at = |dx: f64, dy: f64| Box::around([dot[0] + dx, dot[1] + dy], size);
    let side = size[0] / 2.0 + 10.0;
    let near = [at(side, 0.0), at(-side, 0.0), at(0.0, -17.0), at(0.0, 17.0)];
    let far = (1..=12).flat_map(|ring| {
        let (dx, dy) = (side + 8.0 + 3.0 * f64::from(ring), 9.0 * f64::from(ring));
        [at(-dx, -dy), at(-dx, dy), at(dx, -dy), at(dx, dy)]
    });
    near.into_iter()
        .chain(far)
        .find(|place| place.inside(frame) && taken.iter().all(|other| !other.meets(place)))
        .unwrap_or(near[1])
}

/// A thin line from a dot to a label that could not stay beside it.
fn leader(canvas: &mut Canvas, [x, y]: [f64; 2], label: &Box) {
    let middle = (label.y[0] + label.y[1]) / 2.0;
    let end = if label.x[0] > x {
        label.x[0]
    } else if label.x[1] < x {
        label.x[1]
    } else {
        return;
    };
    if (middle - y).abs() > 1.0 {
        canvas.line("leader", [x, y], [end, middle]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{NARROW, WIDE};
    use super::{Box, draw, free_place};
    use crate::report::fixture;

    #[test]
    fn labels_of_a_pile_do_not_overlap() {
        let frame = Box { x: [0.0, 800.0], y: [0.0, 400.0] };
        let mut taken: Vec<Box> = Vec::new();
        for i in 0..9 {
            let label = free_place([700.0, 200.0 + f64::from(i)], "popular quit-aware", &frame, &taken);
            assert!(label.inside(&frame));
            assert!(taken.iter().all(|other| !other.meets(&label)), "label {i}");
            taken.push(label);
        }
    }

    #[test]
    fn rows_without_both_measures_are_left_out() {
        let rows = fixture::rows(&[("a2c", false, 135.0, 1.0), ("bc", false, f64::NAN, 0.0)]);
        for width in [WIDE, NARROW] {
            let svg = draw(&rows, width).expect("one row has both");
            assert_eq!(svg.matches("class=\"mark").count(), 1);
            assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
        assert_eq!(draw(&[], WIDE), None);
    }
}
