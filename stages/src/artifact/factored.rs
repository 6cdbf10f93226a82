//! Rewards that are computed when they are asked for: the mean of models that are products of short vectors, with a network or without.

use serde::{Deserialize, Serialize};

use super::array_hash;
use super::pair_network::PairNetwork;
use super::tensors::Array;

/// Pairs that all models are asked about at a time.
const BLOCK: usize = 1024;

/// One model: x_u · y_i + n(u, i). Biases are two of the W numbers, beside which the other side has a 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// x, `[U, W]`.
    pub users: Array,
    /// y, `[I, W]`.
    pub items: Array,
    /// n, of a model that is more than a product.
    pub network: Option<PairNetwork>,
}

/// What is taken from a mean because it may be off: max(floor, r̂ − λ·σ − c), where σ is how far the models are apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Penalty {
    /// λ.
    pub uncertainty_coef: f32,
    /// c, in units of the reward.
    pub constant: f32,
    /// The lowest reward; none without.
    pub floor: Option<f32>,
}

/// r̂(u, i) = Σ_k clamp(x_ku · y_ki + n_k(u, i)) / K, each of K models clamped to the range of the ratings, less a penalty where there is
/// one. Nothing `[U, I]` is stored; a reward takes K·W multiplications, and those of the networks where there are some.
#[derive(Clone, Debug, PartialEq)]
pub struct Factored {
    /// The models, at least one.
    pub members: Vec<Factors>,
    /// The lowest and the highest rating.
    pub range: (f32, f32),
    /// Pessimism.
    pub penalty: Option<Penalty>,
}

impl Factors {
    /// A model that is a product of vectors `[U, W]` and `[I, W]` and no more.
    #[must_use]
    pub fn of_product(users: Array, items: Array) -> Self {
        Self { users, items, network: None }
    }

    /// What it says of these pairs, in their order.
    fn of_pairs(&self, pairs: &[(u32, u32)]) -> Vec<f32> {
        let product = |&(user, item): &(u32, u32)| dot(self.users.row(user as usize), self.items.row(item as usize));
        let mut values: Vec<f32> = pairs.iter().map(product).collect();
        if let Some(network) = &self.network {
            network.add(pairs, &mut values);
        }
        values
    }
}

impl Factored {
    /// Number of users U.
    #[must_use]
    pub fn users(&self) -> usize {
        self.members[0].users.shape[0]
    }

    /// Number of items I.
    #[must_use]
    pub fn items(&self) -> usize {
        self.members[0].items.shape[0]
    }

    /// Whether any model is more than a product of vectors.
    #[must_use]
    pub fn has_networks(&self) -> bool {
        self.members.iter().any(|member| member.network.is_some())
    }

    /// The reward of one user and item.
    #[must_use]
    pub fn of(&self, user: u32, item: u32) -> f32 {
        let mean = self.mean(user, item);
        self.lowered(mean, || self.std(user, item))
    }

    /// The rewards of these pairs, in their order.
    #[must_use]
    pub fn of_pairs(&self, pairs: impl Iterator<Item = (u32, u32)>) -> Vec<f32> {
        if !self.has_networks() {
            return pairs.map(|(user, item)| self.of(user, item)).collect();
        }
        let mut rewards = Vec::with_capacity(pairs.size_hint().0);
        let (mut pairs, mut block) = (pairs, Vec::new());
        loop {
            block.clear();
            block.extend(pairs.by_ref().take(BLOCK));
            if block.is_empty() {
                return rewards;
            }
            let members: Vec<Vec<f32>> = (0..self.members.len()).map(|k| self.of_member(k, &block)).collect();
            rewards.extend((0..block.len()).map(|pair| {
                let said = || members.iter().map(move |member| member[pair]);
                let mean = self.mean_of(said());
                self.lowered(mean, || self.std_of(mean, said()))
            }));
        }
    }

    /// What one model says of these pairs.
    #[must_use]
    pub fn of_member(&self, member: usize, pairs: &[(u32, u32)]) -> Vec<f32> {
        let mut values = self.members[member].of_pairs(pairs);
        values.iter_mut().for_each(|value| *value = value.clamp(self.range.0, self.range.1));
        values
    }

    /// The mean of what the models say of one user and item.
    #[must_use]
    pub fn mean(&self, user: u32, item: u32) -> f32 {
        self.mean_of(self.said(user, item))
    }

    /// How far the models are apart, √(Σ_k (r_k − r̄)² / K).
    #[must_use]
    pub fn std(&self, user: u32, item: u32) -> f32 {
        let said: Vec<f32> = self.said(user, item).collect();
        self.std_of(self.mean_of(said.iter().copied()), said.into_iter())
    }

    /// The mean of what the models say of a pair.
    #[must_use]
    pub fn mean_of(&self, said: impl Iterator<Item = f32>) -> f32 {
        let count = self.members.len() as f32;
        said.fold(0.0, |sum, value| sum + value / count)
    }

    /// How far apart is what the models say of a pair, of this mean.
    #[must_use]
    pub fn std_of(&self, mean: f32, said: impl Iterator<Item = f32>) -> f32 {
        let squares = said.map(|value| f64::from(value - mean).powi(2));
        (squares.sum::<f64>() / self.members.len() as f64).sqrt() as f32
    }

    /// What each model says of one user and item.
    fn said(&self, user: u32, item: u32) -> impl Iterator<Item = f32> {
        let (low, high) = self.range;
        self.members.iter().map(move |Factors { users, items, network }| {
            let mut value = [dot(users.row(user as usize), items.row(item as usize))];
            network.iter().for_each(|network| network.add(&[(user, item)], &mut value));
            value[0].clamp(low, high)
        })
    }

    /// A mean less the penalty.
    fn lowered(&self, mean: f32, std: impl FnOnce() -> f32) -> f32 {
        let Some(Penalty { uncertainty_coef, constant, floor }) = &self.penalty else { return mean };
        let std = if *uncertainty_coef == 0.0 { 0.0 } else { std() };
        let lowered = mean - (uncertainty_coef * std + constant);
        floor.map_or(lowered, |floor| lowered.max(floor))
    }

    /// What no reward is below, and what none is above.
    #[must_use]
    pub fn bounds(&self) -> (f32, f32) {
        let (low, high) = self.range;
        let Some(Penalty { uncertainty_coef, constant, floor }) = &self.penalty else { return self.range };
        // Numbers between two limits deviate by at most half of what lies between them.
        let least = low - (uncertainty_coef * (high - low) / 2.0 + constant);
        let floor = floor.unwrap_or(f32::NEG_INFINITY);
        (least.max(floor), (high - constant).max(floor))
    }

    pub(super) fn is_finite(&self) -> bool {
        let arrays = self.members.iter().flat_map(|member| [&member.users, &member.items]);
        let penalty = self.penalty.iter().flat_map(|Penalty { uncertainty_coef, constant, floor }| {
            [uncertainty_coef, constant].into_iter().chain(floor)
        });
        let range = [&self.range.0, &self.range.1];
        let networks = self.members.iter().flat_map(|member| &member.network);
        arrays.flat_map(|array| &array.data).chain(range).chain(penalty).all(|x| x.is_finite())
            && networks.into_iter().all(PairNetwork::is_finite)
    }

    pub(super) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        for Factors { users, items, network } in &self.members {
            array_hash::update(hasher, users);
            array_hash::update(hasher, items);
            network.iter().for_each(|network| network.hash_into(hasher));
        }
        let mut rest = vec![self.range.0, self.range.1];
        if let Some(Penalty { uncertainty_coef, constant, floor }) = &self.penalty {
            rest.extend([*uncertainty_coef, *constant]);
            rest.extend(floor);
        }
        array_hash::update(hasher, &Array::new(&[rest.len()], rest));
    }
}

/// x · y, eight sums side by side, which processors add at once: one order of summation on every machine.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut sums = [0.0_f32; LANES];
    let (x, y) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest: f32 = x.remainder().iter().zip(y.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in x.zip(y) {
        sums.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    sums.iter().sum::<f32>() + rest
}
