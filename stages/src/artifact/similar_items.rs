//! Which items are similar to an item, as bits: found out once an item, and read by everybody who asks about all items.

use std::sync::{Arc, OnceLock};

/// A row of bits for each item that was asked for. What it holds changes no answer, so two of them are always equal.
#[derive(Clone, Debug, Default)]
pub(super) struct SimilarItems(OnceLock<Arc<Rows>>);

#[derive(Debug)]
struct Rows {
    threshold: f32,
    rows: Vec<OnceLock<Vec<u64>>>,
}

impl SimilarItems {
    /// Adds to `bits` those of `item`, of so many items; `compute` makes its row for that threshold, where it is not there.
    pub fn add(&self, bits: &mut [u64], item: u32, items: usize, threshold: f32, compute: impl FnOnce() -> Vec<u64>) {
        let fresh = || Arc::new(Rows { threshold, rows: (0..items).map(|_| OnceLock::new()).collect() });
        let known = self.0.get_or_init(fresh);
        let mut add = |row: &[u64]| bits.iter_mut().zip(row).for_each(|(all, own)| *all |= own);
        // A world keeps its threshold once it is made; who changes it pays for it.
        match known.threshold == threshold {
            true => add(known.rows[item as usize].get_or_init(compute)),
            false => add(&compute()),
        }
    }
}

impl PartialEq for SimilarItems {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_computed_once_for_its_threshold() {
        let (similar, mut computed) = (SimilarItems::default(), 0);
        let mut ask = |item: u32, threshold: f32| {
            let mut bits = vec![1];
            similar.add(&mut bits, item, 3, threshold, || {
                computed += 1;
                vec![2 << item]
            });
            (bits[0], computed)
        };
        assert_eq!([ask(0, 0.5), ask(0, 0.5), ask(1, 0.5)], [(3, 1), (3, 1), (5, 2)]);
        assert_eq!([ask(0, 0.7), ask(0, 0.7), ask(0, 0.5)], [(3, 3), (3, 4), (3, 4)]);
    }
}
