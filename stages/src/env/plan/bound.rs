//! What no policy exceeds: an episode cut into segments, each of which pays at most what the best compatible set pays.
//!
//! Call turns s … e−1 *closed* when every turn t after s among them is asked about all of s … t−1, so c(t) ≥ t − s, and none
//! lies before `min_turns`. Whoever stays through a closed segment was shown e − s items of which no two conflict and none pays
//! too little, so the segment pays at most S_{e−s}, the best set of so many items ([`best_sets`](super::sets)). A turn before
//! `min_turns` pays at most the best item's reward r*. So through the first e turns a user who stays pays at most
//!
//! B(0) = 0,  B(e) = min over s of B(s) + S_{e−s} where s … e−1 is closed, or B(e − 1) + r* where turn e − 1 is spared,
//!
//! and the return of any sequence, that ends at turn τ with whatever item, is at most max over τ < T of B(τ) + r*. Where repeats
//! are masked the τ + 1 best items bound it as well, and the smaller counts.
//!
//! With a whole window of N and repeats allowed, the best set of N + 1 shown round and round reaches the bound whenever N + 1
//! divides the closed turns before the last, and otherwise where its best k items are the best set of k for the k turns that
//! are left over. EasyRL4Rec's window opens early on: at N = 7 turns 0, 1 … 4 and 5 … 12 and so on are closed.

use super::sets::{ItemScores, Set};
use crate::artifact::{QuitRules, Repeats};

/// The longest segment that can be closed.
pub(super) fn longest(rules: &QuitRules) -> usize {
    (rules.quit_window + 1).min(rules.horizon)
}

/// What no sequence of items returns more than; `sets` are the best of 1, 2, … items.
pub(super) fn bound(rules: &QuitRules, scores: &ItemScores, sets: &[Set]) -> f64 {
    let nobody_leaves = rules.repeats == Repeats::MaskedFixedLength;
    let asked = |turn: usize| turn >= rules.min_turns && !nobody_leaves;
    let remembered = |turn: usize| rules.window_rule.length(turn, rules.quit_window);
    // What the first turns pay whom they do not drive away.
    let mut through = vec![0.0];
    for end in 1..rules.horizon {
        if !asked(end - 1) {
            through.push(through[end - 1] + scores.best());
            continue;
        }
        let mut least = f64::INFINITY;
        for (begin, set) in (0..end).rev().zip(sets) {
            let closed = asked(begin) && (begin + 1..end).all(|turn| remembered(turn) >= turn - begin);
            if !closed {
                break;
            }
            least = least.min(through[begin] + set.bound);
        }
        through.push(least);
    }
    let mut masked = 0.0;
    let mut most = f64::NEG_INFINITY;
    for (turn, stayed) in through.into_iter().enumerate() {
        let mut total = stayed + scores.best();
        if rules.repeats != Repeats::Allowed {
            masked += scores.order.get(turn).map_or(0.0, |&item| scores.reward(item));
            total = total.min(masked);
        }
        most = most.max(total);
    }
    most
}
