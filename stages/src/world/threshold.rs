//! The distance below which two items are similar, as a share of all pairs, and how many lie below it.
//!
//! Of distances that are not stored, pairs of drawn items stand for all pairs where these are too many.

use anyhow::Result;
use pipeline::Context;
use rand::seq::index::sample;
use rayon::prelude::*;

use super::gram::pairs;
use crate::artifact::{Array, Distances, Rewards};
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

    /// The distance below which `share` of them lie, and how many were left out of them. Nothing lies below 0: where so many are at 0, as
    /// two items are of which nothing is known, those are left out. They lie below what `share` of the others do.
    pub(super) fn closest(&self, share: f64) -> (f32, u64) {
        let distance = self.beyond(0, share);
        if distance != 0.0 {
            return (distance, 0);
        }
        let alike = self.alike();
        (self.beyond(alike, share), alike)
    }

    /// How many are at 0.
    fn alike(&self) -> u64 {
        let count = |some: &[f32]| some.iter().filter(|&&distance| distance <= 0.0).count() as u64;
        match self {
            Self::Table(table) => (0..table.shape[0]).into_par_iter().map(|i| count(&table.row(i)[..i])).sum(),
            Self::Drawn(drawn, _) => count(drawn),
        }
    }

    /// The distance below which `share` of them lie but for the `closest`; 0 where there are no others.
    fn beyond(&self, closest: u64, share: f64) -> f32 {
        let count = match self {
            Self::Table(table) => pairs(table.shape[0]),
            Self::Drawn(drawn, _) => drawn.len() as u64,
        };
        let Some(others) = count.checked_sub(closest).filter(|&others| others > 0) else { return 0.0 };
        let rank = closest + ((others as f64 * share) as u64).min(others - 1);
        match self {
            Self::Table(table) => of_rank(table, rank),
            Self::Drawn(drawn, _) => *drawn.clone().select_nth_unstable_by(rank as usize, f32::total_cmp).1,
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

/// The distance of the pair of that rank, which there is.
fn of_rank(distance: &Array, rank: u64) -> f32 {
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

/// Notes how many pairs of items are similar, and warns if none is: then no user ever quits by the rule.
pub(super) fn report_similar_pairs(pairs: &PairDistances, below: f32, cx: &Context) {
    match similar_pairs(pairs, below) {
        Some((0, said)) => cx.warn(format!("similar pairs: {said}")),
        Some((_, said)) => cx.note("similar pairs", said),
        None => {}
    }
}

/// How many pairs of items lie below a distance, and a description of it; `None` for a single item.
pub(super) fn similar_pairs(pairs: &PairDistances, below: f32) -> Option<(u64, String)> {
    let (similar, all, closest) = pairs.below(below)?;
    let said = pairs.said();
    let said = match similar {
        0 => format!(
            "none of {said}, so no user quits at a similar item{}: the closest are {closest} apart, and the threshold \
             is {below}; set `simulator.quit_similarity: {{ threshold: … }}` above {closest}, or `off`",
            if below > 0.0 { "" } else { ", not even at a repeat" }
        ),
        similar => format!("{similar} of {said} ({:.2} %)", 100.0 * similar as f64 / all as f64),
    };
    Some((similar, said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_pairs_are_alike_is_told_and_none_aloud() {
        let distance = Array::new(&[3, 3], vec![0.0, 0.5, 1.0, 0.5, 0.0, 0.5, 1.0, 0.5, 0.0]);
        let told = |distance: &Array, below: f32| similar_pairs(&PairDistances::Table(distance), below);
        let said = |distance: &Array, below: f32| told(distance, below).map(|(_, said)| said);
        assert_eq!(said(&distance, 0.6).unwrap(), "2 of 3 pairs of items (66.67 %)");
        let none = said(&distance, 0.5).unwrap();
        assert!(none.starts_with("none of 3 pairs of items, so no user quits at a similar item"), "{none}");
        assert!(none.contains("closest are 0.5 apart") && none.contains("threshold: … }` above 0.5"), "{none}");
        assert_eq!(said(&Array::new(&[1, 1], vec![0.0]), 0.5), None);
        // Where all are alike nothing lies below the share.
        let twins = Array::new(&[2, 2], vec![0.0; 4]);
        let none = said(&twins, PairDistances::Table(&twins).closest(0.02).0).unwrap();
        assert!(none.contains("the threshold is 0") && none.contains("not even at a repeat"), "{none}");
        for (below, warns) in [(0.5, true), (0.6, false)] {
            let cx = Context::detached(std::path::Path::new("unused"));
            report_similar_pairs(&PairDistances::Table(&distance), below, &cx);
            assert_eq!(cx.warnings().len(), usize::from(warns), "{below}");
        }
        let drawn = PairDistances::Drawn(vec![0.5, 0.1], 45);
        let said = "1 of 2 pairs of items that were drawn from 45 (50.00 %)".to_owned();
        assert_eq!(similar_pairs(&drawn, 0.3).unwrap(), (1, said));
        assert_eq!(
            (drawn.closest(0.5).0, drawn.mean(f64::from)),
            (0.5, (f64::from(0.5_f32) + f64::from(0.1_f32)) / 2.0)
        );
        assert_eq!(PairDistances::Drawn(vec![], 0).closest(0.5), (0.0, 0));
    }

    /// Items 0 to 5 are alike, 15 of 45 pairs; the others are on a line.
    #[test]
    fn where_the_share_ends_among_pairs_that_are_alike_it_is_one_of_the_others() {
        let place = |item: usize| item.saturating_sub(5) as f32;
        let data = (0..100).map(|k| (place(k / 10) - place(k % 10)).abs()).collect();
        let table = Array::new(&[10, 10], data);
        let drawn: Vec<f32> = (0..10).flat_map(|i| table.row(i)[..i].to_vec()).collect();
        let mut others: Vec<f32> = drawn.iter().copied().filter(|&distance| distance > 0.0).collect();
        others.sort_by(f32::total_cmp);
        for pairs in [PairDistances::Table(&table), PairDistances::Drawn(drawn, 45)] {
            assert_eq!(others.len(), 30);
            for share in [0.02, 0.3, 1.0 / 3.0 - 1e-9] {
                assert_eq!(pairs.closest(share), (others[(30.0 * share) as usize], 15), "{share}");
            }
            assert_eq!(pairs.closest(0.5), (1.0, 0), "beyond them as ever: the 22nd of 45");
        }
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
            assert_eq!(PairDistances::Table(&distance).closest(share).0.to_bits(), wanted.to_bits(), "{share}");
        }
        assert_eq!(PairDistances::Table(&Array::new(&[1, 1], vec![0.0])).closest(0.5).0, 0.0, "no pair at all");
    }

    #[test]
    fn a_sample_of_the_pairs_is_near_all_of_them() {
        // Items on a line, one user: |i − j| / I is below 0.1 for 1 − 0.9² of the pairs.
        let items = 4000;
        let rewards = Rewards::from(Array::new(&[1, items], (0..items).map(|i| i as f32 / items as f32).collect()));
        let distances = Distances::Columns(crate::artifact::ColumnDistances::new(None));
        let cx = Context::detached(std::path::Path::new("unused"));
        let pairs = PairDistances::of(&distances, &rewards, &cx).unwrap();
        let (found, _) = pairs.closest(0.19);
        assert!((found - 0.1).abs() < 2e-3, "{found}");
        assert!(pairs.said().ends_with("were drawn from 7998000"), "{}", pairs.said());
        assert_eq!(found, PairDistances::of(&distances, &rewards, &cx).unwrap().closest(0.19).0);
    }
}
