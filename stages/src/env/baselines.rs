//! Baselines of every table: policies that learn nothing.

use anyhow::{Context as _, Result};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::best_first::BestFirst;
use super::{Agent, Episode, EpisodeAgent, Episodes, next_candidates};
use crate::artifact::Candidates;

/// Items that are drawn from a catalogue that is not listed at each turn until one is free, before it is searched all the same.
const TRIES: usize = 256;

/// Uniform over the catalogue, or (quit-aware) over the items at which the user does not quit, which reads the distances of the
/// quit rules and is privileged. If the user quits at every item, it is uniform over the catalogue.
pub struct Random {
    /// Whether items at which the user quits are excluded.
    pub quit_aware: bool,
}

impl EpisodeAgent for Random {
    type Notes = ();

    fn decide(&self, episode: &Episode, (): &mut (), draw: &mut ChaCha8Rng) -> Result<u32> {
        if !self.quit_aware {
            return Ok(episode.random_allowed(draw));
        }
        if !episode.world().lists_free_items() {
            // The first free one of those that are drawn is as good as one drawn from all that are free.
            let free = (0..TRIES).map(|_| episode.random_allowed(draw)).find(|&item| !episode.user_quits_at(item));
            if let Some(item) = free {
                return Ok(item);
            }
        }
        let free = episode.free_items();
        // Where everything conflicts the user leaves in any case, but what is shown last is still paid for.
        Ok(if free.is_empty() { episode.random_allowed(draw) } else { free[draw.random_range(0..free.len())] })
    }
}

/// The first item of a fixed order at which the user does not quit (privileged).
pub struct Popular {
    /// Items, best first.
    pub order: Vec<u32>,
}

impl EpisodeAgent for Popular {
    type Notes = ();

    fn decide(&self, episode: &Episode, (): &mut (), _: &mut ChaCha8Rng) -> Result<u32> {
        let allowed = || self.order.iter().copied().filter(|&item| episode.allowed(item));
        let free = allowed().find(|&item| !episode.user_quits_at(item)).or_else(|| allowed().next());
        free.context("a popularity order without an item that may be recommended")
    }
}

/// The item of highest true reward at which the user does not quit, or of all items if the user quits at each (privileged; myopic,
/// so not an upper bound: see [`plans`](super::plans)). Ties go to the lowest id.
pub struct GreedyOracle;

impl EpisodeAgent for GreedyOracle {
    type Notes = Option<BestFirst>;

    fn decide(&self, episode: &Episode, notes: &mut Self::Notes, _: &mut ChaCha8Rng) -> Result<u32> {
        let best = notes.get_or_insert_with(|| BestFirst::of(&episode.world().rewards_of(episode.user)));
        let found = best.find(|item| episode.allowed(item) && !episode.user_quits_at(item));
        // Where everything conflicts the user leaves in any case, but what is shown last is still paid for.
        found.or_else(|| best.find(|item| episode.allowed(item))).context("no item may be recommended")
    }
}

/// The retriever top-1: always the first candidate.
pub struct RetrieverAgent<'a> {
    /// The candidates of each user.
    pub candidates: &'a Candidates,
}

impl Agent for RetrieverAgent<'_> {
    fn act(&self, episodes: &Episodes, live: &[usize], _: &mut [ChaCha8Rng]) -> Result<Vec<u32>> {
        let pick = |&e: &usize| Ok(next_candidates(episodes, e, self.candidates, 1)?[0]);
        live.par_iter().map(pick).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::episodes::tests::cluster_world;
    use crate::env::play;

    #[test]
    fn non_conflicting_controls_reach_the_horizon_and_the_oracle_its_closed_form() {
        // Rewards 5, 4, 3 with a window of 2 over 30 turns: the oracle cycles 5, 4, 3, which sums to 120.
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 1);
        let total = |agent: &dyn Agent| play(&world, &[0], agent, 1).unwrap().rewards(0).iter().sum::<f32>();
        assert!((total(&GreedyOracle) - 120.0).abs() < 1e-4);
        assert!((total(&Popular { order: vec![4, 2, 0, 1, 3, 5] }) - 120.0).abs() < 1e-4);
        let random = play(&world, &[0], &Random { quit_aware: true }, 1).unwrap();
        assert_eq!(random.items(0).len(), 30);
    }

    #[test]
    fn where_everything_conflicts_the_last_item_is_the_best_or_drawn() {
        // One cluster: whoever saw any item leaves at the next one.
        let mut world = cluster_world(&[1.0], 3, 1, 9, 1);
        world.rewards_mut().data = vec![1.0, 2.0, 3.0];
        let played = |agent: &dyn Agent, seed| play(&world, &[0], agent, seed).unwrap().items(0).to_vec();
        assert_eq!(played(&GreedyOracle, 1), [2, 2]);
        assert_eq!(played(&Popular { order: vec![1, 2, 0] }, 1), [1, 1]);
        let last: std::collections::BTreeSet<u32> =
            (0..30).map(|seed| played(&Random { quit_aware: true }, seed)[1]).collect();
        assert_eq!(last.len(), 3);
        // Masked: the best of those that are left.
        world.rules.repeats = crate::artifact::Repeats::Masked;
        assert_eq!(play(&world, &[0], &GreedyOracle, 1).unwrap().items(0), [2, 1]);
    }

    #[test]
    fn where_nobody_leaves_yet_nothing_conflicts() {
        // Spared two turns: the oracle takes the best item twice, then must avoid what is remembered.
        let mut world = cluster_world(&[5.0, 4.0], 1, 1, 4, 1);
        world.rules.min_turns = 2;
        assert_eq!(play(&world, &[0], &GreedyOracle, 1).unwrap().items(0), [0, 0, 1, 0]);
        let candidates = Candidates { items: vec![vec![0, 1]], scores: vec![vec![0.0; 2]], filter_quit_items: true };
        let mut episodes = Episodes::new(&world, &[0]);
        episodes.step(&[0], &[1]).unwrap();
        assert_eq!(next_candidates(&episodes, 0, &candidates, 2).unwrap(), [0]);
    }
}
