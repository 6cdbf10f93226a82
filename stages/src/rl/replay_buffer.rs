//! The replay buffer of whole episodes.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context as _, Result};
use candle_core::{Device, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::batch::Batch;
use super::dataset::Demonstration;
use crate::artifact::{Array, Demonstrations, World};
use crate::env::Observation;

/// One episode.
#[derive(Clone, Debug, PartialEq)]
struct StoredEpisode {
    user: u32,
    items: Vec<u32>,
    /// Rewards of the world, which are part of the states.
    rewards: Vec<f32>,
    /// What is learned from: the world's rewards or a mix.
    training_rewards: Vec<f32>,
    /// Whether nothing comes after its last item; else it was only cut off.
    terminal: bool,
}

/// The last episodes. States and n-step returns are computed when a batch is sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplayBuffer {
    capacity: usize,
    /// No state, of that window and masked as the world's rules say.
    empty: Observation,
    horizon: usize,
    padding: u32,
    episodes: VecDeque<StoredEpisode>,
}

/// N transitions (s, a, R, s′).
pub struct Transitions {
    /// `[N]` states s.
    pub now: Observation,
    /// `[N]` items a.
    pub actions: Vec<u32>,
    /// `[N]`, R = Σ_{k<m} γᵏ r_k with m = n, or as many steps as the episode had left.
    pub returns: Vec<f32>,
    /// `[N]` states s′ after m steps; s again where nothing comes after them, for there may be no such state.
    pub next: Observation,
    /// `[N]`: γᵐ, or 0 where the episode was over within the m steps.
    pub discounts: Vec<f32>,
}

impl Transitions {
    /// R + γᵐ·v, `[N]`, with `values [N]` of what comes after, in the unit of rewards: what Q is drawn to, without a gradient.
    pub fn td_target(&self, values: &Tensor) -> Result<Tensor> {
        let tensor = |numbers: &[f32]| Tensor::from_slice(numbers, self.actions.len(), values.device());
        Ok((tensor(&self.returns)? + (values.detach() * tensor(&self.discounts)?)?)?)
    }

    /// The items as a tensor on that device, `[N]` of u32.
    pub fn actions_on(&self, device: &Device) -> Result<Tensor> {
        Ok(Tensor::from_slice(&self.actions, self.actions.len(), device)?)
    }
}

impl ReplayBuffer {
    /// An empty one for `capacity` episodes in that world, with states of the last `window` items.
    #[must_use]
    pub fn new(capacity: usize, window: usize, world: &World) -> Self {
        let (horizon, padding) = (world.rules.horizon, world.items() as u32);
        Self { capacity, empty: Observation::of(world, window), horizon, padding, episodes: VecDeque::new() }
    }

    /// All demonstrated episodes, with their rewards. The state after a truncated one has a value like any
    /// other state.
    ///
    /// # Errors
    /// See [`Demonstration::all`].
    pub fn from_demonstrations(demonstrations: &Demonstrations, window: usize, world: &World) -> Result<Self> {
        let mut replay = Self::new(demonstrations.trajectories.len(), window, world);
        let stored = |Demonstration { user, items, rewards, training_rewards, terminal }| StoredEpisode {
            user,
            items,
            rewards,
            training_rewards,
            terminal,
        };
        replay.episodes.extend(Demonstration::all(demonstrations, world)?.into_iter().map(stored));
        Ok(replay)
    }

    /// Adds a batch's episodes, with the rewards `training_rewards [S]`, and drops the oldest beyond the capacity.
    pub fn add(&mut self, batch: &Batch, training_rewards: &[f32]) {
        let mut start = 0;
        for &length in &batch.lengths {
            let rows = start..start + length;
            self.episodes.push_back(StoredEpisode {
                user: batch.observation.user[start],
                items: batch.actions[rows.clone()].to_vec(),
                rewards: batch.rewards[rows.clone()].to_vec(),
                training_rewards: training_rewards[rows].to_vec(),
                terminal: true,
            });
            start += length;
        }
        let beyond = self.episodes.len().saturating_sub(self.capacity);
        self.episodes.drain(..beyond);
    }

    /// `count` transitions drawn evenly from all steps, with repetition.
    ///
    /// # Panics
    /// When it holds no step: a programming error.
    #[must_use]
    pub fn sample(&self, count: usize, gamma: f64, n_step: usize, draw: &mut ChaCha8Rng) -> Transitions {
        // The number of the first step of each episode.
        let mut firsts = Vec::with_capacity(self.episodes.len());
        let mut steps = 0;
        for episode in &self.episodes {
            firsts.push(steps);
            steps += episode.items.len();
        }
        let places = (0..count).map(|_| {
            let step = draw.random_range(0..steps);
            let episode = firsts.partition_point(|&first| first <= step) - 1;
            (episode, step - firsts[episode])
        });
        self.transitions(places, gamma, n_step)
    }

    /// The transitions from the given (episode, step).
    fn transitions(&self, places: impl Iterator<Item = (usize, usize)>, gamma: f64, n_step: usize) -> Transitions {
        let mut found = Transitions {
            now: self.empty.clone(),
            actions: vec![],
            returns: vec![],
            next: self.empty.clone(),
            discounts: vec![],
        };
        for (episode, step) in places {
            let StoredEpisode { user, items, rewards, training_rewards, terminal } = &self.episodes[episode];
            let last = (step + n_step).min(items.len());
            let sum = training_rewards[step..last].iter().rev().fold(0.0, |sum, &r| f64::from(r) + gamma * sum);
            found.now.push(*user, &items[..step], &rewards[..step], self.horizon, self.padding);
            found.actions.push(items[step]);
            found.returns.push(sum as f32);
            let (after, discount) = match last < items.len() || !terminal {
                true => (last, gamma.powi((last - step) as i32) as f32),
                // A world that masks repeats may have nothing left to show by then; the current state is valid.
                false => (step, 0.0),
            };
            found.next.push(*user, &items[..after], &rewards[..after], self.horizon, self.padding);
            found.discounts.push(discount);
        }
        found
    }

    /// Episodes that were played, all of which are over, as arrays: `users [E]`, `lengths [E]`, and `items`, `rewards`, `paid [S]`;
    /// ids are exact in f32 up to 16 million. (Demonstrated ones are an input, no checkpoint needs them.)
    #[must_use]
    pub fn export(&self) -> BTreeMap<String, Array> {
        let flat = |values: Vec<f32>| Array::new(&[values.len()], values);
        let of_steps = |pick: fn(&StoredEpisode) -> Vec<f32>| flat(self.episodes.iter().flat_map(pick).collect());
        BTreeMap::from([
            ("users".to_owned(), flat(self.episodes.iter().map(|e| e.user as f32).collect())),
            ("lengths".to_owned(), flat(self.episodes.iter().map(|e| e.items.len() as f32).collect())),
            ("items".to_owned(), of_steps(|e| e.items.iter().map(|&item| item as f32).collect())),
            ("rewards".to_owned(), of_steps(|e| e.rewards.clone())),
            ("paid".to_owned(), of_steps(|e| e.training_rewards.clone())),
        ])
    }

    /// Goes back to what [`ReplayBuffer::export`] gave, of which `arrays` hold the names after `prefix`.
    pub fn import(&mut self, arrays: &BTreeMap<String, Array>, prefix: &str) -> Result<()> {
        let get = |name: &str| {
            arrays
                .get(&format!("{prefix}{name}"))
                .with_context(|| format!("no array `{prefix}{name}` in the checkpoint"))
        };
        let (users, lengths) = (get("users")?, get("lengths")?);
        let (items, rewards, training_rewards) = (get("items")?, get("rewards")?, get("paid")?);
        self.episodes.clear();
        let mut start = 0;
        for (&user, &length) in users.data.iter().zip(&lengths.data) {
            let rows = start..start + length as usize;
            let part =
                |array: &Array| array.data.get(rows.clone()).context("a replay that ends early").map(<[f32]>::to_vec);
            self.episodes.push_back(StoredEpisode {
                user: user as u32,
                items: part(items)?.into_iter().map(|item| item as u32).collect(),
                rewards: part(rewards)?,
                training_rewards: part(training_rewards)?,
                terminal: true,
            });
            start = rows.end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Repeats, Step, Termination, Trajectory};
    use crate::env::cluster_world;
    use crate::nn::rng;

    fn world() -> World {
        cluster_world(&[5.0, 4.0, 3.0], 2, 2, 10, 4)
    }

    /// Episodes of user 3 (items 0, 2, 4) and of user 1 (item 5).
    fn batch() -> Batch {
        let mut observation = Observation::of(&world(), 2);
        let steps: [(u32, &[u32], &[f32]); 4] =
            [(3, &[], &[]), (3, &[0], &[5.0]), (3, &[0, 2], &[5.0, 4.0]), (1, &[], &[])];
        for (user, items, rewards) in steps {
            observation.push(user, items, rewards, 10, 6);
        }
        Batch {
            observation,
            actions: vec![0, 2, 4, 5],
            rewards: vec![5.0, 4.0, 3.0, 3.0],
            training_rewards: vec![5.0, 4.0, 3.0, 3.0],
            lengths: vec![3, 1],
        }
    }

    #[test]
    fn transitions_agree_with_hand_computed_values() {
        let mut replay = ReplayBuffer::new(5, 2, &world());
        replay.add(&batch(), &[1.0, 2.0, 4.0, 8.0]);
        let found = replay.transitions([(0, 0), (0, 1), (0, 2), (1, 0)].into_iter(), 0.5, 2);
        assert_eq!(found.actions, [0, 2, 4, 5]);
        assert_eq!(found.returns, [2.0, 4.0, 4.0, 8.0], "1 + ½·2, 2 + ½·4, 4, 8");
        assert_eq!(found.discounts, [0.25, 0.0, 0.0, 0.0], "the episode ends with its third step");
        assert_eq!(found.now, batch().observation);
        assert_eq!((&found.next.recent[..2], &found.next.rewards[..2]), (&[2, 0][..], &[4.0, 5.0][..]));
        assert_eq!(found.next.progress[0], 0.2);
    }

    fn demonstrated(items: &[u32], world: &World) -> ReplayBuffer {
        let step = |&item: &u32| Step { item, reward: 4.0, candidates: vec![], scores: vec![], call: String::new() };
        let trajectory = Trajectory { user: 3, steps: items.iter().map(step).collect(), end: Termination::Horizon };
        ReplayBuffer::from_demonstrations(&Demonstrations::new(vec![trajectory]), 2, world).unwrap()
    }

    #[test]
    fn after_a_demonstration_that_was_only_cut_off_there_is_a_state() {
        let found = demonstrated(&[0, 2], &world()).transitions([(0, 0), (0, 1)].into_iter(), 0.5, 2);
        assert_eq!(found.returns, [6.0, 4.0]);
        assert_eq!(found.discounts, [0.25, 0.5], "two turns of ten: the user would have stayed");
        assert_eq!((&found.next.recent[..], &found.next.progress[..]), (&[2, 0, 2, 0][..], &[0.2, 0.2][..]));
    }

    #[test]
    fn nothing_is_asked_of_a_state_without_an_item_left() {
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 6, 4);
        world.rules.repeats = Repeats::Masked;
        let found = demonstrated(&[0, 2, 4, 1, 3, 5], &world).transitions([(0, 5)].into_iter(), 0.5, 1);
        assert_eq!((found.discounts[0], found.next.masked(0).len()), (0.0, 5), "one of six items is left");
    }

    #[test]
    fn old_episodes_are_forgotten_and_a_checkpoint_keeps_all() {
        let mut replay = ReplayBuffer::new(3, 2, &world());
        replay.add(&batch(), &[1.0, 2.0, 4.0, 8.0]);
        replay.add(&batch(), &[0.0; 4]);
        assert_eq!(
            (replay.episodes.len(), replay.episodes.iter().map(|episode| episode.items.len()).sum::<usize>()),
            (3, 5),
            "the first of four is gone"
        );
        let mut again = ReplayBuffer::new(3, 2, &world());
        let named = |(name, array): (String, Array)| (format!("replay.{name}"), array);
        again.import(&replay.export().into_iter().map(named).collect(), "replay.").unwrap();
        assert_eq!(again, replay);
    }

    #[test]
    fn samples_come_evenly_from_all_steps() {
        let mut replay = ReplayBuffer::new(3, 2, &world());
        replay.add(&batch(), &[1.0; 4]);
        let mut counts = [0; 6];
        for item in replay.sample(4000, 0.9, 1, &mut rng(&[1])).actions {
            counts[item as usize] += 1;
        }
        for (item, count) in counts.into_iter().enumerate() {
            let wanted = if [0, 2, 4, 5].contains(&item) { 1000 } else { 0 };
            assert!((i32::abs(count - wanted)) < 100, "{counts:?}");
        }
    }
}
