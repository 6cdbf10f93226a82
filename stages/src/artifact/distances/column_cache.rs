//! Columns that were asked for: all of them where they fit, else those that were asked for lately, such as the items of the windows of
//! many episodes and what is popular.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Numbers of all columns that are kept, at most: 128 MiB.
pub const KEPT: usize = 1 << 25;
const BYTES: usize = KEPT * size_of::<f32>();

/// Parts that are locked by themselves, by item.
const PARTS: usize = 16;

/// Columns that are kept in a part whatever they take.
const LEAST: usize = 4;

/// A cache of columns by item. What it holds changes no answer, so two of them are always equal, and a copy begins empty.
#[derive(Default)]
pub(super) struct ColumnCache(OnceLock<Kept>);

enum Kept {
    /// A place for each item: nothing is ever forgotten, and no thread waits to read.
    All(Vec<OnceLock<Arc<[f32]>>>),
    Lately(Vec<Mutex<Part>>),
}

/// The columns that were asked for since the last change of generations, and those of the one before.
#[derive(Default)]
struct Part {
    young: HashMap<u32, Arc<[f32]>>,
    old: HashMap<u32, Arc<[f32]>>,
}

impl ColumnCache {
    /// Whether it keeps all columns of so many items and users.
    pub fn keeps_all([users, items]: [usize; 2]) -> bool {
        users.saturating_mul(items) <= KEPT
    }

    /// The column of an item, of so many users and items; `compute` makes it where it is not there.
    pub fn get(&self, item: u32, size: [usize; 2], compute: impl FnOnce() -> Vec<f32>) -> Arc<[f32]> {
        let kept = self.0.get_or_init(|| match Self::keeps_all(size) {
            true => Kept::All((0..size[1]).map(|_| OnceLock::new()).collect()),
            false => Kept::Lately((0..PARTS).map(|_| Mutex::default()).collect()),
        });
        let parts = match kept {
            Kept::All(columns) => return columns[item as usize].get_or_init(|| compute().into()).clone(),
            Kept::Lately(parts) => parts,
        };
        let part = || parts[item as usize % PARTS].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(column) = part().find(item) {
            return column;
        }
        // Computed unlocked: another thread may do the same, and finds the same.
        let column: Arc<[f32]> = compute().into();
        part().insert(item, column.clone());
        column
    }
}

impl Part {
    fn find(&mut self, item: u32) -> Option<Arc<[f32]>> {
        if let Some(column) = self.young.get(&item) {
            return Some(column.clone());
        }
        let column = self.old.remove(&item)?;
        self.insert(item, column.clone());
        Some(column)
    }

    fn insert(&mut self, item: u32, column: Arc<[f32]>) {
        let most = (BYTES / PARTS / 2 / size_of_val(&*column).max(1)).max(LEAST);
        if self.young.len() >= most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(item, column);
    }
}

impl Clone for ColumnCache {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for ColumnCache {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for ColumnCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ColumnCache")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_is_computed_once_while_it_is_asked_for() {
        let cache = ColumnCache::default();
        let width = BYTES / PARTS / 2 / 4 / LEAST;
        let size = [width, (5 * LEAST + 1) * PARTS];
        assert!(!ColumnCache::keeps_all(size));
        let mut computed = Vec::new();
        // Item 0 is asked for again and again, beside more columns of its part than two generations hold.
        for k in 1..=5 * LEAST as u32 {
            for item in [0, k * PARTS as u32] {
                let column = cache.get(item, size, || {
                    computed.push(item);
                    vec![item as f32; width]
                });
                assert_eq!((column.len(), column[0]), (width, item as f32));
            }
        }
        assert_eq!(computed.len(), 1 + 5 * LEAST, "{computed:?}");
        cache.get(PARTS as u32, size, || {
            computed.push(PARTS as u32);
            vec![]
        });
        assert_eq!(computed.last(), Some(&(PARTS as u32)), "what was not asked for is forgotten");
    }

    #[test]
    fn columns_that_all_fit_are_computed_once() {
        let (cache, size) = (ColumnCache::default(), [2, 300]);
        assert!(ColumnCache::keeps_all(size));
        let mut computed = 0;
        for _ in 0..3 {
            for item in 0..300 {
                let column = cache.get(item, size, || {
                    computed += 1;
                    vec![item as f32; 2]
                });
                assert_eq!(*column, [item as f32; 2]);
            }
        }
        assert_eq!(computed, 300);
        assert_eq!(*cache.clone().get(0, size, || vec![5.0]), [5.0], "a copy begins empty");
    }
}
