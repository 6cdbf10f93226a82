//! How open it is what comes next in a log, after the last one and the last two items of a session.
//!
//! H_k = −Σ_i p_i·ln p_i / ln(n + 1), where p are the shares of the n different items that followed the last k ∈ {1, 2} items,
//! whatever their order (Gao et al. 2023, DORL, arXiv 2307.04571). The norm is ours: DORL says that the entropy is
//! normalised, and not by what. What was seen less than twice tells nothing of what may follow, and counts as open: 1.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::artifact::{Array, Demonstrations};

/// H_1 + H_2 after (the last item, the one before), `[I + 1, I + 1]`; I stands for none, which is open.
///
/// # Errors
/// On an item that is none of the I.
pub(super) fn openness(log: &Demonstrations, items: usize) -> Result<Array> {
    if let Some((t, s, step)) = log.steps().find(|(_, _, step)| step.item as usize >= items) {
        bail!(
            "demonstrated trajectory {t}, step {s}: item {} is not among the world's {items}\nhelp: make both from one ingest stage",
            step.item
        );
    }
    let mut after_one: BTreeMap<u32, Followers> = BTreeMap::new();
    let mut after_two: BTreeMap<(u32, u32), Followers> = BTreeMap::new();
    for trajectory in &log.trajectories {
        let shown: Vec<u32> = trajectory.steps.iter().map(|step| step.item).collect();
        for pair in shown.windows(2) {
            *after_one.entry(pair[0]).or_default().entry(pair[1]).or_default() += 1;
        }
        for triple in shown.windows(3) {
            let last = (triple[0].min(triple[1]), triple[0].max(triple[1]));
            *after_two.entry(last).or_default().entry(triple[2]).or_default() += 1;
        }
    }
    let width = items + 1;
    let mut open = vec![2.0; width * width];
    for (&item, followers) in &after_one {
        // The one before may be any, or none.
        open[item as usize * width..][..width].fill(entropy(followers) + 1.0);
    }
    for (&(one, other), followers) in &after_two {
        let less = entropy(followers) - 1.0;
        open[one as usize * width + other as usize] += less;
        if one != other {
            open[other as usize * width + one as usize] += less;
        }
    }
    Ok(Array::new(&[width, width], open))
}

/// How often each item followed.
type Followers = BTreeMap<u32, u32>;

fn entropy(followers: &Followers) -> f32 {
    let all: f64 = followers.values().map(|&times| f64::from(times)).sum();
    if all < 2.0 {
        return 1.0;
    }
    let share = |&times: &u32| f64::from(times) / all;
    let nats = -followers.values().map(share).map(|p| p * p.ln()).sum::<f64>();
    (nats / (followers.len() as f64 + 1.0).ln()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Step, Termination, Trajectory};

    #[test]
    fn entropies_agree_with_hand_computed_values() {
        let step = |&item: &u32| Step { item, reward: 1.0, candidates: vec![], scores: vec![], call: String::new() };
        let trajectory =
            |items: &[u32]| Trajectory { user: 0, steps: items.iter().map(step).collect(), end: Termination::Horizon };
        let log = Demonstrations::new(vec![
            trajectory(&[0, 1, 2]),
            trajectory(&[1, 0, 2]),
            trajectory(&[0, 1, 3]),
            trajectory(&[1, 0, 3]),
            trajectory(&[2, 2]),
            trajectory(&[2, 2]),
        ]);
        let open = openness(&log, 4).unwrap();
        let at = |last: usize, before: usize| open.row(last)[before];
        let close = |found: f32, wanted: f64| assert!((f64::from(found) - wanted).abs() < 1e-6, "{found} for {wanted}");
        // After 0: 1, 1, 2, 3; after 0 and 1 in either order: 2, 3, 2, 3.
        let one = (0.5 * 2.0_f64.ln() + 0.5 * 4.0_f64.ln()) / 4.0_f64.ln();
        let two = 2.0_f64.ln() / 3.0_f64.ln();
        close(at(0, 1), one + two);
        close(at(1, 0), one + two);
        close(at(0, 2), one + 1.0);
        close(at(0, 4), one + 1.0);
        // After 2 came 2, twice: nothing is open; what came before never was followed.
        close(at(2, 2), 1.0);
        // 3 was followed by nothing, and at first nothing was shown.
        close(at(3, 0), 2.0);
        close(at(4, 4), 2.0);
    }
}
