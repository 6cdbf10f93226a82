//! What users pay for items: the expected reward of each user and item.

use std::borrow::Cow;

use super::array_hash;
use super::tensors::Array;

/// The expected reward of user × item.
#[derive(Clone, Debug, PartialEq)]
pub enum Rewards {
    /// Each number is stored, `[U, I]`.
    Dense(Array),
}

impl From<Array> for Rewards {
    fn from(stored: Array) -> Self {
        Self::Dense(stored)
    }
}

impl Rewards {
    /// Number of users U.
    #[must_use]
    pub fn users(&self) -> usize {
        match self {
            Self::Dense(stored) => stored.shape[0],
        }
    }

    /// Number of items I.
    #[must_use]
    pub fn items(&self) -> usize {
        match self {
            Self::Dense(stored) => stored.shape[1],
        }
    }

    /// Of one user and item.
    #[must_use]
    pub fn of(&self, user: u32, item: u32) -> f32 {
        match self {
            Self::Dense(stored) => stored.row(user as usize)[item as usize],
        }
    }

    /// Of a user and all items, `[I]`.
    #[must_use]
    pub fn row(&self, user: u32) -> Cow<'_, [f32]> {
        match self {
            Self::Dense(stored) => Cow::Borrowed(stored.row(user as usize)),
        }
    }

    /// Of an item and these users, or all, in their order.
    #[must_use]
    pub fn column(&self, item: u32, users: Option<&[u32]>) -> Vec<f32> {
        match users {
            None => (0..self.users() as u32).map(|user| self.of(user, item)).collect(),
            Some(users) => users.iter().map(|&user| self.of(user, item)).collect(),
        }
    }

    /// The lowest and the highest finite reward; infinite the other way round where there is none.
    #[must_use]
    pub fn range(&self) -> (f32, f32) {
        match self {
            Self::Dense(stored) => {
                let finite = stored.data.iter().filter(|reward| reward.is_finite());
                finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &r| (low.min(r), high.max(r)))
            }
        }
    }

    /// The mean of |reward|.
    #[must_use]
    pub fn mean_abs(&self) -> f64 {
        match self {
            Self::Dense(stored) => {
                stored.data.iter().map(|&r| f64::from(r).abs()).sum::<f64>() / stored.data.len() as f64
            }
        }
    }

    /// 1 for everything that pays `low` or more, and 0 for what pays less; 1 for everything without.
    #[must_use]
    pub fn constant(&self, low: Option<f32>) -> Self {
        match self {
            Self::Dense(stored) => {
                let of = |&reward: &f32| f32::from(u8::from(low.is_none_or(|low| reward >= low)));
                Self::Dense(Array::new(&stored.shape, stored.data.iter().map(of).collect()))
            }
        }
    }

    /// Adds what they are to a digest.
    pub(super) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        match self {
            Self::Dense(stored) => array_hash::update(hasher, stored),
        }
    }
}
