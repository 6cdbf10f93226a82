//! Which items are similar, as bits: the `similar` rule reads them at every step, and they are 32 times smaller than the distances.

use rayon::prelude::*;

use crate::artifact::World;

/// Catalogues above this are asked by their distances: 8 MB of bits.
const LARGEST: usize = 8192;

/// `[I, ⌈I/64⌉]`: bit j of row i says that the distance of i and j is below the threshold.
pub(super) struct SimilarityMask {
    words: usize,
    bits: Vec<u64>,
}

impl SimilarityMask {
    /// The bits of a world with a `similar` rule that stores its distances; `None` of others, or where `steps` to be played are too few
    /// to pay for them.
    pub fn of(world: &World, steps: usize) -> Option<Self> {
        let (threshold, table) = (world.rules.distance_threshold?, world.item_distances().table()?);
        let items = world.items();
        if items > LARGEST || steps * world.rules.quit_window < items * items {
            return None;
        }
        let words = items.div_ceil(64);
        let mut bits = vec![0; items * words];
        bits.par_chunks_exact_mut(words).enumerate().with_min_len(64).for_each(|(i, row)| {
            for (j, &distance) in table.row(i).iter().enumerate() {
                row[j / 64] |= u64::from(distance < threshold) << (j % 64);
            }
        });
        Some(Self { words, bits })
    }

    /// Whether `item` is similar to any of `recent`.
    pub fn any(&self, item: u32, recent: &[u32]) -> bool {
        let row = &self.bits[item as usize * self.words..][..self.words];
        recent.iter().any(|&h| row[h as usize / 64] >> (h % 64) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::cluster_world;

    #[test]
    fn bits_say_what_the_distances_say() {
        // 100 items, so that rows need a second word.
        let world = cluster_world(&[1.0; 50], 2, 2, 30, 1);
        let similarity_mask = SimilarityMask::of(&world, 5000).unwrap();
        for item in 0..100 {
            for other in 0..100 {
                assert_eq!(similarity_mask.any(item, &[other]), world.too_similar(item, &[other]), "{item}, {other}");
            }
        }
        assert!(!similarity_mask.any(0, &[]) && similarity_mask.any(99, &[3, 98]));
        assert!(SimilarityMask::of(&world, 10).is_none());
    }
}
