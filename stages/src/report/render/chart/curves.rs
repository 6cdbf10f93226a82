//! Learning curves as many small charts: one for each measured series; the seeds of a stage are one curve, their mean as a
//! thick line in a band from the lowest seed to the highest.

use std::collections::BTreeMap;

use pipeline::Many;

use super::SMALL;
use super::canvas::{Anchor, Canvas};
use super::scale::Scale;
use crate::artifact::Curves;
use crate::report::table::format;

/// Points a line keeps; a longer one is drawn as averages of consecutive points.
const MOST: usize = 200;

/// One series of one stage, over all its seeds.
pub(in crate::report) struct Panel {
    /// The stage's name, with what else than the seed sets its cell apart.
    pub stage: String,
    /// What was measured.
    pub series: String,
    /// Each seed's `(step, value)` in order; values may be NaN.
    pub seeds: Vec<Vec<(u64, f64)>>,
}

/// A panel as the page shows it.
pub(in crate::report) struct Chart {
    pub title: String,
    /// Seeds, last value, values that cannot be drawn.
    pub caption: String,
    /// `None` when no value is finite.
    pub svg: Option<String>,
}

/// Groups curves by stage and series, in the order of first appearance.
pub(in crate::report) fn panels(curves: &Many<Curves>) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for run in curves {
        let stage = stage(&run.name, &run.cell);
        let mut opened: BTreeMap<&str, usize> = BTreeMap::new();
        for point in &run.value.0 {
            let at = *opened.entry(&point.series).or_insert_with(|| {
                let known = panels.iter().position(|p| p.stage == stage && p.series == point.series);
                let at = known.unwrap_or_else(|| {
                    panels.push(Panel { stage: stage.clone(), series: point.series.clone(), seeds: Vec::new() });
                    panels.len() - 1
                });
                panels[at].seeds.push(Vec::new());
                at
            });
            if let Some(seed) = panels[at].seeds.last_mut() {
                seed.push((point.step, point.value));
            }
        }
    }
    panels
}

/// `policy` for the cell `seed=3`, `policy gamma=0.9` for `gamma=0.9,seed=3`: only seeds may be averaged.
fn stage(name: &str, cell: &str) -> String {
    let rest: Vec<&str> =
        cell.split(',').map(str::trim).filter(|part| !part.is_empty() && !part.starts_with("seed=")).collect();
    if rest.is_empty() { name.to_owned() } else { format!("{name} {}", rest.join(" ")) }
}

impl Panel {
    /// Draws the panel and says in words what the picture cannot.
    pub fn draw(&self) -> Chart {
        let values = || self.seeds.iter().flatten().map(|&(_, value)| value);
        let mean = self.mean();
        let ends: Vec<f64> = self.seeds.iter().filter_map(|seed| Some(seed.last()?.1)).collect();
        let mut caption = match self.seeds.len() {
            1 => "one run".to_owned(),
            n => format!("{n} seeds, from the lowest to the highest"),
        };
        let last = ends.iter().sum::<f64>() / ends.len().max(1) as f64;
        if last.is_finite() && !ends.is_empty() {
            caption += &format!(", ends at {}", format::three_digits(last));
        }
        let broken = values().filter(|value| !value.is_finite()).count();
        if broken > 0 {
            caption += &format!("; {broken} of {} values are not finite and cannot be drawn", values().count());
        }
        let title = format!("{} · {}", self.stage, self.series);
        let svg = values().any(f64::is_finite).then(|| self.svg(&title, &mean));
        Chart { title, caption, svg }
    }

    /// The mean at each step that every seed measured.
    fn mean(&self) -> Vec<(u64, f64)> {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        self.shared().into_iter().map(|(step, values)| (step, mean(&values))).collect()
    }

    /// The lowest and the highest seed at each step that every seed measured; NaN where one is not finite.
    fn band(&self) -> [Vec<(u64, f64)>; 2] {
        let shared = self.shared();
        let end = |end: fn(f64, f64) -> f64| {
            let of = |values: &[f64]| {
                let whole = values.iter().all(|value| value.is_finite());
                if whole { values.iter().copied().reduce(end).unwrap_or(f64::NAN) } else { f64::NAN }
            };
            shared.iter().map(|(step, values)| (*step, of(values))).collect()
        };
        [end(f64::min), end(f64::max)]
    }

    /// The values of all seeds at each step that every one of them measured.
    fn shared(&self) -> Vec<(u64, Vec<f64>)> {
        let mut steps: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for &(step, value) in self.seeds.iter().flatten() {
            steps.entry(step).or_default().push(value);
        }
        steps.into_iter().filter(|(_, values)| values.len() == self.seeds.len()).collect()
    }

    fn svg(&self, title: &str, mean: &[(u64, f64)]) -> String {
        let [width, height] = SMALL;
        let (left, right, top, bottom) = (48.0, width - 12.0, 8.0, height - 24.0);
        let finite = || self.seeds.iter().flatten().filter(|(_, value)| value.is_finite());
        let mut canvas = Canvas::new(width, height);
        let y = Scale::holding(finite().map(|&(_, value)| value), 4, bottom, top);
        // No rounding along x: training ends where the line does.
        let steps = || finite().map(|&(step, _)| step as f64);
        let (low, high) = (steps().fold(f64::INFINITY, f64::min), steps().fold(0.0, f64::max));
        let x = Scale { low, high: if high > low { high } else { low + 1.0 }, from: left, to: right };
        for tick in y.ticks(4) {
            let py = y.at(tick.value);
            canvas.line("grid", [left, py], [right, py]);
            canvas.text("tick", Anchor::End, [left - 6.0, py + 4.0], &tick.label);
        }
        for tick in x.ticks(4) {
            let px = x.at(tick.value);
            canvas.line("tick-mark", [px, bottom], [px, bottom + 4.0]);
            canvas.text("tick", Anchor::Middle, [px, bottom + 17.0], &tick.label);
        }
        let [low, high] = self.band().map(|end| thinned(&end));
        let many = self.seeds.len() > 1;
        let band = low.iter().zip(&high).map(|(low, high)| (low.0, low.1, high.1)).collect::<Vec<_>>();
        for piece in band.split(|(_, low, high)| !(low.is_finite() && high.is_finite())).filter(|_| many) {
            let upper = piece.iter().map(|&(step, _, high)| [x.at(step), y.at(high)]);
            let lower = piece.iter().rev().map(|&(step, low, _)| [x.at(step), y.at(low)]);
            canvas.path("area learned", &upper.chain(lower).collect::<Vec<_>>(), true);
        }
        let mut draw = |class: &str, line: &[(u64, f64)]| {
            let line = thinned(line);
            // A value that is not finite breaks the line instead of bending it.
            for piece in line.split(|(_, value)| !value.is_finite()) {
                let points: Vec<_> = piece.iter().map(|&(step, value)| [x.at(step), y.at(value)]).collect();
                match points[..] {
                    [only] => canvas.rect(&format!("{class} point"), [only[0] - 2.0, only[1] - 2.0], [4.0, 4.0]),
                    _ => canvas.path(class, &points, false),
                }
            }
        };
        // Seeds that measured at steps of their own have no mean: then each is a thin line.
        if many && mean.len() < 2 {
            self.seeds.iter().for_each(|seed| draw("seed", seed));
        }
        draw("mean", if many { mean } else { &self.seeds[0] });
        canvas.finish(&format!("Learning curve: {title}"))
    }
}

/// At most [`MOST`] points: the averages of equal runs of consecutive ones.
fn thinned(line: &[(u64, f64)]) -> Vec<(f64, f64)> {
    let size = line.len().div_ceil(MOST).max(1);
    let average = |run: &[(u64, f64)]| {
        let n = run.len() as f64;
        (run.iter().map(|p| p.0 as f64).sum::<f64>() / n, run.iter().map(|p| p.1).sum::<f64>() / n)
    };
    line.chunks(size).map(average).collect()
}

#[cfg(test)]
mod tests {
    use pipeline::Named;

    use super::{MOST, panels, stage, thinned};
    use crate::artifact::Curves;

    fn run(name: &str, seed: u32, values: &[f64]) -> Named<Curves> {
        let mut value = Curves::default();
        for (step, &v) in values.iter().enumerate() {
            value.push("return", step as u64, v);
        }
        Named { name: name.to_owned(), cell: format!("seed={seed}"), value }
    }

    #[test]
    fn seeds_of_a_stage_share_a_panel_and_their_mean_is_drawn() {
        let panels =
            panels(&vec![run("policy", 0, &[1.0, 2.0]), run("reward", 0, &[5.0]), run("policy", 1, &[3.0, 6.0])]);
        assert_eq!(panels.len(), 2);
        assert_eq!(panels[0].mean(), [(0, 2.0), (1, 4.0)]);
        let drawn = panels[0].draw();
        let svg = drawn.svg.expect("values are finite");
        assert_eq!((svg.matches("class=\"area learned\"").count(), svg.matches("class=\"mean\"").count()), (1, 1));
        assert_eq!(panels[0].band(), [vec![(0, 1.0), (1, 2.0)], vec![(0, 3.0), (1, 6.0)]]);
        assert_eq!(drawn.caption, "2 seeds, from the lowest to the highest, ends at 4.00");
    }

    #[test]
    fn seeds_that_share_no_step_are_thin_lines() {
        let mut late = run("policy", 1, &[]);
        late.value.push("return", 7, 1.0);
        late.value.push("return", 9, 2.0);
        let svg = panels(&vec![run("policy", 0, &[1.0, 2.0]), late])[0].draw().svg.expect("values are finite");
        assert_eq!((svg.matches("class=\"seed\"").count(), svg.matches("class=\"area").count()), (2, 0));
    }

    #[test]
    fn values_that_are_not_finite_are_counted_and_break_the_line() {
        let drawn = panels(&vec![run("policy", 0, &[1.0, 2.0, f64::NAN, 3.0, 4.0])])[0].draw();
        let svg = drawn.svg.expect("four values are finite");
        assert_eq!(svg.matches("class=\"mean\"").count(), 2);
        assert!(!svg.contains("NaN"));
        assert!(drawn.caption.contains("1 of 5 values are not finite"), "{}", drawn.caption);
        let none = panels(&vec![run("policy", 0, &[f64::NAN])])[0].draw();
        assert_eq!(none.svg, None);
        assert!(panels(&vec![run("policy", 0, &[])]).is_empty());
    }

    #[test]
    fn only_seeds_share_a_panel() {
        assert_eq!(stage("policy", "seed=3"), "policy");
        assert_eq!(stage("policy", "gamma=0.9,seed=3"), "policy gamma=0.9");
        assert_eq!(stage("reward", ""), "reward");
    }

    #[test]
    fn long_lines_are_averaged() {
        let line: Vec<_> = (0..1000).map(|i| (i, 7.0)).collect();
        let thin = thinned(&line);
        assert!(thin.len() <= MOST && thin.iter().all(|p| p.1 == 7.0));
        assert_eq!(thin[0].0, 2.0);
    }
}
