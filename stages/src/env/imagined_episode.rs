//! An episode that is imagined: the turns that a user might take in a world, from a history on.

use anyhow::Result;

use super::Episode;
use super::next_candidates::offered;
use crate::artifact::{Candidates, Termination, World};

/// A history in a world, which grows by imagined turns. The history need not have been played there: only what that world answers
/// from now on counts, although its user might have left earlier.
#[derive(Clone)]
pub struct ImaginedEpisode<'w> {
    world: &'w World,
    user: u32,
    items: Vec<u32>,
    rewards: Vec<f32>,
}

impl<'w> ImaginedEpisode<'w> {
    /// From this history on, with the rewards that the user gave.
    #[must_use]
    pub fn new(world: &'w World, user: u32, items: &[u32], rewards: &[f32]) -> Self {
        Self { world, user, items: items.to_vec(), rewards: rewards.to_vec() }
    }

    fn episode(&self) -> Episode<'_> {
        let (items, rewards) = (&self.items[..], &self.rewards[..]);
        Episode { world: self.world, similarity_mask: None, user: self.user, items, rewards }
    }

    /// The reward of `item`, and whether the episode would end with it.
    ///
    /// # Errors
    /// When the world masks repeats and the item was shown.
    pub fn answer(&self, item: u32) -> Result<(f32, Option<Termination>)> {
        self.episode().answer(item)
    }

    /// The same one turn later.
    #[must_use]
    pub fn after(&self, item: u32, reward: f32) -> Self {
        let mut next = self.clone();
        next.items.push(item);
        next.rewards.push(reward);
        next
    }

    /// As [`next_candidates`](super::next_candidates); none where the list holds nothing new.
    #[must_use]
    pub fn next_candidates(&self, candidates: &Candidates, count: usize) -> Vec<u32> {
        offered(&self.episode(), candidates, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Episodes, cluster_world, next_candidates};

    #[test]
    fn it_answers_as_the_episode_that_is_played() {
        let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 5, 1);
        let lists = Candidates { items: vec![(0..6).collect()], scores: vec![vec![0.0; 6]], filter_quit_items: true };
        let mut played = Episodes::new(&world, &[0]);
        let mut imagined = ImaginedEpisode::new(&world, 0, &[], &[]);
        for item in [0, 2, 4, 1, 3] {
            let offers = imagined.next_candidates(&lists, 2);
            assert_eq!(offers, next_candidates(&played, 0, &lists, 2).unwrap());
            let (reward, end) = imagined.answer(item).unwrap();
            played.step(&[0], &[item]).unwrap();
            assert_eq!((Some(&reward), end), (played.rewards(0).last(), played.end(0)));
            imagined = imagined.after(item, reward);
        }
        assert_eq!(played.end(0), Some(Termination::Horizon));
        // A history that this world would not have had is followed all the same.
        let left = ImaginedEpisode::new(&world, 0, &[0, 1], &[1.0, 1.0]);
        assert_eq!(left.answer(2).unwrap(), (4.0, None));
    }
}
