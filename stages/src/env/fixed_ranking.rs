//! Recommends from fixed rankings: what closed-form learners, scores of items and oracles have in common.

use anyhow::{Context as _, Result};
use rand_chacha::ChaCha8Rng;

use super::{Episode, EpisodeAgent};

/// The first item of a ranking that may be shown and at which the user does not quit; if the user quits at each, the first that may
/// be shown. Where a world has quit rules it knows them (privileged).
pub struct FixedRanking<'a> {
    /// Items, best first: one ranking for all users, or one a user, in the order of their numbers.
    pub rankings: &'a [Vec<u32>],
}

impl FixedRanking<'_> {
    /// The items by `scores`, best first; equal scores keep the order of `items`.
    #[must_use]
    pub fn order(items: &[u32], scores: &[f64]) -> Vec<u32> {
        let mut order = items.to_vec();
        order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
        order
    }
}

impl EpisodeAgent for FixedRanking<'_> {
    type Notes = ();

    fn decide(&self, episode: &Episode, (): &mut (), _: &mut ChaCha8Rng) -> Result<u32> {
        let ranking = match self.rankings {
            [one] => one,
            each => &each[episode.user as usize],
        };
        let allowed = || ranking.iter().copied().filter(|&item| episode.allowed(item));
        let free = allowed().find(|&item| !episode.user_quits_at(item)).or_else(|| allowed().next());
        free.with_context(|| {
            format!(
                "all {} offered items were shown to user {} and the episode goes on\nhelp: offer more items, or lower the horizon of {}",
                ranking.len(),
                episode.user,
                episode.world().rules.horizon
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Repeats;
    use crate::env::cluster_world;
    use crate::env::play;

    #[test]
    fn the_best_that_may_be_shown_comes_next_for_all_or_for_each() {
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 1, 1, 2, 2);
        world.rules.repeats = Repeats::Masked;
        let one = vec![FixedRanking::order(&[0, 1, 2], &[0.1, 0.3, 0.1])];
        assert_eq!(one, [[1, 0, 2]]);
        let played = play(&world, &[0, 1], &FixedRanking { rankings: &one }, 0).unwrap();
        assert_eq!((played.items(0), played.items(1)), (&[1, 0][..], &[1, 0][..]));
        let each = vec![vec![2, 0], vec![0, 1]];
        let played = play(&world, &[1, 0], &FixedRanking { rankings: &each }, 0).unwrap();
        assert_eq!((played.items(0), played.items(1)), (&[0, 1][..], &[2, 0][..]));
        let error = play(&world, &[0], &FixedRanking { rankings: &[vec![2]] }, 0).err().unwrap().to_string();
        assert!(error.starts_with("all 1 offered items were shown to user 0"), "{error}");
    }
}
