//! Which items may stand in one window, as bits.
//!
//! Items are called by their place among those that a plan is made of. A row is computed when a search first comes to its item: of many
//! items it looks at few.

use std::sync::OnceLock;

use crate::artifact::{Repeats, World};

/// A row for each item, `[⌈N/64⌉]`: bit j of row i says that items i and j drive nobody away who remembers the one and is shown the
/// other. Bit i of row i says that an item may stand in a window twice.
pub(super) struct CompatiblePairs<'a> {
    world: &'a World,
    items: &'a [u32],
    rows: Vec<OnceLock<Bits>>,
}

/// A set of items, as the bits of a row.
pub(super) type Bits = Vec<u64>;

impl<'a> CompatiblePairs<'a> {
    /// Of these items of a world, by the rules that go by pairs: `similar`, and `max_same_category: 0`.
    pub fn of(world: &'a World, items: &'a [u32]) -> Self {
        Self { world, items, rows: items.iter().map(|_| OnceLock::new()).collect() }
    }

    /// Every item.
    pub fn all(&self) -> Bits {
        vec![u64::MAX; self.items.len().div_ceil(64)]
    }

    /// Leaves in `set` what may stand in a window with `item`.
    pub fn keep(&self, set: &mut Bits, item: u32) {
        set.iter_mut().zip(self.row(item)).for_each(|(kept, &free)| *kept &= free);
    }

    /// Whether an item may stand in a window twice.
    pub fn repeatable(&self, item: u32) -> bool {
        let own = self.items[item as usize];
        self.world.rules.repeats == Repeats::Allowed && self.compatible(own, own)
    }

    fn row(&self, item: u32) -> &Bits {
        self.rows[item as usize].get_or_init(|| {
            let mut row = vec![0; self.items.len().div_ceil(64)];
            let own = self.items[item as usize];
            // Where the plan is made of all items, their places are their numbers.
            let all = self.items.len() == self.world.items();
            let similar = all.then(|| self.world.similar_to_any(&[own])).flatten();
            let compatible = |other: u32| match &similar {
                Some(similar) => !has(similar, other) && !self.world.too_much_of_a_category(own, &[other]),
                None => self.compatible(own, other),
            };
            for (place, &other) in self.items.iter().enumerate() {
                let again = other == own && self.world.rules.repeats != Repeats::Allowed;
                row[place / 64] |= u64::from(!again && compatible(other)) << (place % 64);
            }
            row
        })
    }

    fn compatible(&self, item: u32, other: u32) -> bool {
        !self.world.too_similar(item, &[other]) && !self.world.too_much_of_a_category(item, &[other])
    }
}

/// Whether `item` is in a set.
pub(super) fn has(set: &[u64], item: u32) -> bool {
    set[item as usize / 64] >> (item % 64) & 1 == 1
}
