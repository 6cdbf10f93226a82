//! The distance below which two items are similar, as a share of all pairs, and how many lie below it.
//!
//! Of distances that are not stored, pairs of drawn items stand for all pairs where these are too many.

use anyhow::Result;
use pipeline::Context;
use rand::seq::index::sample;
use rayon::prelude::*;

use super::gram::pairs;
use crate::artifact::{Array, Distances, Rewards, World};
use crate::nn::rng;

/// Items that are drawn, at most, and how many of them make pairs with each other: at most 1.3 million in all. (All pairs of few items
/// would say much of these items; pairs of two items each would cost two columns each.)
const DRAWN: usize = 10_240;
const TOGETHER: usize = 256;

/// Items of which all pairs are taken: they make as many pairs.
const ALL: usize = 1_600;

/// Numbers of columns that are held together.
const HELD: usize = 1 << 26;

/// Distances of pairs of items.
pub(super) enum PairDistances<'a> {
    /// Of all, `[I, I]`.
    Table(&'a Array),
    /// Of `drawn` pairs out of all of these.
    Drawn(Vec<f32>, u64),
}

impl<'a> PairDistances<'a> {
    /// Of a world's items, or of a sample of them.
    pub(super) fn of(distances: &'a Distances, rewards: &Rewards, cx: &Context) -> Result<Self> {
        if let Some(table) = distances.table() {
            return Ok(Self::Table(table));
        }
        let items = rewards.items();
        let (drawn, together) = match items <= ALL {
            true => ((0..items as u32).collect(), ALL),
            false => {
                let drawn = sample(&mut rng(&[0x9a125, items as u64]), items, DRAWN.min(items));
                let together = (HELD / rewards.users().max(1)).clamp(16, TOGETHER);
                (drawn.into_iter().map(|item| item as u32).collect::<Vec<u32>>(), together)
            }
        };
        let bar = cx.bar("pairs of items", Some(drawn.len() as u64), "items");
        let mut found = Vec::new();
        let check_cancelled = cx.check_cancelled_from_now();
        for some in drawn.chunks(together) {
            check_cancelled()?;
            found.extend(distances.among(rewards, some));
            bar.inc(some.len() as u64);
        }
        Ok(Self::Drawn(found, pairs(items)))
    }

    /// What they are called: how many, and of how many.
    pub(super) fn said(&self) -> String {
        match self {
            Self::Table(table) => format!("{} pairs of items", pairs(table.shape[0])),
            Self::Drawn(drawn, all) if drawn.len() as u64 == *all => format!("{all} pairs of items"),
            Self::Drawn(drawn, all) => format!("{} pairs of items that were drawn from {all}", drawn.len()),
        }
    }

    /// The distance below which `share` of them lie.
    pub(super) fn closest(&self, share: f64) -> f32 {
        let rank = |count: u64| ((count as f64 * share) as u64).min(count.saturating_sub(1));
        match self {
            Self::Table(table) => of_rank(table, rank(pairs(table.shape[0]))),
            Self::Drawn(drawn, _) => {
                let mut drawn = drawn.clone();
                let rank = rank(drawn.len() as u64) as usize;
                if drawn.is_empty() { 0.0 } else { *drawn.select_nth_unstable_by(rank, f32::total_cmp).1 }
            }
        }
    }

    /// How many lie below a distance, how many there are, and the closest; none of a single item.
    fn below(&self, below: f32) -> Option<(u64, u64, f32)> {
        let of_some = |some: &[f32]| {
            let similar = some.iter().filter(|&&distance| distance < below).count() as u64;
            Some((similar, some.len() as u64, some.iter().copied().min_by(f32::total_cmp)?))
        };
        let both = |a: (u64, u64, f32), b: (u64, u64, f32)| {
            (a.0 + b.0, a.1 + b.1, if b.2.total_cmp(&a.2).is_lt() { b.2 } else { a.2 })
        };
        match self {
            Self::Table(table) => {
                let rows = (0..table.shape[0]).into_par_iter();
                rows.filter_map(|i| of_some(&table.row(i)[..i])).reduce_with(both)
            }
            Self::Drawn(drawn, _) => of_some(drawn),
        }
    }

    /// The mean of what `of` says of a distance, 0 of a single item.
    pub(super) fn mean(&self, of: impl Fn(f32) -> f64) -> f64 {
        let mean = |sum: f64, count: u64| sum / count.max(1) as f64;
        match self {
            Self::Table(table) => {
                let lower = (0..table.shape[0]).flat_map(|i| &table.row(i)[..i]);
                mean(lower.map(|&distance| of(distance)).sum(), pairs(table.shape[0]))
            }
            Self::Drawn(drawn, _) => mean(drawn.iter().map(|&distance| of(distance)).sum(), drawn.len() as u64),
        }
    }
}

/// The distance of the pair of that rank; 0 where there is none.
fn of_rank(distance: &Array, rank: u64) -> f32 {
    if distance.shape[0] < 2 {
        return 0.0;
    }
    // Of whom as many are smaller, first by the upper half of the bits and then by the lower: no pair is copied.
    let (upper, before) = place(&counts(distance, |key| Some(key >> 16)), rank);
    let (lower, _) = place(&counts(distance, |key| (key >> 16 == upper).then_some(key & 0xffff)), rank - before);
    distance_of(upper << 16 | lower)
}

/// How many pairs fall into each of 2¹⁶ places.
fn counts(distance: &Array, place: impl Fn(u32) -> Option<u32> + Sync) -> Vec<u64> {
    let none = || vec![0_u64; 1 << 16];
    let items = distance.shape[0];
    let add = |mut counts: Vec<u64>, i: usize| {
        for &distance in &distance.row(i)[..i] {
            place(key(distance)).into_iter().for_each(|place| counts[place as usize] += 1);
        }
        counts
    };
    let rows = (0..items).into_par_iter().with_min_len(items.div_ceil(64));
    rows.fold(none, add).reduce(none, |mut counts, more| {
        counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        counts
    })
}

/// The place that holds the pair of that rank, and how many stand before it.
fn place(counts: &[u64], rank: u64) -> (u32, u64) {
    let mut before = 0;
    for (place, &count) in (0..).zip(counts) {
        if before + count > rank {
            return (place, before);
        }
        before += count;
    }
    unreachable!("{rank} is below the number of pairs, {before}")
}

/// A number that is larger for what `f32::total_cmp` finds larger.
fn key(distance: f32) -> u32 {
    let bits = distance.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The distance of a [`key`].
fn distance_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

/// Notes how many pairs of items are similar; if none is, no user ever quits by the rule.
pub(super) fn report_similar_pairs(world: &World, cx: &Context) -> Result<()> {
    if let Some(below) = world.rules.distance_threshold {
        let pairs = PairDistances::of(world.item_distances(), world.rewards(), cx)?;
        similar_pairs(&pairs, below).into_iter().for_each(|said| cx.note("similar pairs", said));
    }
    Ok(())
}

/// Describes the pairs of items below a distance; `None` for a single item.
fn similar_pairs(pairs: &PairDistances, below: f32) -> Option<String> {
    let (similar, all, closest) = pairs.below(below)?;
    let said = pairs.said();
    Some(match similar {
        0 => format!(
            "none of {said}, so no user quits at a similar item: the closest are {closest} apart, and the threshold \
             is {below}; set `simulator.quit_similarity: {{ threshold: … }}` above {closest}, or `off`"
        ),
        similar => format!("{similar} of {said} ({:.2} %)", 100.0 * similar as f64 / all as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_pairs_are_alike_is_told_and_none_aloud() {
        let distance = Array::new(&[3, 3], vec![0.0, 0.5, 1.0, 0.5, 0.0, 0.5, 1.0, 0.5, 0.0]);
        let said = |distance: &Array, below: f32| similar_pairs(&PairDistances::Table(distance), below);
        assert_eq!(said(&distance, 0.6).unwrap(), "2 of 3 pairs of items (66.67 %)");
        let none = said(&distance, 0.5).unwrap();
        assert!(none.starts_with("none of 3 pairs of items, so no user quits at a similar item"), "{none}");
        assert!(none.contains("closest are 0.5 apart") && none.contains("threshold: … }` above 0.5"), "{none}");
        assert_eq!(said(&Array::new(&[1, 1], vec![0.0]), 0.5), None);
        // Of genres most pairs may share the distance at which the share ends: then none lies below it.
        let twins = Array::new(&[2, 2], vec![0.0; 4]);
        assert!(said(&twins, PairDistances::Table(&twins).closest(0.02)).unwrap().contains("the threshold is 0"));
        let drawn = PairDistances::Drawn(vec![0.5, 0.1], 45);
        assert_eq!(similar_pairs(&drawn, 0.3).unwrap(), "1 of 2 pairs of items that were drawn from 45 (50.00 %)");
        assert_eq!((drawn.closest(0.5), drawn.mean(f64::from)), (0.5, (f64::from(0.5_f32) + f64::from(0.1_f32)) / 2.0));
        assert_eq!(PairDistances::Drawn(vec![], 0).closest(0.5), 0.0);
    }

    #[test]
    fn the_share_ends_at_the_pair_of_that_rank() {
        let items = 40;
        let value = |i: usize, j: usize| ((i * 7919 + j * 104_729) % 331) as f32 / 100.0 - 0.3;
        let data = (0..items * items).map(|k| value((k / items).max(k % items), (k / items).min(k % items)));
        let mut distance = Array::new(&[items, items], data.collect());
        (distance.data[items], distance.data[2 * items + 1]) = (f32::INFINITY, f32::NAN);
        let mut pairs: Vec<f32> = (0..items).flat_map(|i| distance.row(i)[..i].to_vec()).collect();
        pairs.sort_by(f32::total_cmp);
        for share in [1e-9, 0.02, 0.3, 0.5, 0.999] {
            let wanted = pairs[(pairs.len() as f64 * share) as usize];
            assert_eq!(PairDistances::Table(&distance).closest(share).to_bits(), wanted.to_bits(), "{share}");
        }
        assert_eq!(PairDistances::Table(&Array::new(&[1, 1], vec![0.0])).closest(0.5), 0.0, "no pair at all");
    }

    #[test]
    fn a_sample_of_the_pairs_is_near_all_of_them() {
        // Items on a line, one user: |i − j| / I is below 0.1 for 1 − 0.9² of the pairs.
        let items = 4000;
        let rewards = Rewards::from(Array::new(&[1, items], (0..items).map(|i| i as f32 / items as f32).collect()));
        let distances = Distances::Columns(crate::artifact::ColumnDistances::new(None));
        let cx = Context::detached(std::path::Path::new("unused"));
        let pairs = PairDistances::of(&distances, &rewards, &cx).unwrap();
        let found = pairs.closest(0.19);
        assert!((found - 0.1).abs() < 2e-3, "{found}");
        assert!(pairs.said().ends_with("were drawn from 7998000"), "{}", pairs.said());
        assert_eq!(found, PairDistances::of(&distances, &rewards, &cx).unwrap().closest(0.19));
    }
}
