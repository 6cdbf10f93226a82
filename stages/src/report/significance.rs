//! Which differences between rows are real, said in words under the table.
//!
//! A difference is called real where its paired bootstrap interval leaves out zero *and* it stays so with all differences of
//! the table evaluated together: among a hundred pairs that are alike, five intervals at 95 % leave out zero by chance. From each
//! interval a two-sided p is taken (normal approximation: standard error = width / 3.92) and Holm's step-down correction keeps
//! the chance of even one false claim below 5 %. The two orders of a pair are one difference.

use std::collections::BTreeSet;

use super::format;
use super::row::Estimate;
use super::verdict::SEEDS;
use crate::artifact::{Comparison, Comparisons};

/// The level of the 95 % intervals, and of the whole family after correction.
const LEVEL: f64 = 0.05;
/// How many standard errors a two-sided 95 % interval is wide.
const WIDTH: f64 = 2.0 * 1.959_964;

/// One difference with the verdict on it.
pub(super) struct TestedDifference<'a> {
    pub comparison: &'a Comparison,
    /// p after Holm's correction over all differences of the table.
    pub p: f64,
    /// Whether the interval leaves out zero.
    pub apart: bool,
}

impl TestedDifference<'_> {
    /// Whether the difference is real with all of them evaluated together.
    pub fn holds(&self) -> bool {
        self.apart && self.p < LEVEL
    }
    /// The difference with its interval.
    pub fn estimate(&self) -> Estimate {
        let Comparison { difference, low, high, .. } = *self.comparison;
        Estimate { mean: difference, low, high }
    }
}

/// All differences in their order; what is not finite takes no part.
pub(super) fn test_all(comparisons: &Comparisons) -> Vec<TestedDifference<'_>> {
    let finite = |c: &&Comparison| [c.difference, c.low, c.high].iter().all(|value| value.is_finite());
    let all: Vec<&Comparison> = comparisons.0.iter().filter(finite).collect();
    // The order of a pair's first appearance decides; its other order shares its p.
    let family = |c: &Comparison| {
        let (one, other) = if c.policy <= c.other { (&c.policy, &c.other) } else { (&c.other, &c.policy) };
        (c.metric.clone(), one.clone(), other.clone())
    };
    let mut seen = BTreeSet::new();
    let mut first: Vec<(f64, _)> = Vec::new();
    for comparison in &all {
        if seen.insert(family(comparison)) {
            first.push((p(comparison), family(comparison)));
        }
    }
    first.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut corrected = Vec::new();
    let mut highest: f64 = 0.0;
    for (place, (p, pair)) in first.iter().enumerate() {
        highest = highest.max((p * (first.len() - place) as f64).min(1.0));
        corrected.push((pair, highest));
    }
    let of = |comparison: &Comparison| {
        let pair = family(comparison);
        corrected.iter().find(|(known, _)| **known == pair).map_or(1.0, |(_, p)| *p)
    };
    let tested = |comparison| {
        let c: &Comparison = comparison;
        TestedDifference { comparison, p: of(c), apart: c.low < c.high && (c.low > 0.0 || c.high < 0.0) }
    };
    all.into_iter().map(tested).collect()
}

/// How likely so large a difference is where there is none; 1 where nothing differs, and where the interval has no width: then
/// every resample was the same, as where only seeds are drawn and there is one, so nothing was put to a test.
fn p(comparison: &Comparison) -> f64 {
    let error = (comparison.high - comparison.low) / WIDTH;
    match comparison.difference.abs() {
        size if size == 0.0 || error <= 0.0 => 1.0,
        size => erfc(size / error / std::f64::consts::SQRT_2),
    }
}

/// The complementary error function of x ≥ 0, to 1.2e−7 of its value (Press et al., *Numerical Recipes*, 2nd ed., §6.2).
fn erfc(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.5 * x);
    let series = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let sum = series.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    t * (sum - x * x).exp()
}

/// One sentence for each row that was compared, and one on all together.
pub(super) fn sentences(tested: &[TestedDifference]) -> Vec<String> {
    if tested.is_empty() {
        return vec!["The table compares no learned policy: for baselines only the intervals are given.".to_owned()];
    }
    let mut names: Vec<&str> = Vec::new();
    for name in tested.iter().map(|j| j.comparison.policy.as_str()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut said: Vec<String> = names.iter().map(|name| on_row(name, tested)).collect();
    let pairs = |is: &dyn Fn(&TestedDifference) -> bool| {
        let named = |j: &TestedDifference| {
            let mut pair = [j.comparison.policy.clone(), j.comparison.other.clone()];
            pair.sort();
            (j.comparison.metric.clone(), pair)
        };
        tested.iter().filter(|j| is(j)).map(named).collect::<BTreeSet<_>>().len()
    };
    let (all, hold, apart) = (pairs(&|_| true), pairs(&|j| j.holds()), pairs(&|j| j.apart));
    let more = match apart - hold.min(apart) {
        0 => String::new(),
        1 => "; 1 more is significant only without the correction".to_owned(),
        more => format!("; {more} more are significant only without the correction"),
    };
    said.push(format!(
        "{hold} of {all} {} (paired by user) {} significant at the 5 % level after Holm’s correction{more}.",
        if all == 1 { "difference" } else { "differences" },
        if hold == 1 { "is" } else { "are" }
    ));
    said
}

fn on_row(name: &str, tested: &[TestedDifference]) -> String {
    let own = || tested.iter().filter(|j| j.comparison.policy == name);
    let named = |is: &dyn Fn(&TestedDifference) -> bool| -> Vec<String> {
        own().filter(|j| is(j)).map(|j| j.comparison.other.clone()).collect()
    };
    let parts = [
        ("significantly above", named(&|j| j.holds() && j.comparison.difference > 0.0)),
        ("significantly below", named(&|j| j.holds() && j.comparison.difference < 0.0)),
        ("no significant difference from", named(&|j| !j.holds())),
    ];
    let parts = parts.iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<_> = parts.map(|(words, names)| format!("{words} {}", format::list(names))).collect();
    // Few seeds say something of these runs, little of the algorithm.
    let seeds = own().map(|j| j.comparison.seeds).max().unwrap_or_default();
    let few = match seeds {
        1 => " (1 seed)".to_owned(),
        n if n < SEEDS => format!(" ({n} seeds)"),
        _ => String::new(),
    };
    format!("{name}{few}: {}.", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(policy: &str, other: &str, difference: f64, half: f64) -> Comparison {
        Comparison {
            policy: policy.into(),
            other: other.into(),
            metric: "return_inclusive".into(),
            difference,
            low: difference - half,
            high: difference + half,
            probability_of_improvement: 0.5,
            probability_of_improvement_low: 0.4,
            probability_of_improvement_high: 0.6,
            seeds: 5,
            users: 100,
        }
    }

    #[test]
    fn the_error_function_is_that_of_the_tables() {
        for (x, wanted) in
            [(0.0, 1.0), (0.5, 0.479_500_122), (1.0, 0.157_299_207), (2.0, 0.004_677_735), (4.0, 1.541_726e-8)]
        {
            assert!((erfc(x) / wanted - 1.0).abs() < 1e-6, "{x}: {}", erfc(x));
        }
    }

    #[test]
    fn an_interval_that_just_touches_zero_has_five_percent() {
        assert!((p(&compare("a", "b", 1.0, 1.0)) - 0.05).abs() < 1e-6);
        assert_eq!((p(&compare("a", "b", 0.0, 1.0)), p(&compare("a", "b", 1.0, 0.0))), (1.0, 1.0));
        // Without width nothing was tested: it neither holds nor would pass alone.
        let untested = Comparisons(vec![compare("a", "b", 1.0, 0.0)]);
        let tested = test_all(&untested);
        assert!(!tested[0].holds() && !tested[0].apart);
    }

    #[test]
    fn what_passes_alone_may_fail_together() {
        // p of the three pairs: about 0.0001 (half 0.5), 0.04 (1.96/2.054), 0.5; Holm: ×3, ×2, ×1.
        let all = Comparisons(vec![
            compare("a2c", "random", 1.0, 0.5),
            compare("a2c", "bc", 1.0, 0.954_2),
            compare("bc", "a2c", -1.0, 0.954_2),
            compare("a2c", "popular", 0.1, 1.0),
        ]);
        let tested = test_all(&all);
        assert_eq!(tested.iter().map(TestedDifference::holds).collect::<Vec<_>>(), [true, false, false, false]);
        assert!(tested[1].apart && (tested[1].p - 0.08).abs() < 1e-3, "{}", tested[1].p);
        assert_eq!(tested[1].p, tested[2].p);
        assert_eq!(
            sentences(&tested),
            [
                "a2c: significantly above random; no significant difference from bc and popular.",
                "bc: no significant difference from a2c.",
                "1 of 3 differences (paired by user) is significant at the 5 % level after Holm’s correction; 1 more is significant only without the correction.",
            ]
        );
    }

    #[test]
    fn nothing_compared_and_few_seeds_are_said() {
        let none = sentences(&test_all(&Comparisons(vec![compare("a", "b", f64::NAN, 1.0)])));
        assert_eq!(none, ["The table compares no learned policy: for baselines only the intervals are given."]);
        let few = Comparison { seeds: 2, ..compare("bc", "random", 1.0, 0.1) };
        assert_eq!(sentences(&test_all(&Comparisons(vec![few])))[0], "bc (2 seeds): significantly above random.");
    }
}
