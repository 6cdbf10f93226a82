//! Episodes that were played, in the shape of the table: rows of cells of episodes.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::bootstrap::ScoreMatrix;
use super::teacher_replay::TeacherCoverage;
use crate::artifact::{EpisodeSteps, EpisodeUsage, Interactions, Rollout, RowRole, Termination, World};
use crate::env::Episodes;

/// One row of the table.
pub(super) struct Row {
    pub name: String,
    /// What it stands for.
    pub role: RowRole,
    /// Whether it uses information of the evaluation world that a deployed policy does not have.
    pub privileged: bool,
    pub remark: String,
    /// One a training seed or repetition; all play with the same users in the same order.
    pub seed_results: Vec<SeedResult>,
    /// Of a teacher: the users and turns over which others can be compared with it.
    pub teacher_coverage: Option<TeacherCoverage>,
    /// Quantities of this row alone, by their names in the table: one number a cell and user.
    pub extra: Vec<(&'static str, ScoreMatrix)>,
}

/// The episodes of one training seed, or of one repetition of a baseline that draws.
pub(super) struct SeedResult {
    /// As [`Rollout::cell`].
    pub name: String,
    pub episodes: Vec<Episode>,
    /// Distinct items over all its episodes / |I|.
    pub coverage: f64,
    /// Distinct items over all its episodes / their steps.
    pub coverage_per_step: f64,
}

/// What the table needs of an episode.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Episode {
    pub user: u32,
    /// Oldest first.
    pub items: Vec<u32>,
    /// The rewards of the evaluation world.
    pub rewards: Vec<f32>,
    pub inclusive: f64,
    /// Without the last reward, where the user left at it.
    pub exclusive: f64,
    pub distinct: u32,
    pub diversity: f64,
    pub novelty: f64,
    pub top_category: Option<f64>,
    /// Return of the same items in the training world.
    pub training: Option<f64>,
    /// The usage of a language model for it.
    pub usage: Option<EpisodeUsage>,
    pub end: Termination,
}

/// Computes the metrics of episodes.
pub(super) struct Measures<'a> {
    training: Option<&'a World>,
    /// −ln of each item's share in the train log.
    novelty: Vec<f64>,
}

impl<'a> Measures<'a> {
    /// Items unseen in `train` are as novel as can be, not infinitely so: each is given one interaction more than it has.
    pub fn new(training: Option<&'a World>, train: &Interactions, items: usize) -> Self {
        let mut counts = vec![1.0; items];
        for &item in &train.item {
            counts[item as usize] += 1.0;
        }
        let all: f64 = counts.iter().sum();
        Self { training, novelty: counts.iter().map(|count| f64::ln(all / count)).collect() }
    }

    /// The episodes that were played. An episode that no user ended was truncated by its player.
    pub fn cell(&self, name: &str, episodes: &Episodes) -> SeedResult {
        let evaluated: Vec<Episode> =
            (0..episodes.len()).into_par_iter().with_min_len(16).map(|e| self.episode(episodes, e)).collect();
        let shown: BTreeSet<u32> = evaluated.iter().flat_map(|episode| &episode.items).copied().collect();
        let steps: usize = evaluated.iter().map(|episode| episode.items.len()).sum();
        let distinct = shown.len() as f64;
        SeedResult {
            name: name.to_owned(),
            episodes: evaluated,
            coverage: distinct / episodes.world().items() as f64,
            coverage_per_step: distinct / steps as f64,
        }
    }

    fn episode(&self, episodes: &Episodes, e: usize) -> Episode {
        let (world, user) = (episodes.world(), episodes.user(e));
        let (items, rewards) = (episodes.items(e), episodes.rewards(e));
        let end = episodes.end(e).unwrap_or(Termination::Horizon);
        let sum = |rewards: &[f32]| rewards.iter().map(|&reward| f64::from(reward)).sum();
        let training_return = |training: &World| items.iter().map(|&item| f64::from(training.reward(user, item))).sum();
        Episode {
            user,
            items: items.to_vec(),
            rewards: rewards.to_vec(),
            inclusive: sum(rewards),
            exclusive: sum(&rewards[..rewards.len() - usize::from(end.terminal() && !rewards.is_empty())]),
            distinct: items.iter().collect::<BTreeSet<_>>().len() as u32,
            diversity: diversity(world, items),
            novelty: items.iter().map(|&item| self.novelty[item as usize]).sum::<f64>() / items.len() as f64,
            top_category: top_category(world, items),
            training: self.training.map(training_return),
            usage: None,
            end,
        }
    }
}

impl Episode {
    /// Steps, the quitting one included.
    pub fn length(&self) -> f64 {
        self.items.len() as f64
    }
    /// The return (inclusive) of its first `turns`.
    pub fn opening(&self, turns: usize) -> f64 {
        self.rewards.iter().take(turns).map(|&reward| f64::from(reward)).sum()
    }
    /// Steps that the user stayed for.
    pub fn continued(&self) -> f64 {
        self.length() - f64::from(u8::from(self.end.terminal()))
    }
}

/// Mean 1 − 1/(1 + Δ) over pairs of steps; 0 where there is one.
fn diversity(world: &World, items: &[u32]) -> f64 {
    let mut sum = 0.0;
    let mut distances = world.item_distances().of_episode(world.rewards(), items).into_iter().map(f64::from);
    for k in 0..items.len() {
        sum += distances.by_ref().take(k).map(|distance| 1.0 - 1.0 / (1.0 + distance)).sum::<f64>();
    }
    let pairs = items.len() * items.len().saturating_sub(1) / 2;
    sum / pairs.max(1) as f64
}

/// The share of steps whose item is of the category that most of them are of.
fn top_category(world: &World, items: &[u32]) -> Option<f64> {
    let categories = world.categories.as_ref()?;
    let count = |category: usize| items.iter().filter(|&&item| categories.row(item as usize)[category] > 0.0).count();
    let most = (0..categories.shape[1]).map(count).max().unwrap_or(0);
    Some(most as f64 / items.len() as f64)
}

impl Row {
    /// Its episodes as the file of episodes has them.
    pub fn rollouts(&self) -> impl Iterator<Item = Rollout> {
        self.seed_results.iter().flat_map(move |cell| {
            cell.episodes.iter().map(move |episode| Rollout {
                policy: self.name.clone(),
                cell: cell.name.clone(),
                user: episode.user,
                length: episode.items.len() as u32,
                return_inclusive: episode.inclusive,
                return_exclusive: episode.exclusive,
                distinct_items: episode.distinct,
                diversity: episode.diversity,
                novelty: episode.novelty,
                top_category: episode.top_category,
                return_training_world: episode.training,
                end: episode.end,
            })
        })
    }

    /// Its steps, episodes in the order of [`Row::rollouts`].
    pub fn steps(&self) -> impl Iterator<Item = EpisodeSteps> {
        self.seed_results.iter().flat_map(move |cell| {
            cell.episodes.iter().map(move |episode| EpisodeSteps {
                policy: self.name.clone(),
                cell: cell.name.clone(),
                user: episode.user,
                items: episode.items.clone(),
                rewards: episode.rewards.clone(),
                end: episode.end,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Array;
    use crate::env::cluster_world;

    fn log(items: &[u32]) -> Interactions {
        let rows = items.len();
        Interactions { user: vec![0; rows], item: items.to_vec(), rating: vec![4.0; rows], timestamp: vec![0; rows] }
    }

    #[test]
    fn the_exclusive_return_leaves_out_the_reward_at_which_the_user_left_and_no_other() {
        let world = cluster_world(&[5.0, 4.0], 2, 1, 3, 1);
        let mut episodes = Episodes::new(&world, &[0, 0, 0]);
        episodes.step(&[0, 1, 2], &[0, 0, 0]).unwrap();
        episodes.step(&[0, 1], &[2, 1]).unwrap();
        episodes.step(&[0], &[0]).unwrap();
        let cell = Measures::new(None, &log(&[0]), 4).cell("", &episodes);
        let seen: Vec<_> =
            cell.episodes.iter().map(|e| (e.end, e.inclusive, e.exclusive, e.opening(2), e.continued())).collect();
        assert_eq!(
            seen,
            [
                (Termination::Horizon, 14.0, 14.0, 9.0, 3.0),
                (Termination::Similar, 10.0, 5.0, 10.0, 1.0),
                // Cut by its player after one turn: no user left.
                (Termination::Horizon, 5.0, 5.0, 5.0, 1.0),
            ]
        );
        assert_eq!(cell.episodes.iter().map(|e| e.distinct).collect::<Vec<_>>(), [2, 2, 1]);
        assert_eq!((cell.coverage, cell.coverage_per_step), (3.0 / 4.0, 3.0 / 6.0));
    }

    #[test]
    fn what_an_episode_is_like_by_hand() {
        // Items 0 and 1 lie at distance 0, both at distance 1 of item 2; 0, 1 are of category 0, item 2 of both.
        let mut world = cluster_world(&[5.0, 4.0], 2, 1, 9, 1);
        world.rules.distance_threshold = None;
        world.categories = Some(Array::new(&[4, 2], vec![1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0]));
        let mut training = world.clone();
        training.rewards_mut().data = vec![1.0, 2.0, 3.0, 4.0];
        let mut episodes = Episodes::new(&world, &[0, 0]);
        for item in [0, 2, 1, 3] {
            episodes.step(&[0], &[item]).unwrap();
        }
        episodes.step(&[1], &[3]).unwrap();
        // Four items, log of six: counts 1 + [4, 1, 0, 1] = 5, 2, 1, 2 of 10.
        let measures = Measures::new(Some(&training), &log(&[0, 0, 0, 0, 1, 3]), 4);
        let cell = measures.cell("", &episodes);
        let first = &cell.episodes[0];
        // Pairs at distance 1: (0,2) (0,3) (1,2) (1,3), at 0: (0,1) (2,3); a distance of 1 counts ½.
        assert!((first.diversity - 4.0 * 0.5 / 6.0).abs() < 1e-12);
        let novelty = (2.0_f64.ln() + 10.0_f64.ln() + 2.0 * 5.0_f64.ln()) / 4.0;
        assert!((first.novelty - novelty).abs() < 1e-12);
        assert_eq!((first.top_category, first.training), (Some(0.75), Some(10.0)));
        let second = &cell.episodes[1];
        assert_eq!((second.diversity, second.top_category, second.training), (0.0, Some(1.0), Some(4.0)));
    }
}
