//! Sequences that can be played: a beam over few well-chosen items, then over all.
//!
//! Greedy choice is myopic: its first items may conflict with the set of items that it pays to live on. So the search lives on
//! that set first. What it finds is played as it is; only `bound` can say that it is the best.

use std::collections::BTreeSet;

use super::pairs::{Bits, CompatiblePairs, has};
use super::sets::{ItemScores, Set};
use crate::artifact::{QuitRules, Repeats, World};

/// Sequences that are kept a turn, and items that are tried behind each.
const WIDTH: usize = 16;

/// A sequence at which the user is still there.
#[derive(Clone)]
struct PartialSequence {
    items: Vec<u32>,
    total: f64,
}

/// The best sequence that is found and its return: that of the first beam that reaches `bound`, or else the best of all.
pub(super) fn search(
    world: &World,
    scores: &ItemScores,
    pairs: &CompatiblePairs,
    sets: &[Set],
    bound: f64,
) -> (Vec<u32>, f64) {
    let best_first = |set: BTreeSet<u32>| -> Vec<u32> {
        scores.acceptable().iter().copied().filter(|item| set.contains(item)).collect()
    };
    let largest = sets.iter().rev().find(|set| !set.items.is_empty());
    let of_largest = best_first(largest.into_iter().flat_map(|set| &set.items).copied().collect());
    let of_all = best_first(sets.iter().flat_map(|set| &set.items).copied().collect());
    let everything = scores.acceptable().to_vec();
    // A beam of one over everything is the greedy oracle, which ends with the best item: nobody gets less than it.
    let beams = [(&of_largest, WIDTH), (&of_all, WIDTH), (&everything, 1), (&everything, WIDTH)];
    let mut found = (Vec::new(), f64::NEG_INFINITY);
    for (pool, width) in beams {
        let next = Beam { rules: &world.rules, scores, pairs, pool, width }.run();
        if next.1 > found.1 {
            found = next;
        }
        if found.1 >= bound - ROUNDING * bound.abs().max(1.0) {
            break;
        }
    }
    found
}

struct Beam<'a> {
    rules: &'a QuitRules,
    scores: &'a ItemScores<'a>,
    pairs: &'a CompatiblePairs<'a>,
    /// What is shown before the last turn, best first.
    pool: &'a [u32],
    width: usize,
}

impl Beam<'_> {
    fn run(&self) -> (Vec<u32>, f64) {
        let mut open = vec![PartialSequence { items: Vec::new(), total: 0.0 }];
        let mut best = (Vec::new(), f64::NEG_INFINITY);
        for turn in 0..self.rules.horizon {
            for sequence in &open {
                // Whether the user leaves at it or not: what is shown last is paid for.
                let Some(last) = self.last(&sequence.items) else { continue };
                let total = sequence.total + self.scores.reward(last);
                if total > best.1 {
                    best = ([&sequence.items[..], &[last]].concat(), total);
                }
            }
            if turn + 1 < self.rules.horizon {
                open = self.stay(&open, turn);
            }
        }
        best
    }

    /// The best item that may be shown at all.
    fn last(&self, shown: &[u32]) -> Option<u32> {
        self.scores.order.iter().copied().find(|item| !self.masked(shown, *item))
    }

    fn masked(&self, shown: &[u32], item: u32) -> bool {
        self.rules.repeats != Repeats::Allowed && shown.contains(&item)
    }

    /// The best sequences that are one item longer and keep their user.
    fn stay(&self, open: &[PartialSequence], turn: usize) -> Vec<PartialSequence> {
        let asked = turn >= self.rules.min_turns && self.rules.repeats != Repeats::MaskedFixedLength;
        let mut longer: Vec<(f64, usize, u32)> = Vec::new();
        for (at, sequence) in open.iter().enumerate() {
            let free = asked.then(|| self.free(&sequence.items, turn));
            // At a turn that nobody leaves at, whatever it pays may be shown.
            let pool = if asked { self.pool } else { &self.scores.order };
            let fits = |item: &&u32| free.as_ref().is_none_or(|free| has(free, **item));
            let allowed = pool.iter().filter(fits).filter(|item| !self.masked(&sequence.items, **item));
            longer.extend(allowed.take(self.width).map(|&item| (sequence.total + self.scores.reward(item), at, item)));
        }
        // Stable: of equals the one that was found first.
        longer.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut seen = BTreeSet::new();
        let mut kept = Vec::new();
        for (total, at, item) in longer {
            let items = [&open[at].items[..], &[item]].concat();
            if seen.insert(self.future(&items)) {
                kept.push(PartialSequence { items, total });
            }
            if kept.len() == self.width {
                break;
            }
        }
        kept
    }

    /// What does not conflict with what the user remembers at `turn`.
    fn free(&self, shown: &[u32], turn: usize) -> Bits {
        let mut free = self.pairs.all();
        let remembered = self.rules.window_rule.length(turn, self.rules.quit_window);
        shown[turn - remembered..].iter().for_each(|&item| self.pairs.keep(&mut free, item));
        free
    }

    /// What decides how a sequence may go on: of two that are equal in it the one that was paid more is enough.
    fn future(&self, items: &[u32]) -> (Vec<u32>, Vec<u32>) {
        let recent = items[items.len().saturating_sub(self.rules.quit_window)..].to_vec();
        let mut shown = if self.rules.repeats == Repeats::Allowed { Vec::new() } else { items.to_vec() };
        shown.sort_unstable();
        (recent, shown)
    }
}

/// Rounding of sums of rewards that are equal but for their order.
pub(super) const ROUNDING: f64 = 1e-9;
