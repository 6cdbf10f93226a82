//! How far the items of a world are from each other: stored, or computed when they are asked for.
//!
//! A table is the fastest to ask, and the first thing that no longer fits: of 190,365 items it is 145 GB. The quit rules ask for a few
//! pairs a turn, the metrics for those of an episode.

mod bits;
mod column_cache;
mod columns;
mod definition;
mod sets;
mod vectors;

use std::sync::Arc;

use bits::bits;
pub use column_cache::KEPT as KEPT_IN_COLUMNS;
pub use columns::ColumnDistances;
pub(super) use definition::DistanceDefinition;
pub use sets::{SetDistances, SetMeasure};
pub use vectors::VectorDistances;

use super::rewards::Rewards;
use super::tensors::Array;

/// How far items are from each other. Every form is symmetric, and an item is at 0 from itself. The methods take the rewards of the world
/// whose distances they are.
#[derive(Clone, Debug, PartialEq)]
pub enum Distances {
    /// Each number is stored, `[I, I]`; worlds that share them share the numbers.
    Table(Arc<Array>),
    /// Root mean square difference of the items' rewards over users.
    Columns(ColumnDistances),
    /// Jaccard distance of sets, or cosine distance of weighted counts.
    Sets(SetDistances),
    /// Cosine distance of the items' vectors.
    Vectors(VectorDistances),
}

impl From<Array> for Distances {
    fn from(table: Array) -> Self {
        Self::Table(Arc::new(table))
    }
}

impl Distances {
    /// Of two items.
    #[must_use]
    pub fn between(&self, own: &Rewards, item: u32, other: u32) -> f32 {
        match self {
            Self::Table(table) => table.row(item as usize)[other as usize],
            _ if item == other => 0.0,
            Self::Columns(columns) => columns.between(own, item, other),
            Self::Sets(sets) => sets.between(item, other),
            Self::Vectors(vectors) => vectors.between(item, other),
        }
    }

    /// Whether any of `others` is less than `threshold` away from `item`.
    #[must_use]
    pub fn any_below(&self, own: &Rewards, item: u32, others: &[u32], threshold: f32) -> bool {
        match self {
            Self::Table(table) => {
                let row = table.row(item as usize);
                others.iter().any(|&other| row[other as usize] < threshold)
            }
            Self::Columns(columns) => columns.any_below(own, item, others, threshold),
            Self::Sets(_) | Self::Vectors(_) => others.iter().any(|&other| self.between(own, item, other) < threshold),
        }
    }

    /// Which items are less than `threshold` away from `item`, as bits by their numbers, `[⌈I/64⌉]`.
    pub(super) fn below(&self, own: &Rewards, item: u32, threshold: f32) -> Vec<u64> {
        match self {
            Self::Columns(columns) => columns.below(own, item, threshold),
            _ => bits(self.items(own), |other| self.between(own, item, other) < threshold),
        }
    }

    /// Whether it costs little to ask for those of an item to all others.
    pub(super) fn rows_are_cheap(&self, own: &Rewards) -> bool {
        match self {
            Self::Columns(columns) => columns.are_kept(own),
            Self::Table(_) | Self::Sets(_) | Self::Vectors(_) => true,
        }
    }

    /// Of each of `items` to those before it, on all threads.
    #[must_use]
    pub fn among(&self, own: &Rewards, items: &[u32]) -> Vec<f32> {
        if let Self::Columns(columns) = self {
            return columns.among(own, items);
        }
        let pairs = items.iter().enumerate().flat_map(|(k, &item)| items[..k].iter().map(move |&other| (item, other)));
        pairs.map(|(item, other)| self.between(own, item, other)).collect()
    }

    /// The stored numbers, if they are.
    #[must_use]
    pub fn table(&self) -> Option<&Array> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Of each item of an episode to those before it; what is shown again is computed once.
    #[must_use]
    pub fn of_episode(&self, own: &Rewards, items: &[u32]) -> Vec<f32> {
        let pairs = items.iter().enumerate().flat_map(|(k, item)| items[..k].iter().map(move |other| (item, other)));
        if let Self::Table(table) = self {
            return pairs.map(|(&item, &other)| table.row(item as usize)[other as usize]).collect();
        }
        let mut different = items.to_vec();
        different.sort_unstable();
        different.dedup();
        let among = self.among(own, &different);
        let place = |item: &u32| different.partition_point(|known| known < item);
        let of = |(item, other): (&u32, &u32)| match (place(item).max(place(other)), place(item).min(place(other))) {
            (later, earlier) if later > earlier => among[later * (later - 1) / 2 + earlier],
            _ => 0.0,
        };
        pairs.map(of).collect()
    }

    /// Makes them what they are in a world with other rewards; `own` gives those that they are of.
    pub(super) fn keep(&mut self, own: impl FnOnce() -> Rewards) {
        if let Self::Columns(columns) = self {
            columns.keep(own);
        }
    }
}
