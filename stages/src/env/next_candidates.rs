//! What a retriever offers next: one rule for the language model that chooses and for the control that takes the first.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::Episodes;
use crate::artifact::Candidates;

/// The first `count` items of the user's ranking that episode `e` has not shown; where the rankings say so, without those
/// that the user would leave at, as long as any other is left.
///
/// # Errors
/// When the ranking holds nothing new.
pub fn next_candidates(episodes: &Episodes, e: usize, rankings: &Candidates, count: usize) -> Result<Vec<u32>> {
    let (episode, user) = (episodes.episode(e), episodes.user(e));
    let seen: BTreeSet<u32> = episodes.items(e).iter().copied().collect();
    let ranking = &rankings.items[user as usize];
    let fresh = || ranking.iter().copied().filter(|item| !seen.contains(item));
    let mut offered: Vec<u32> = Vec::new();
    if rankings.avoid_alike {
        offered = fresh().filter(|&item| !episode.user_quits_at(item)).take(count).collect();
    }
    if offered.is_empty() {
        offered = fresh().take(count).collect();
    }
    ensure!(
        !offered.is_empty(),
        "user {user} was shown all {} items of the ranking and the episode goes on\nhelp: set `depth` of the retrieve stage \
         above the horizon of {}",
        ranking.len(),
        episodes.world().rules.horizon
    );
    Ok(offered)
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
        let mut rankings = Candidates { items: vec![vec![0, 1, 2, 3]], scores: vec![vec![0.0; 4]], avoid_alike: true };
        assert_eq!(next_candidates(&episodes, 0, &rankings, 2).unwrap(), [2, 3]);
        rankings.avoid_alike = false;
        assert_eq!(next_candidates(&episodes, 0, &rankings, 2).unwrap(), [1, 2]);
        rankings.items[0].truncate(1);
        assert!(next_candidates(&episodes, 0, &rankings, 2).is_err());
    }
}
