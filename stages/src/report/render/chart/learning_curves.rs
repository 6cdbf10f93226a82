//! Return against the number of ratings, with and without a model's scores: a line and its 95 % band each, on ln(1 + N).

use super::canvas::{Anchor, Canvas};
use super::clip;
use super::scale::{Scale, Tick};
use crate::report::table::format;

/// One line of the chart.
pub(in crate::report) struct Line {
    /// `learned`, `teacher` or empty: its colour.
    pub class: &'static str,
    /// What it says beside its last point.
    pub label: String,
    /// (N, return, low, high), rising in N.
    pub points: Vec<[f64; 4]>,
}

/// The chart, `width` pixels wide; `None` where no line has two points.
pub(in crate::report) fn draw(title: &str, lines: &[Line], width: f64) -> Option<String> {
    lines.iter().find(|line| line.points.len() > 1)?;
    let height = 300.0;
    // Labels stand to the right of the lines, where there is room for them.
    let labels = if width > 500.0 { 190.0 } else { 0.0 };
    let (left, right, top, bottom) = (48.0, width - 14.0 - labels, 24.0, height - 42.0);
    let points = || lines.iter().flat_map(|line| &line.points);
    let y = Scale::holding(points().flat_map(|p| [p[2], p[3]]), 5, bottom, top);
    let most = points().map(|p| p[0].ln_1p()).fold(1.0, f64::max);
    let x = Scale { low: 0.0, high: most, from: left, to: right };
    let mut canvas = Canvas::new(width, height);
    for tick in y.ticks(5) {
        let at = y.at(tick.value);
        canvas.line("grid", [left, at], [right, at]);
        canvas.text("tick", Anchor::End, [left - 6.0, at + 4.0], &tick.label);
    }
    for Tick { value, label } in sizes(most.exp_m1()) {
        let at = x.at(value.ln_1p());
        canvas.line("tick-mark", [at, bottom], [at, bottom + 4.0]);
        canvas.text("tick", Anchor::Middle, [at, bottom + 17.0], &label);
    }
    canvas.text("axis-name", Anchor::Start, [2.0, 11.0], "return");
    canvas.text("axis-name", Anchor::End, [right, height - 4.0], "ratings in the log (logarithmic)");
    for line in lines {
        let place = |p: &[f64; 4], value: f64| [x.at(p[0].ln_1p()), y.at(value)];
        let upper = line.points.iter().map(|p| place(p, p[3]));
        let lower = line.points.iter().rev().map(|p| place(p, p[2]));
        canvas.path(&format!("area {}", line.class), &upper.chain(lower).collect::<Vec<_>>(), true);
    }
    // Lines above all bands; labels apart by a line's height, from the top.
    let mut named: Vec<(f64, &Line)> = Vec::new();
    for line in lines {
        let places: Vec<[f64; 2]> = line.points.iter().map(|p| [x.at(p[0].ln_1p()), y.at(p[1])]).collect();
        canvas.path(&format!("line {}", line.class), &places, false);
        for (point, &at) in line.points.iter().zip(&places) {
            canvas.dot(&format!("point-of {}", line.class), at, 2.6);
            if let [only] = places[..] {
                canvas.text("value", Anchor::Start, [only[0] + 6.0, only[1] + 4.0], &format::one_decimal(point[1]));
            }
        }
        if let Some(&[_, at]) = places.last() {
            named.push((at, line));
        }
    }
    named.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = f64::MIN;
    for (at, line) in named.into_iter().filter(|_| labels > 0.0) {
        let at = (at + 4.0).max(free);
        let class = if line.class == "other" { "value".to_owned() } else { format!("name {}", line.class) };
        canvas.text(&class, Anchor::Start, [right + 10.0, at], &clip(&line.label, 30));
        free = at + 15.0;
    }
    Some(canvas.finish(title))
}

/// 0 and the powers of ten up to `most`.
fn sizes(most: f64) -> Vec<Tick> {
    let powers = (0..7).map(|power| 10.0_f64.powi(power)).filter(|&n| n <= most && n >= 10.0);
    let label = |n: f64| if n < 1000.0 { format!("{n:.0}") } else { format!("{:.0}k", n / 1000.0) };
    std::iter::once(0.0).chain(powers).map(|value| Tick { value, label: label(value) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_bands_and_names_are_drawn() {
        let line = |class, label: &str, level: f64| Line {
            class,
            label: label.into(),
            points: [0.0, 100.0, 10_000.0].map(|n| [n, level + n / 1e4, level - 0.5, level + 1.5]).to_vec(),
        };
        let lines = [line("", "without", 10.0), line("learned", "with <llm>", 11.0)];
        let svg = draw("curve", &lines, 920.0).unwrap();
        assert_eq!((svg.matches("class=\"area").count(), svg.matches("class=\"line").count()), (2, 2));
        assert!(svg.contains("with &lt;llm&gt;") && svg.contains(">10k<") && !svg.contains("NaN"));
        assert!(!draw("curve", &lines, 360.0).unwrap().contains("with &lt;llm&gt;"), "no room on a telephone");
        assert_eq!(draw("curve", &[], 920.0), None);
    }

    #[test]
    fn sizes_are_powers_of_ten() {
        let labels: Vec<String> = sizes(45_000.0).into_iter().map(|tick| tick.label).collect();
        assert_eq!(labels, ["0", "10", "100", "1k", "10k"]);
    }
}
