//! What a policy may see of an episode: the user, the last items, and how far along it is. Never a quit distance.

use super::Episodes;
use crate::artifact::{Repeats, World};

/// A batch of B observations, ready for a network: flat arrays instead of one allocation a state.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// `[B]`, the users.
    pub user: Vec<u32>,
    /// `[B, W]`, the last W items, newest first; `padding` (one past the last item) where the episode is younger.
    pub recent: Vec<u32>,
    /// `[B, W]`, what they were paid, newest first; 0 where the episode is younger.
    pub rewards: Vec<f32>,
    /// `[B]`, turns played over the horizon, in [0, 1).
    pub progress: Vec<f32>,
    /// W.
    pub window: usize,
    /// Whether what was shown is masked; see [`masked`](Self::masked).
    pub masking: bool,
    /// What each state masks, one after the other; empty where repeats are allowed.
    pub masks: Vec<u32>,
    /// Where the masks of each state end in `masks`.
    pub mask_ends: Vec<usize>,
}

impl Observation {
    /// No state yet, of the last `window` items in that world, masked as its rules say.
    #[must_use]
    pub fn of(world: &World, window: usize) -> Self {
        Self { window, masking: world.rules.repeats != Repeats::Allowed, ..Self::default() }
    }

    /// No state yet, of the last `window` items, outside of any world.
    #[must_use]
    pub fn unmasked(window: usize) -> Self {
        Self { window, ..Self::default() }
    }

    /// The items that may not be recommended in the state at `row`: π, its logarithm and its entropy are over the others.
    #[must_use]
    pub fn masked(&self, row: usize) -> &[u32] {
        if !self.masking {
            return &[];
        }
        let begin = if row == 0 { 0 } else { self.mask_ends[row - 1] };
        &self.masks[begin..self.mask_ends[row]]
    }

    /// B.
    #[must_use]
    pub fn len(&self) -> usize {
        self.user.len()
    }
    /// Whether it holds no state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.user.is_empty()
    }

    /// Appends the state of `user` after `items`, which paid `rewards`.
    pub fn push(&mut self, user: u32, items: &[u32], rewards: &[f32], horizon: usize, padding: u32) {
        self.user.push(user);
        let newest_first = items.iter().rev().copied().chain(std::iter::repeat(padding));
        self.recent.extend(newest_first.take(self.window));
        self.rewards.extend(rewards.iter().rev().copied().chain(std::iter::repeat(0.0)).take(self.window));
        self.progress.push(items.len() as f32 / horizon as f32);
        if self.masking {
            self.masks.extend_from_slice(items);
            self.mask_ends.push(self.masks.len());
        }
    }

    /// With the present states of the episodes in `live`, too.
    #[must_use]
    pub fn with(mut self, episodes: &Episodes, live: &[usize]) -> Self {
        let (horizon, padding) = (episodes.world().rules.horizon, episodes.world().items() as u32);
        for &e in live {
            self.push(episodes.user(e), episodes.items(e), episodes.rewards(e), horizon, padding);
        }
        self
    }

    /// Masks `items` in the newest state, too, where anything is masked.
    pub fn mask_also(&mut self, items: &[u32]) {
        if let (true, Some(end)) = (self.masking, self.mask_ends.last_mut()) {
            self.masks.extend_from_slice(items);
            *end = self.masks.len();
        }
    }

    /// Masks these items in the newest state, and no others.
    pub fn mask_last(&mut self, items: &[u32]) {
        if !self.masking || self.mask_ends.pop().is_none() {
            return;
        }
        self.masks.truncate(self.mask_ends.last().copied().unwrap_or(0));
        self.masks.extend_from_slice(items);
        self.mask_ends.push(self.masks.len());
    }

    /// The same with the last `window` items of each state, of which it holds at least as many.
    #[must_use]
    pub fn shortened(&self, window: usize) -> Self {
        let newest = |all: &[u32]| all.chunks_exact(self.window).flat_map(|row| &row[..window]).copied().collect();
        let rewards = self.rewards.chunks_exact(self.window).flat_map(|row| &row[..window]).copied().collect();
        Self { recent: newest(&self.recent), rewards, window, ..self.clone() }
    }

    /// The states at `rows`, in that order.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        let mut taken = Self {
            user: rows.iter().map(|&r| self.user[r]).collect(),
            recent: rows.iter().flat_map(|&r| &self.recent[r * self.window..(r + 1) * self.window]).copied().collect(),
            rewards: rows
                .iter()
                .flat_map(|&r| &self.rewards[r * self.window..(r + 1) * self.window])
                .copied()
                .collect(),
            progress: rows.iter().map(|&r| self.progress[r]).collect(),
            window: self.window,
            masking: self.masking,
            ..Self::default()
        };
        if self.masking {
            for &row in rows {
                taken.masks.extend_from_slice(self.masked(row));
                taken.mask_ends.push(taken.masks.len());
            }
        }
        taken
    }
}

/// The present states of the episodes in `live`, with the last `window` items.
#[must_use]
pub fn observe(episodes: &Episodes, live: &[usize], window: usize) -> Observation {
    Observation::of(episodes.world(), window).with(episodes, live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;

    #[test]
    fn young_states_are_padded_and_masks_follow_their_states() {
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 10, 2);
        world.rules.repeats = Repeats::Masked;
        let mut episodes = Episodes::new(&world, &[1, 0]);
        episodes.step(&[0, 1], &[0, 4]).unwrap();
        episodes.step(&[0], &[3]).unwrap();
        let seen = observe(&episodes, &[0, 1], 3);
        assert_eq!((&seen.user[..], &seen.recent[..]), (&[1, 0][..], &[3, 0, 6, 4, 6, 6][..]));
        assert_eq!(seen.rewards, [4.0, 5.0, 0.0, 3.0, 0.0, 0.0]);
        assert_eq!(seen.progress, [0.2, 0.1]);
        assert_eq!((seen.masked(0), seen.masked(1)), (&[0, 3][..], &[4][..]));
        let taken = seen.take(&[1, 1, 0]);
        assert_eq!((taken.masked(0), taken.masked(1), taken.masked(2)), (&[4][..], &[4][..], &[0, 3][..]));
        assert_eq!(taken.recent, [4, 6, 6, 4, 6, 6, 3, 0, 6]);
        let short = seen.shortened(1);
        assert_eq!(
            (&short.recent[..], &short.rewards[..], short.masked(0)),
            (&[3, 4][..], &[4.0, 3.0][..], &[0, 3][..])
        );
        assert_eq!(seen.shortened(3), seen);
        world.rules.repeats = Repeats::Allowed;
        let mut free = Episodes::new(&world, &[1]);
        free.step(&[0], &[0]).unwrap();
        assert!(observe(&free, &[0], 3).masked(0).is_empty());
    }
}
