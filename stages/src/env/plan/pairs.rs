//! Which items may stand in one window, as bits.

use crate::artifact::{Repeats, World};

/// `[I, ⌈I/64⌉]`: bit j of row i says that items i and j drive nobody away who remembers the one and is shown the other. Bit i of
/// row i says that an item may stand in a window twice.
pub(super) struct CompatiblePairs {
    words: usize,
    bits: Vec<u64>,
}

/// A set of items, as the bits of a row.
pub(super) type Bits = Vec<u64>;

impl CompatiblePairs {
    /// Of the rules that go by pairs: `similar`, and `max_same_category: 0`.
    pub fn of(world: &World) -> Self {
        let (items, rules) = (world.items(), &world.rules);
        let words = items.div_ceil(64);
        let mut bits = vec![0; items * words];
        for (i, row) in bits.chunks_exact_mut(words.max(1)).enumerate() {
            for j in 0..items {
                let again = i == j && rules.repeats != Repeats::Allowed;
                let other = [j as u32];
                let free =
                    !again && !world.too_similar(i as u32, &other) && !world.too_much_of_a_category(i as u32, &other);
                row[j / 64] |= u64::from(free) << (j % 64);
            }
        }
        Self { words, bits }
    }

    /// Every item.
    pub fn all(&self) -> Bits {
        vec![u64::MAX; self.words]
    }

    /// Leaves in `set` what may stand in a window with `item`.
    pub fn keep(&self, set: &mut Bits, item: u32) {
        let row = &self.bits[item as usize * self.words..][..self.words];
        set.iter_mut().zip(row).for_each(|(kept, &free)| *kept &= free);
    }

    /// Whether an item may stand in a window twice.
    pub fn repeatable(&self, item: u32) -> bool {
        has(&self.bits[item as usize * self.words..][..self.words], item)
    }
}

/// Whether `item` is in a set.
pub(super) fn has(set: &[u64], item: u32) -> bool {
    set[item as usize / 64] >> (item % 64) & 1 == 1
}
