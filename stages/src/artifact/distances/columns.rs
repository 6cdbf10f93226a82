//! Distances of the items' columns of rewards, computed when they are asked for.

use std::sync::Arc;

use rayon::prelude::*;

use super::bits::bits;
use super::column_cache::ColumnCache;
use crate::artifact::rewards::Rewards;

/// Sums that grow side by side: the k-th adds up every eighth user from the k-th on.
const LANES: usize = 8;

/// Users after which a sum is compared with the threshold, a multiple of [`LANES`].
const PART: usize = 64;

/// d(i, j) = √(Σ_u (r_ui − r_uj)² / n) over n users, in units of the rating: exact differences of the rewards as they are paid (within
/// the range of the ratings), squared and summed in f64, in one order for every question. (A shorter way by the factors of the rewards
/// would miss most pairs where rewards are cut to a range: the columns are then not of low rank.)
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnDistances {
    /// The rewards, where they are not those of the world.
    of: Option<Arc<Rewards>>,
    /// The users that count, rising, where not all do.
    users: Option<Vec<u32>>,
    cache: ColumnCache,
}

impl ColumnDistances {
    /// Of a world's own rewards, over all users or over some, rising.
    #[must_use]
    pub fn new(users: Option<Vec<u32>>) -> Self {
        Self { of: None, users, cache: ColumnCache::default() }
    }

    /// Makes them those of the rewards `own` gives, whatever those of the world become.
    pub(super) fn keep(&mut self, own: impl FnOnce() -> Rewards) {
        self.of.get_or_insert_with(|| Arc::new(own()));
    }

    /// The rewards that are compared.
    pub(super) fn rewards<'a>(&'a self, own: &'a Rewards) -> &'a Rewards {
        self.others().unwrap_or(own)
    }

    /// The same, where they are not those of the world.
    pub(super) fn others(&self) -> Option<&Rewards> {
        self.of.as_deref()
    }

    /// The users that count, if not all do.
    #[must_use]
    pub fn users(&self) -> Option<&[u32]> {
        self.users.as_deref()
    }

    pub(super) fn between(&self, own: &Rewards, item: u32, other: u32) -> f32 {
        distance(&self.column(own, item), &self.column(own, other))
    }

    pub(super) fn any_below(&self, own: &Rewards, item: u32, others: &[u32], threshold: f32) -> bool {
        let different = || others.iter().filter(|&&other| other != item);
        if different().count() < others.len() && 0.0 < threshold {
            return true;
        }
        if different().next().is_none() {
            return false;
        }
        let column = self.column(own, item);
        different().any(|&other| is_below(&column, &self.column(own, other), threshold))
    }

    /// Of each of `items` to those before it; each column is computed once.
    pub(super) fn among(&self, own: &Rewards, items: &[u32]) -> Vec<f32> {
        let columns: Vec<Arc<[f32]>> = items.par_iter().map(|&item| self.column(own, item)).collect();
        let to_those_before = |k: usize| -> Vec<f32> {
            let pairs = columns[..k].iter().zip(items);
            pairs.map(|(other, &name)| if name == items[k] { 0.0 } else { distance(&columns[k], other) }).collect()
        };
        (0..items.len()).into_par_iter().flat_map_iter(to_those_before).collect()
    }

    /// Which items are less than `threshold` away from `item`, as bits by their numbers, `[⌈I/64⌉]`.
    pub(super) fn below(&self, own: &Rewards, item: u32, threshold: f32) -> Vec<u64> {
        let column = self.column(own, item);
        let is_below = |other: u32| match other == item {
            true => 0.0 < threshold,
            false => is_below(&column, &self.column(own, other), threshold),
        };
        bits(self.rewards(own).items(), is_below)
    }

    /// Whether all columns are kept, once they were asked for.
    pub(super) fn are_kept(&self, own: &Rewards) -> bool {
        ColumnCache::keeps_all(self.size(own))
    }

    fn column(&self, own: &Rewards, item: u32) -> Arc<[f32]> {
        self.cache.get(item, self.size(own), || self.rewards(own).column(item, self.users()))
    }

    /// How many numbers a column has, and how many columns there are.
    fn size(&self, own: &Rewards) -> [usize; 2] {
        let rewards = self.rewards(own);
        [self.users().map_or_else(|| rewards.users(), <[u32]>::len), rewards.items()]
    }
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    add_squares(a, b, &mut sums);
    root_mean(&sums, a.len())
}

/// Adds (a − b)² to the sums; where there is more to come, a multiple of [`LANES`] at a time.
fn add_squares(a: &[f32], b: &[f32], sums: &mut [f64; LANES]) {
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a.remainder().iter().zip(b.remainder());
    for (a, b) in a.zip(b) {
        for ((sum, &x), &y) in sums.iter_mut().zip(a).zip(b) {
            *sum += (f64::from(x) - f64::from(y)).powi(2);
        }
    }
    for (sum, (&x, &y)) in sums.iter_mut().zip(rest) {
        *sum += (f64::from(x) - f64::from(y)).powi(2);
    }
}

/// √ of the mean, rounded as it is told; 0 of no user.
fn root_mean(sums: &[f64; LANES], count: usize) -> f32 {
    (sums.iter().sum::<f64>() / count.max(1) as f64).sqrt() as f32
}

/// Whether the distance is below `threshold`. Sums of squares only grow: where those of a part of the users exceed by more than any
/// rounding what the threshold allows for all, all of them do.
fn is_below(a: &[f32], b: &[f32], threshold: f32) -> bool {
    let most = f64::from(threshold).powi(2) * a.len() as f64 * (1.0 + 1e-6);
    let mut sums = [0.0; LANES];
    for (some, others) in a.chunks(PART).zip(b.chunks(PART)) {
        add_squares(some, others, &mut sums);
        if sums.iter().sum::<f64>() > most {
            return false;
        }
    }
    root_mean(&sums, a.len()) < threshold
}
