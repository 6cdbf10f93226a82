//! Many episodes at once, in flat arrays.

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Episode;
use super::similarity_mask::SimilarityMask;
use crate::artifact::{Termination, World};

/// Episodes under way or over. Each is one user's; they do not touch each other, so they are stepped in parallel.
pub struct Episodes<'w> {
    world: &'w World,
    similarity_mask: Option<SimilarityMask>,
    users: Vec<u32>,
    /// `[N, horizon]`, valid up to `lengths`.
    items: Vec<u32>,
    /// `[N, horizon]`, on the world's reward scale.
    rewards: Vec<f32>,
    lengths: Vec<u32>,
    ends: Vec<Option<Termination>>,
}

impl<'w> Episodes<'w> {
    /// One fresh episode for each of `users`.
    #[must_use]
    pub fn new(world: &'w World, users: &[u32]) -> Self {
        let (count, horizon) = (users.len(), world.rules.horizon);
        Self {
            world,
            similarity_mask: SimilarityMask::of(world, count * horizon),
            users: users.to_vec(),
            items: vec![0; count * horizon],
            rewards: vec![0.0; count * horizon],
            lengths: vec![0; count],
            ends: vec![None; count],
        }
    }
    /// How many episodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
    /// The world they play in.
    #[must_use]
    pub fn world(&self) -> &'w World {
        self.world
    }
    /// The user of episode `e`.
    #[must_use]
    pub fn user(&self, e: usize) -> u32 {
        self.users[e]
    }
    /// The items so far, oldest first.
    #[must_use]
    pub fn items(&self, e: usize) -> &[u32] {
        &self.items[e * self.world.rules.horizon..][..self.lengths[e] as usize]
    }
    /// The rewards so far, oldest first.
    #[must_use]
    pub fn rewards(&self, e: usize) -> &[f32] {
        &self.rewards[e * self.world.rules.horizon..][..self.lengths[e] as usize]
    }
    /// Why it ended; `None` while it goes on.
    #[must_use]
    pub fn end(&self, e: usize) -> Option<Termination> {
        self.ends[e]
    }
    /// The training rewards: with a `quit_penalty` it replaces the reward of the step at which the user quit. For learners;
    /// metrics read [`rewards`](Self::rewards).
    #[must_use]
    pub fn training_rewards(&self, e: usize) -> Vec<f32> {
        self.world.rules.training_rewards(self.rewards(e), self.ends[e])
    }
    /// Episode `e` so far.
    #[must_use]
    pub fn episode(&self, e: usize) -> Episode<'_> {
        let (world, similarity_mask, user) = (self.world, self.similarity_mask.as_ref(), self.users[e]);
        Episode { world, similarity_mask, user, items: self.items(e), rewards: self.rewards(e) }
    }
    /// The episodes that go on.
    #[must_use]
    pub fn live(&self) -> Vec<usize> {
        (0..self.len()).filter(|&e| self.ends[e].is_none()).collect()
    }

    /// Recommends `actions[k]` in episode `live[k]` and records what the user does. The quitting step and its reward are
    /// recorded too (the *inclusive* convention; the exclusive one leaves out the last reward of a terminal episode).
    ///
    /// # Errors
    /// When an action is masked; then no episode is stepped.
    ///
    /// # Panics
    /// When an action is no item: ids are checked where they enter.
    pub fn step(&mut self, live: &[usize], actions: &[u32]) -> Result<()> {
        assert_eq!(live.len(), actions.len(), "one action for each live episode");
        let answer = |(&e, &action): (&usize, &u32)| self.episode(e).answer(action);
        let outcomes: Vec<(f32, Option<Termination>)> =
            live.par_iter().zip(actions).with_min_len(64).map(answer).collect::<Result<_>>()?;
        for ((&e, &action), (reward, end)) in live.iter().zip(actions).zip(outcomes) {
            let at = e * self.world.rules.horizon + self.lengths[e] as usize;
            self.items[at] = action;
            self.rewards[at] = reward;
            self.lengths[e] += 1;
            self.ends[e] = end;
        }
        Ok(())
    }

    /// Plays every episode to its end by itself, in its own place of the arrays: nothing is allocated or gathered a step. `decide` is
    /// given notes that are fresh at the beginning of an episode.
    pub(super) fn play_alone<N: Default>(
        &mut self,
        generator: impl Fn(usize) -> ChaCha8Rng + Sync,
        decide: impl Fn(&Episode, &mut N, &mut ChaCha8Rng) -> Result<u32> + Sync,
    ) -> Result<()> {
        let (world, similarity_mask, horizon) = (self.world, self.similarity_mask.as_ref(), self.world.rules.horizon);
        let places = (self.items.par_chunks_mut(horizon), self.rewards.par_chunks_mut(horizon));
        let states = (&self.users, &mut self.lengths, &mut self.ends).into_par_iter();
        let one = |(e, ((items, rewards), (&user, length, end))): (usize, Place)| -> Result<()> {
            let (mut draw, mut notes) = (generator(e), N::default());
            while end.is_none() {
                let turn = *length as usize;
                let episode =
                    Episode { world, similarity_mask, user, items: &items[..turn], rewards: &rewards[..turn] };
                let item = decide(&episode, &mut notes, &mut draw)?;
                let (reward, why) = episode.answer(item)?;
                (items[turn], rewards[turn], *end) = (item, reward, why);
                *length += 1;
            }
            Ok(())
        };
        places.into_par_iter().zip(states).enumerate().with_min_len(16).try_for_each(one)
    }
}

/// Where one episode lies in the flat arrays: items and rewards `[horizon]`, user, length, end.
type Place<'a> = ((&'a mut [u32], &'a mut [f32]), (&'a u32, &'a mut u32, &'a mut Option<Termination>));

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::artifact::{Array, QuitRules, WindowRule};
    use crate::env::{Random, play};

    /// `clusters` equal clusters of `size` items; two items conflict when they share a cluster; cluster k pays `pay[k]`.
    pub(crate) fn cluster_world(pay: &[f32], size: usize, window: usize, horizon: usize, users: usize) -> World {
        let items = pay.len() * size;
        let reward = (0..users * items).map(|x| pay[x % items / size]).collect();
        let distance =
            (0..items * items).map(|x| if x / items / size == x % items / size { 0.0 } else { 1.0 }).collect();
        let one_hot = (0..items * pay.len()).map(|x| f32::from(x / pay.len() / size == x % pay.len())).collect();
        let vectors =
            [Array::new(&[users, pay.len()], vec![0.0; users * pay.len()]), Array::new(&[items, pay.len()], one_hot)];
        let rules = QuitRules { horizon, quit_window: window, distance_threshold: Some(0.5), ..QuitRules::default() };
        World::new(Array::new(&[users, items], reward), Array::new(&[items, items], distance), vectors, rules)
    }

    /// E[Len] = Σ_{t<T} Π_{j<t} (1 − min(j, N)/M) for a uniform policy over M equal clusters (method.md §8.5).
    #[test]
    fn mean_length_meets_its_closed_form() {
        for (clusters, window, horizon, expected) in
            [(10, 4, 100, 4.88), (20, 4, 100, 7.43875), (50, 7, 30, 10.810_297), (3, 2, 30, 3.0)]
        {
            let world = cluster_world(&vec![1.0; clusters], 2, window, horizon, 1);
            let users = vec![0; 40_000];
            let episodes = play(&world, &users, &Random { quit_aware: false }, 7).unwrap();
            let mean = (0..users.len()).map(|e| episodes.items(e).len() as f64).sum::<f64>() / users.len() as f64;
            let deviation = 3.0 * 5.0 / (users.len() as f64).sqrt();
            assert!((mean - expected).abs() < deviation, "({clusters}, {window}, {horizon}): {mean} for {expected}");
        }
    }

    #[test]
    fn the_rules_come_in_order_and_the_window_wraps_as_easyrl4rec_has_it() {
        let mut world = cluster_world(&[1.0, 5.0], 1, 2, 5, 1);
        world.rules.quit_below = Some(2.0);
        let mut episodes = Episodes::new(&world, &[0, 0]);
        episodes.step(&[0, 1], &[0, 1]).unwrap();
        assert_eq!(episodes.end(0), Some(Termination::LowReward), "a bad first item ends at once");
        episodes.step(&[1], &[1]).unwrap();
        assert_eq!(episodes.end(1), Some(Termination::Similar));
        assert_eq!((episodes.items(1), episodes.rewards(1)), (&[1, 1][..], &[5.0, 5.0][..]));
        let lengths: Vec<usize> = (1..9).map(|t| WindowRule::Easyrl4rec.length(t, 7)).collect();
        assert_eq!(lengths, [1, 2, 3, 3, 2, 1, 7, 7]);
    }
}
