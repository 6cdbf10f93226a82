//! Which differences between rows are real, said in words under the table.
//!
//! A difference is called real where its paired interval leaves out zero *and* it stays so with all differences of
//! the table evaluated together: among a hundred pairs that are alike, five intervals at 95 % leave out zero by chance. Holm's
//! step-down correction of the p that the evaluation found (t, over seeds and users) keeps the chance of even one false claim below
//! 5 %. The two orders of a pair are one difference.

use std::collections::BTreeSet;

use crate::artifact::{Comparison, Comparisons};
use crate::ratings::holm;
use crate::report::findings::verdict::SEEDS;
use crate::report::table::format;
use crate::report::table::row::Estimate;

/// The level of the 95 % intervals, and of the whole family after correction.
const LEVEL: f64 = 0.05;

/// One difference with the verdict on it.
pub(in crate::report) struct TestedDifference<'a> {
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
pub(in crate::report) fn test_all(comparisons: &Comparisons) -> Vec<TestedDifference<'_>> {
    let finite = |c: &&Comparison| [c.difference, c.low, c.high, c.p].iter().all(|value| value.is_finite());
    let all: Vec<&Comparison> = comparisons.0.iter().filter(finite).collect();
    // The order of a pair's first appearance decides; its other order shares its p.
    let family = |c: &Comparison| {
        let (one, other) = if c.policy <= c.other { (&c.policy, &c.other) } else { (&c.other, &c.policy) };
        (c.metric.clone(), one.clone(), other.clone())
    };
    let mut seen = BTreeSet::new();
    let first: Vec<&Comparison> = all.iter().copied().filter(|comparison| seen.insert(family(comparison))).collect();
    let corrected = holm(&first.iter().map(|comparison| comparison.p).collect::<Vec<_>>());
    let of = |comparison: &Comparison| {
        let place = first.iter().position(|known| family(known) == family(comparison));
        place.map_or(1.0, |place| corrected[place])
    };
    let tested = |comparison| {
        let c: &Comparison = comparison;
        TestedDifference { comparison, p: of(c), apart: c.low < c.high && (c.low > 0.0 || c.high < 0.0) }
    };
    all.into_iter().map(tested).collect()
}

/// One sentence for each row that was compared, and one on all together.
pub(in crate::report) fn sentences(tested: &[TestedDifference]) -> Vec<String> {
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
            p: crate::ratings::normal_p(difference / half * 1.959_964),
            probability_of_improvement: 0.5,
            probability_of_improvement_low: 0.4,
            probability_of_improvement_high: 0.6,
            seeds: 5,
            users: 100,
        }
    }

    #[test]
    fn what_was_not_tested_does_not_hold() {
        let untested = Comparisons(vec![Comparison { p: 1.0, ..compare("a", "b", 1.0, 0.0) }]);
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
