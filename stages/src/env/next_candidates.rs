//! The next candidates of an episode: one rule for the language model that chooses and for the retriever top-1.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::{Episode, Episodes};
use crate::artifact::Candidates;

/// The first `count` items of the user's list of candidates that episode `e` has not shown; where the candidates say so, without those
/// that the user would leave at, as long as any other is left.
///
/// # Errors
/// When the list holds nothing new.
pub fn next_candidates(episodes: &Episodes, e: usize, candidates: &Candidates, count: usize) -> Result<Vec<u32>> {
    let (episode, user) = (episodes.episode(e), episodes.user(e));
    let offered = offered(&episode, candidates, count);
    ensure!(
        !offered.is_empty(),
        "user {user} was shown all {} items of the list and the episode goes on\nhelp: set `top_k` of the retrieve stage \
         above the horizon of {}",
        candidates.items[user as usize].len(),
        episodes.world().rules.horizon
    );
    Ok(offered)
}

/// The same of any episode; none where the list holds nothing new.
pub(super) fn offered(episode: &Episode, candidates: &Candidates, count: usize) -> Vec<u32> {
    let seen: BTreeSet<u32> = episode.items.iter().copied().collect();
    let list = &candidates.items[episode.user as usize];
    let fresh = || list.iter().copied().filter(|item| !seen.contains(item));
    let mut offered: Vec<u32> = Vec::new();
    if candidates.filter_quit_items {
        offered = fresh().filter(|&item| !episode.user_quits_at(item)).take(count).collect();
    }
    if offered.is_empty() {
        offered = fresh().take(count).collect();
    }
    offered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;

    #[test]
    fn what_was_shown_and_what_would_end_the_episode_is_left_out() {
        let world = cluster_world(&[5.0, 4.0], 2, 2, 30, 1);
        let mut episodes = Episodes::new(&world, &[0]);
        episodes.step(&[0], &[0]).unwrap();
        let mut candidates =
            Candidates { items: vec![vec![0, 1, 2, 3]], scores: vec![vec![0.0; 4]], filter_quit_items: true };
        assert_eq!(next_candidates(&episodes, 0, &candidates, 2).unwrap(), [2, 3]);
        candidates.filter_quit_items = false;
        assert_eq!(next_candidates(&episodes, 0, &candidates, 2).unwrap(), [1, 2]);
        candidates.items[0].truncate(1);
        assert!(next_candidates(&episodes, 0, &candidates, 2).is_err());
    }
}
