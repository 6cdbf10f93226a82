//! The distance below which two items are similar, as a share of all pairs, and how many lie below it.

use pipeline::Context;
use rayon::prelude::*;

use super::gram::pairs;
use crate::artifact::{Array, World};

/// The distance below which `share` of all pairs of different items lie.
pub(super) fn closest(distance: &Array, share: f64) -> f32 {
    let pairs = pairs(distance.shape[0]);
    if pairs == 0 {
        return 0.0;
    }
    let rank = ((pairs as f64 * share) as u64).min(pairs - 1);
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
pub(super) fn report_similar_pairs(world: &World, cx: &Context) {
    if let Some(said) = world.rules.distance_threshold.and_then(|below| similar_pairs(world.distance_table(), below)) {
        cx.note("similar pairs", said);
    }
}

/// Describes the pairs of items below a distance; `None` for a single item.
fn similar_pairs(distance: &Array, below: f32) -> Option<String> {
    let items = distance.shape[0];
    let of_row = |i: usize| {
        let row = &distance.row(i)[..i];
        Some((row.iter().copied().min_by(f32::total_cmp)?, row.iter().filter(|&&distance| distance < below).count()))
    };
    let both = |(a, more): (f32, usize), (b, others): (f32, usize)| (if b.total_cmp(&a).is_lt() { b } else { a }, more + others);
    let (closest, similar) = (0..items).into_par_iter().filter_map(of_row).reduce_with(both)?;
    let all = pairs(items);
    Some(match similar {
        0 => format!(
            "none of {all} pairs of items, so no user quits at a similar item: the closest are {closest} apart, and the threshold \
             is {below}; set `simulator.quit_similarity: {{ threshold: … }}` above {closest}, or `off`"
        ),
        pairs => format!("{pairs} of {all} pairs of items ({:.2} %)", 100.0 * pairs as f64 / all as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_pairs_are_alike_is_told_and_none_aloud() {
        let distance = Array::new(&[3, 3], vec![0.0, 0.5, 1.0, 0.5, 0.0, 0.5, 1.0, 0.5, 0.0]);
        assert_eq!(similar_pairs(&distance, 0.6).unwrap(), "2 of 3 pairs of items (66.67 %)");
        let none = similar_pairs(&distance, 0.5).unwrap();
        assert!(none.starts_with("none of 3 pairs of items, so no user quits at a similar item"), "{none}");
        assert!(none.contains("closest are 0.5 apart") && none.contains("threshold: … }` above 0.5"), "{none}");
        assert_eq!(similar_pairs(&Array::new(&[1, 1], vec![0.0]), 0.5), None);
        // Of genres most pairs may share the distance at which the share ends: then none lies below it.
        let twins = Array::new(&[2, 2], vec![0.0; 4]);
        assert!(similar_pairs(&twins, closest(&twins, 0.02)).unwrap().contains("the threshold is 0"));
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
            assert_eq!(closest(&distance, share).to_bits(), wanted.to_bits(), "{share}");
        }
        assert_eq!(closest(&Array::new(&[1, 1], vec![0.0]), 0.5), 0.0, "no pair at all");
    }
}
