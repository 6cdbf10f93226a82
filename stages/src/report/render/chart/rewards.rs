//! A learned reward against a world's, the true one where it is known: a dot a step, and the mean in bins of equal counts along
//! the latter ("the truth" below).

use super::SMALL;
use super::canvas::{Anchor, Canvas};
use super::scale::Scale;
use crate::artifact::RewardPairs;
use crate::report::table::format;

/// Dots a chart keeps: of a longer file every n-th step.
const MOST: usize = 500;
/// Bins of equal counts for the mean.
const BINS: usize = 8;

/// The chart of one series.
pub(in crate::report) struct Chart {
    pub title: String,
    /// How the two go together, in words.
    pub caption: String,
    pub svg: String,
}

/// One chart for each series of the reward named `stage`, in the order of the file.
pub(in crate::report) fn draw(stage: &str, pairs: &RewardPairs) -> Vec<Chart> {
    let mut series: Vec<(&str, Vec<[f64; 2]>)> = Vec::new();
    for pair in pairs.0.iter().filter(|pair| pair.learned.is_finite() && pair.true_reward.is_finite()) {
        let point = [pair.true_reward, pair.learned];
        match series.iter_mut().find(|(name, _)| *name == pair.series) {
            Some((_, points)) => points.push(point),
            None => series.push((&pair.series, vec![point])),
        }
    }
    let world = if pairs.0.iter().all(|pair| pair.of_truth) { "true reward" } else { "reward of the training world" };
    series.into_iter().map(|(name, points)| one(&format!("{stage} · {name}"), &points, world)).collect()
}

/// `world` says whose reward the first coordinate is.
fn one(title: &str, points: &[[f64; 2]], world: &str) -> Chart {
    let [width, height] = [SMALL[0], 220.0];
    let (left, right, top, bottom) = (48.0, width - 12.0, 24.0, height - 40.0);
    let mut canvas = Canvas::new(width, height);
    let x = Scale::holding(points.iter().map(|p| p[0]), 4, left, right);
    let y = Scale::holding(points.iter().map(|p| p[1]), 4, bottom, top);
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
    for point in points.iter().step_by(points.len().div_ceil(MOST).max(1)) {
        canvas.dot("cloud", [x.at(point[0]), y.at(point[1])], 2.0);
    }
    let means: Vec<_> = binned(points).into_iter().map(|[truth, learned]| [x.at(truth), y.at(learned)]).collect();
    canvas.path("mean", &means, false);
    for &at in &means {
        canvas.dot("mean-dot", at, 3.2);
    }
    canvas.text("axis-name", Anchor::Start, [2.0, 11.0], "learned reward");
    canvas.text("axis-name", Anchor::End, [right, height - 4.0], world);
    let svg = canvas.finish(&format!("Learned reward against {world}, {title}"));
    Chart { title: title.to_owned(), caption: caption(points, world), svg }
}

fn caption(points: &[[f64; 2]], world: &str) -> String {
    let steps = points.len();
    let Some(rank) = correlation(&ranked(points)) else {
        return format!("{steps} steps; one of the two rewards does not vary, so there is no correlation");
    };
    let straight = correlation(points).map(|r| format!(", Pearson {}", format::two_decimals(r))).unwrap_or_default();
    let word = match rank {
        r if r >= 0.7 => format!("the learned reward ranks steps as the {world} does"),
        r if r >= 0.3 => format!("the learned reward ranks steps partly as the {world} does"),
        r if r > -0.3 => format!("the learned reward is nearly uncorrelated with the {world}"),
        _ => format!("the learned reward is anti-correlated with the {world}"),
    };
    format!("{word} (Spearman {}{straight}; {steps} steps)", format::two_decimals(rank))
}

/// The means of about [`BINS`] groups of equal counts, sorted by the truth; equal truths stay in one group.
fn binned(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let size = sorted.len().div_ceil(BINS).max(1);
    let mut groups: Vec<Vec<[f64; 2]>> = Vec::new();
    for point in sorted {
        match groups.last_mut() {
            Some(group) if group.len() < size || group.last().is_some_and(|last| last[0] == point[0]) => {
                group.push(point)
            }
            _ => groups.push(vec![point]),
        }
    }
    let mean = |group: &Vec<[f64; 2]>| [0, 1].map(|i| group.iter().map(|p| p[i]).sum::<f64>() / group.len() as f64);
    groups.iter().map(mean).collect()
}

/// Both coordinates as ranks, ties at their mean rank.
fn ranked(points: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let ranks = |i: usize| {
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_by(|&a, &b| points[a][i].total_cmp(&points[b][i]));
        let mut ranks = vec![0.0; points.len()];
        let mut before = 0;
        for tie in order.chunk_by(|&a, &b| points[a][i] == points[b][i]) {
            tie.iter().for_each(|&at| ranks[at] = before as f64 + (tie.len() - 1) as f64 / 2.0);
            before += tie.len();
        }
        ranks
    };
    ranks(0).into_iter().zip(ranks(1)).map(|(a, b)| [a, b]).collect()
}

/// Pearson's coefficient; `None` where one side does not vary.
fn correlation(points: &[[f64; 2]]) -> Option<f64> {
    let n = points.len() as f64;
    let mean = [0, 1].map(|i| points.iter().map(|p| p[i]).sum::<f64>() / n);
    let moment = |i: usize, j: usize| points.iter().map(|p| (p[i] - mean[i]) * (p[j] - mean[j])).sum::<f64>();
    let scale = (moment(0, 0) * moment(1, 1)).sqrt();
    (scale > 0.0 && scale.is_finite()).then(|| moment(0, 1) / scale)
}

#[cfg(test)]
mod tests {
    use super::{binned, caption, correlation, draw, ranked};
    use crate::artifact::{RewardPair, RewardPairs};

    #[test]
    fn correlations_by_hand() {
        let points = [[1.0, 1.0], [2.0, 4.0], [3.0, 9.0], [4.0, 16.0]];
        // Σxy = 25, Σxx = 5, Σyy = 129: 25/√645.
        assert!((correlation(&points).unwrap() - 25.0 / 645f64.sqrt()).abs() < 1e-12);
        assert_eq!(correlation(&ranked(&points)), Some(1.0));
        assert_eq!(correlation(&[[1.0, 2.0], [1.0, 3.0]]), None);
        assert_eq!(ranked(&[[5.0, 1.0], [5.0, 0.0], [1.0, 2.0]]), [[1.5, 1.0], [1.5, 0.0], [0.0, 2.0]]);
        assert!(
            caption(&points, "true reward")
                .starts_with("the learned reward ranks steps as the true reward does (Spearman 1.00, Pearson 0.98")
        );
        assert!(caption(&[[1.0, 2.0], [1.0, 3.0]], "true reward").contains("there is no correlation"));
    }

    #[test]
    fn bins_keep_equal_truths_together() {
        let points: Vec<_> = (0..16).map(|i| [f64::from(i / 8), f64::from(i)]).collect();
        assert_eq!(binned(&points), [[0.0, 3.5], [1.0, 11.5]]);
    }

    #[test]
    fn each_series_has_its_chart() {
        let pair = |series: &str, learned| RewardPair {
            series: series.to_owned(),
            learned,
            true_reward: 2.0 * learned,
            of_truth: false,
        };
        let pairs = vec![
            pair("generator", 1.0),
            pair("demonstrations", 2.0),
            pair("generator", f64::NAN),
            pair("generator", 3.0),
        ];
        let drawn = draw("reward", &RewardPairs(pairs.clone()));
        assert_eq!(
            drawn.iter().map(|d| d.title.as_str()).collect::<Vec<_>>(),
            ["reward · generator", "reward · demonstrations"]
        );
        assert!(drawn[0].svg.matches("class=\"cloud\"").count() == 2 && !drawn[0].svg.contains("NaN"));
        // What is not known to be true is not called so.
        assert!(drawn[0].svg.contains(">reward of the training world<") && !drawn[0].svg.contains("true reward"));
        let truly = |pair: RewardPair| RewardPair { of_truth: true, ..pair };
        let drawn = draw("reward", &RewardPairs(pairs.into_iter().map(truly).collect()));
        assert!(drawn[0].svg.contains(">true reward<"));
    }
}
