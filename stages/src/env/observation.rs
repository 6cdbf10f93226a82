//! What a policy may see of an episode: the user, the last items, and how far along it is. Never a quit distance.

use super::Episodes;

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
}

impl Observation {
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
    }

    /// The states at `rows`, in that order.
    #[must_use]
    pub fn take(&self, rows: &[usize]) -> Self {
        Self {
            user: rows.iter().map(|&r| self.user[r]).collect(),
            recent: rows.iter().flat_map(|&r| &self.recent[r * self.window..(r + 1) * self.window]).copied().collect(),
            rewards: rows
                .iter()
                .flat_map(|&r| &self.rewards[r * self.window..(r + 1) * self.window])
                .copied()
                .collect(),
            progress: rows.iter().map(|&r| self.progress[r]).collect(),
            window: self.window,
        }
    }
}

/// The present states of the episodes in `live`, with the last `window` items.
#[must_use]
pub fn observe(episodes: &Episodes, live: &[usize], window: usize) -> Observation {
    let mut observation = Observation { window, ..Observation::default() };
    let (horizon, padding) = (episodes.world().rules.horizon, episodes.world().items() as u32);
    for &e in live {
        observation.push(episodes.user(e), episodes.items(e), episodes.rewards(e), horizon, padding);
    }
    observation
}
