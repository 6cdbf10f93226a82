//! Episodes that were played, in the shape of the table: rows of cells of episodes.

use std::collections::BTreeSet;

use crate::artifact::{End, Rollout};
use crate::env::Episodes;

/// One row of the table.
pub(super) struct Row {
    pub name: String,
    /// Whether the evaluation added it by itself.
    pub control: bool,
    pub remark: String,
    /// One a training seed or repetition; all play with the same users in the same order.
    pub cells: Vec<Cell>,
}

/// The episodes of one training seed, or of one repetition of a control that draws.
pub(super) struct Cell {
    /// As [`Rollout::cell`].
    pub name: String,
    pub episodes: Vec<Episode>,
    /// Distinct items over all its episodes / |I|.
    pub coverage: f64,
}

/// What the table needs of an episode.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Episode {
    pub user: u32,
    pub length: u32,
    pub inclusive: f64,
    /// Without the last reward, where the user left at it.
    pub exclusive: f64,
    /// The return (inclusive) of its first turns, as many as the teacher was given.
    pub opening: f64,
    pub distinct: u32,
    pub end: End,
}

impl Cell {
    /// What was played; `opening` is the number of turns that [`Episode::opening`] sums. An episode that nobody ended was
    /// cut by its player.
    pub fn of(name: &str, episodes: &Episodes, opening: usize) -> Self {
        let mut shown = BTreeSet::new();
        let judged = (0..episodes.len()).map(|e| {
            shown.extend(episodes.items(e).iter().copied());
            Episode::of(episodes, e, opening)
        });
        let judged = judged.collect();
        let coverage = shown.len() as f64 / episodes.world().items() as f64;
        Self { name: name.to_owned(), episodes: judged, coverage }
    }
}

impl Episode {
    fn of(episodes: &Episodes, e: usize, opening: usize) -> Self {
        let (items, rewards) = (episodes.items(e), episodes.rewards(e));
        let end = episodes.end(e).unwrap_or(End::Horizon);
        let sum = |rewards: &[f32]| rewards.iter().map(|&reward| f64::from(reward)).sum();
        Self {
            user: episodes.user(e),
            length: items.len() as u32,
            inclusive: sum(rewards),
            exclusive: sum(&rewards[..rewards.len() - usize::from(end.terminal() && !rewards.is_empty())]),
            opening: sum(&rewards[..rewards.len().min(opening)]),
            distinct: items.iter().collect::<BTreeSet<_>>().len() as u32,
            end,
        }
    }
}

impl Row {
    /// Its episodes as the file of episodes has them.
    pub fn rollouts(&self) -> impl Iterator<Item = Rollout> {
        self.cells.iter().flat_map(move |cell| {
            cell.episodes.iter().map(move |episode| Rollout {
                policy: self.name.clone(),
                cell: cell.name.clone(),
                user: episode.user,
                length: episode.length,
                inclusive: episode.inclusive as f32,
                exclusive: episode.exclusive as f32,
                distinct: episode.distinct,
                end: episode.end,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;

    #[test]
    fn the_exclusive_return_leaves_out_the_reward_at_which_the_user_left_and_no_other() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 3, 1);
        let mut episodes = Episodes::new(&world, &[0, 0, 0]);
        episodes.step(&[0, 1, 2], &[0, 0, 0]).unwrap();
        episodes.step(&[0, 1], &[2, 1]).unwrap();
        episodes.step(&[0], &[0]).unwrap();
        let cell = Cell::of("", &episodes, 2);
        let seen: Vec<_> = cell.episodes.iter().map(|e| (e.end, e.inclusive, e.exclusive, e.opening)).collect();
        assert_eq!(
            seen,
            [
                (End::Horizon, 14.0, 14.0, 9.0),
                (End::Similar, 10.0, 5.0, 10.0),
                // Cut by its player after one turn: nobody left.
                (End::Horizon, 5.0, 5.0, 5.0),
            ]
        );
        assert_eq!(cell.episodes.iter().map(|e| e.distinct).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!(cell.coverage, 3.0 / 4.0);
    }
}
