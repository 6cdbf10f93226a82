//! What users pay for items: the expected reward of each user and item.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::array_hash;
use super::factored::Factored;
use super::tensors::Array;

/// Users, and items, that are looked at where a mean need not be exact.
const SAMPLE: usize = 2048;

/// The expected reward of user × item.
#[derive(Clone, Debug, PartialEq)]
pub enum Rewards {
    /// Each number is stored, `[U, I]`.
    Dense(Array),
    /// The mean of models that are products of vectors, with networks or without; nothing `[U, I]` is stored.
    Factored(Factored),
    /// 1 for what pays `low` or more in these, and 0 for what pays less.
    AtLeast {
        /// The rewards that are compared.
        of: Box<Self>,
        /// The lowest that counts.
        low: f32,
    },
    /// The same for everything.
    Constant {
        /// The reward.
        value: f32,
        /// Number of users U.
        users: usize,
        /// Number of items I.
        items: usize,
    },
}

impl From<Array> for Rewards {
    fn from(stored: Array) -> Self {
        Self::Dense(stored)
    }
}

impl From<Factored> for Rewards {
    fn from(factored: Factored) -> Self {
        Self::Factored(factored)
    }
}

impl Rewards {
    /// Number of users U.
    #[must_use]
    pub fn users(&self) -> usize {
        match self {
            Self::Dense(stored) => stored.shape[0],
            Self::Factored(factored) => factored.users(),
            Self::AtLeast { of, .. } => of.users(),
            Self::Constant { users, .. } => *users,
        }
    }

    /// Number of items I.
    #[must_use]
    pub fn items(&self) -> usize {
        match self {
            Self::Dense(stored) => stored.shape[1],
            Self::Factored(factored) => factored.items(),
            Self::AtLeast { of, .. } => of.items(),
            Self::Constant { items, .. } => *items,
        }
    }

    /// Of one user and item.
    #[must_use]
    pub fn of(&self, user: u32, item: u32) -> f32 {
        match self {
            Self::Dense(stored) => stored.row(user as usize)[item as usize],
            Self::Factored(factored) => factored.of(user, item),
            Self::AtLeast { of, low } => at_least(of.of(user, item), *low),
            Self::Constant { value, .. } => *value,
        }
    }

    /// Of a user and all items, `[I]`.
    #[must_use]
    pub fn row(&self, user: u32) -> Cow<'_, [f32]> {
        self.part(user, 0..self.items())
    }

    /// Of a user and these items, in their order.
    #[must_use]
    pub fn part(&self, user: u32, items: Range<usize>) -> Cow<'_, [f32]> {
        match self {
            Self::Dense(stored) => Cow::Borrowed(&stored.row(user as usize)[items]),
            _ => Cow::Owned(self.of_pairs(items.map(|item| (user, item as u32)))),
        }
    }

    /// Of an item and these users, or all, in their order.
    #[must_use]
    pub fn column(&self, item: u32, users: Option<&[u32]>) -> Vec<f32> {
        match users {
            None => self.of_pairs((0..self.users() as u32).map(|user| (user, item))),
            Some(users) => self.of_pairs(users.iter().map(|&user| (user, item))),
        }
    }

    /// Of these users and items, in their order.
    #[must_use]
    pub fn of_pairs(&self, pairs: impl Iterator<Item = (u32, u32)>) -> Vec<f32> {
        match self {
            Self::Factored(factored) => factored.of_pairs(pairs),
            Self::AtLeast { of, low } => {
                let pairs: Vec<(u32, u32)> = pairs.collect();
                of.of_pairs(pairs.into_iter()).into_iter().map(|reward| at_least(reward, *low)).collect()
            }
            Self::Dense(_) | Self::Constant { .. } => pairs.map(|(user, item)| self.of(user, item)).collect(),
        }
    }

    /// The lowest and the highest finite reward, infinite the other way round where there is none; of factors the range that they are
    /// kept in, which no reward leaves.
    #[must_use]
    pub fn range(&self) -> (f32, f32) {
        match self {
            Self::Dense(stored) => {
                let finite = stored.data.iter().filter(|reward| reward.is_finite());
                finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &r| (low.min(r), high.max(r)))
            }
            Self::Factored(factored) => factored.bounds(),
            Self::AtLeast { .. } => (0.0, 1.0),
            Self::Constant { value, .. } => (*value, *value),
        }
    }

    /// The mean of |reward|: a unit of scale. Of factors that of up to 2,048 users and as many items, evenly spaced.
    #[must_use]
    pub fn mean_abs(&self) -> f64 {
        match self {
            Self::Dense(stored) => {
                stored.data.iter().map(|&r| f64::from(r).abs()).sum::<f64>() / stored.data.len() as f64
            }
            _ => self.mean_of_sample(|user, item| f64::from(self.of(user, item)).abs()),
        }
    }

    /// The mean of what `of` says of up to 2,048 users and as many items, evenly spaced.
    #[must_use]
    pub fn mean_of_sample(&self, of: impl Fn(u32, u32) -> f64 + Sync) -> f64 {
        let (users, items) = (spaced(self.users(), SAMPLE), spaced(self.items(), SAMPLE));
        let of_user = |&user: &u32| items.iter().map(|&item| of(user, item)).sum::<f64>();
        let sums: Vec<f64> = users.par_iter().map(of_user).collect();
        sums.iter().sum::<f64>() / (users.len() * items.len()) as f64
    }

    /// Whether every number is finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        match self {
            Self::Dense(stored) => stored.data.iter().all(|x| x.is_finite()),
            Self::Factored(factored) => factored.is_finite(),
            Self::AtLeast { of, .. } => of.is_finite(),
            Self::Constant { value, .. } => value.is_finite(),
        }
    }

    /// 1 for everything that pays `low` or more, and 0 for what pays less; 1 for everything without.
    #[must_use]
    pub fn constant(&self, low: Option<f32>) -> Self {
        match (self, low) {
            (Self::Dense(stored), _) => {
                let of = |&reward: &f32| low.map_or(1.0, |low| at_least(reward, low));
                Self::Dense(Array::new(&stored.shape, stored.data.iter().map(of).collect()))
            }
            (_, Some(low)) => Self::AtLeast { of: Box::new(self.clone()), low },
            (_, None) => Self::Constant { value: 1.0, users: self.users(), items: self.items() },
        }
    }

    /// Adds what they are to a digest: every number of stored ones, what they are computed from otherwise.
    pub(super) fn hash_into(&self, hasher: &mut blake3::Hasher) {
        let numbers = |hasher: &mut blake3::Hasher, data: Vec<f32>| {
            array_hash::update(hasher, &Array::new(&[data.len()], data));
        };
        match self {
            Self::Dense(stored) => array_hash::update(hasher, stored),
            Self::Factored(factored) => {
                hasher.update(b"factored");
                factored.hash_into(hasher);
            }
            Self::AtLeast { of, low } => {
                hasher.update(b"at least");
                of.hash_into(hasher);
                numbers(hasher, vec![*low]);
            }
            Self::Constant { value, users, items } => {
                hasher.update(b"constant");
                [*users, *items].iter().for_each(|&count| _ = hasher.update(&(count as u64).to_le_bytes()));
                numbers(hasher, vec![*value]);
            }
        }
    }
}

fn at_least(reward: f32, low: f32) -> f32 {
    f32::from(u8::from(reward >= low))
}

/// Up to `most` of `count` row numbers, evenly spaced, rising.
pub(crate) fn spaced(count: usize, most: usize) -> Vec<u32> {
    let taken = count.min(most);
    (0..taken).map(|k| (k * count / taken) as u32).collect()
}
