//! Rewards that are computed when they are asked for: the mean of models that are products of short vectors.

use serde::{Deserialize, Serialize};

use super::array_hash;
use super::tensors::Array;

/// One model: x_u · y_i. Biases are two of the W numbers, beside which the other side has a 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// x, `[U, W]`.
    pub users: Array,
    /// y, `[I, W]`.
    pub items: Array,
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

/// r̂(u, i) = Σ_k clamp(x_ku · y_ki) / K, each of K models clamped to the range of the ratings, less a penalty where there is one.
/// Nothing `[U, I]` is stored; a reward takes K·W multiplications.
#[derive(Clone, Debug, PartialEq)]
pub struct Factored {
    /// The models, at least one.
    pub members: Vec<Factors>,
    /// The lowest and the highest rating.
    pub range: (f32, f32),
    /// Pessimism.
    pub penalty: Option<Penalty>,
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

    /// The reward of one user and item.
    #[must_use]
    pub fn of(&self, user: u32, item: u32) -> f32 {
        let mean = self.mean(user, item);
        let Some(Penalty { uncertainty_coef, constant, floor }) = &self.penalty else { return mean };
        let std = if *uncertainty_coef == 0.0 { 0.0 } else { self.std(user, item) };
        let lowered = mean - (uncertainty_coef * std + constant);
        floor.map_or(lowered, |floor| lowered.max(floor))
    }

    /// What one model says of one user and item.
    #[must_use]
    pub fn of_member(&self, member: usize, user: u32, item: u32) -> f32 {
        let Factors { users, items } = &self.members[member];
        dot(users.row(user as usize), items.row(item as usize)).clamp(self.range.0, self.range.1)
    }

    /// The mean of what the models say of one user and item.
    #[must_use]
    pub fn mean(&self, user: u32, item: u32) -> f32 {
        let count = self.members.len();
        (0..count).fold(0.0, |sum, member| sum + self.of_member(member, user, item) / count as f32)
    }

    /// How far the models are apart, √(Σ_k (r_k − r̄)² / K).
    #[must_use]
    pub fn std(&self, user: u32, item: u32) -> f32 {
        let (mean, count) = (self.mean(user, item), self.members.len());
        let squares = (0..count).map(|member| f64::from(self.of_member(member, user, item) - mean).powi(2));
        (squares.sum::<f64>() / count as f64).sqrt() as f32
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
        arrays.flat_map(|array| &array.data).chain([&self.range.0, &self.range.1]).all(|x| x.is_finite())
    }

    pub(super) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        for Factors { users, items } in &self.members {
            array_hash::update(hasher, users);
            array_hash::update(hasher, items);
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
