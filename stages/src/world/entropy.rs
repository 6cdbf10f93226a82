//! How open it is what comes next in a log, after the last one and the last two items of a session.
//!
//! H_k = −Σ_i p_i·ln p_i / ln(n + 1), where p are the shares of the n different items that followed the last k ∈ {1, 2} items,
//! whatever their order (Gao et al. 2023, DORL, arXiv 2307.04571). The norm is ours: DORL says that the entropy is
//! normalised, and not by what. What was seen less than twice tells nothing of what may follow, and counts as open: 1.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use rayon::prelude::*;

use super::distance::LARGEST_TABLE;
use crate::artifact::{Demonstrations, SeenPairs, SessionBonus};

/// H_1 + H_2 after (the last item, the one before): a table as long as distances have one, and beyond what the log tells.
///
/// # Errors
/// On an item that is none of the I.
pub(super) fn openness(log: &Demonstrations, items: usize) -> Result<SessionBonus> {
    let seen = seen_openness(log, items)?;
    Ok(if items <= LARGEST_TABLE { SessionBonus::Table(seen.table()) } else { SessionBonus::Seen(seen) })
}

/// The same of the pairs that the log has; of I, which stands for none, all is open.
fn seen_openness(log: &Demonstrations, items: usize) -> Result<SeenPairs> {
    if let Some((t, s, step)) = log.steps().find(|(_, _, step)| step.item as usize >= items) {
        bail!(
            "demonstrated trajectory {t}, step {s}: item {} is not among the world's {items}\nhelp: make both from one ingest stage",
            step.item
        );
    }
    let (mut after_one, mut after_two) = (Vec::new(), Vec::new());
    for trajectory in &log.trajectories {
        let shown: Vec<u32> = trajectory.steps.iter().map(|step| step.item).collect();
        after_one.extend(shown.windows(2).map(|pair| (pair[0], pair[1])));
        after_two.extend(shown.windows(3).map(|three| ((three[0].min(three[1]), three[0].max(three[1])), three[2])));
    }
    after_one.par_sort_unstable();
    after_two.par_sort_unstable();
    let mut open = vec![2.0; items + 1];
    for followed in after_one.chunk_by(|a, b| a.0 == b.0) {
        // The one before may be any, or none.
        open[followed[0].0 as usize] = entropy(followed) + 1.0;
    }
    let mut pairs = BTreeMap::new();
    for followed in after_two.chunk_by(|a, b| a.0 == b.0) {
        let ((one, other), less) = (followed[0].0, entropy(followed) - 1.0);
        if less != 0.0 {
            pairs.insert((one, other), open[one as usize] + less);
            pairs.insert((other, one), open[other as usize] + less);
        }
    }
    Ok(SeenPairs::new(open, pairs))
}

/// Of what followed the same items, sorted.
fn entropy<L>(followed: &[(L, u32)]) -> f32 {
    if followed.len() < 2 {
        return 1.0;
    }
    let all = followed.len() as f64;
    let (mut nats, mut different) = (0.0, 0.0);
    for same in followed.chunk_by(|a, b| a.1 == b.1) {
        let p = same.len() as f64 / all;
        nats += p * p.ln();
        different += 1.0;
    }
    (-nats / (different + 1.0_f64).ln()) as f32
}

#[cfg(test)]
mod tests {
    use pipeline::{Artifact, Context, Stage};

    use super::*;
    use crate::artifact::{
        Array, ColumnDistances, Distances, Factored, Factors, QuitRules, Step, Termination, Trajectory, World,
    };
    use crate::world::pessimistic::{By, Dorl, Inputs, Pessimistic};

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
        let seen = seen_openness(&log, 4).unwrap();
        assert_eq!(SessionBonus::Table(seen.table()), open);
        let apart = (open.mean() - SessionBonus::Seen(seen.clone()).mean()).abs();
        assert!(apart < 1e-6, "{apart}");
        for (last, before) in (0..5).flat_map(|last| (0..5).map(move |before| (last, before))) {
            let seen = SessionBonus::Seen(seen.clone()).scaled(0.3);
            assert_eq!(seen.of(last, before), open.clone().scaled(0.3).of(last, before), "{last} {before}");
        }
        let at = |last: usize, before: usize| open.of(last, before);
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

    /// A table of what comes next would take 3.6 GB.
    #[test]
    fn in_a_catalogue_of_thirty_thousand_items_only_what_the_log_has_is_kept() {
        let items = 30_000;
        let factors = |rows: usize| Array::new(&[rows, 1], (0..rows).map(|row| 1.0 + (row % 3) as f32).collect());
        let members = vec![Factors::of_product(factors(2), factors(items))];
        let rewards = Factored { members, range: (1.0, 9.0), penalty: None };
        let mut world = World::new(
            rewards,
            Distances::Columns(ColumnDistances::new(None)),
            [factors(2), factors(items)],
            QuitRules::default(),
        );
        world.rules.distance_threshold = None;
        let by = By::Dorl(Dorl { uncertainty_coef: 0.0, entropy_coef: 0.5 });
        let step = |item| Step { item, reward: 1.0, candidates: vec![], scores: vec![], call: String::new() };
        let steps = [0, 29_999, 5, 0, 29_999, 5].map(step).to_vec();
        let log = Demonstrations::new(vec![Trajectory { user: 0, steps, end: Termination::Horizon }]);
        let folder = tempfile::tempdir().unwrap();
        let stage = Pessimistic { by, ..Pessimistic::default() };
        let inputs = Inputs { world, demonstrations: Some(log) };
        let found = stage.run(inputs, &Context::detached(folder.path())).unwrap().world;
        let bonus = found.bonus.as_ref().unwrap();
        assert!(matches!(bonus, SessionBonus::Seen(_)));
        // After 0 and 29,999 always the same; after 0 the same, and 0 before it never was; nothing after 7, and nothing shown at first.
        let found_bonuses = [(0, 29_999), (29_999, 0), (0, 0), (7, 0), (items, items)].map(|(a, b)| bonus.of(a, b));
        assert_eq!(found_bonuses, [0.0, 0.0, 0.5, 1.0, 1.0]);
        let path = folder.path().join("world");
        found.write(&path).unwrap();
        let read = World::read(&path).unwrap();
        assert!(read == found && read.rewards_digest() == found.rewards_digest());
        assert!(std::fs::metadata(&path).unwrap().len() < 2_000_000);
    }
}
