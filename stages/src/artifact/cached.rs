//! What is computed once from something that does not change, and is no part of what it is.

use std::sync::OnceLock;

/// A value that is computed when it is first asked for. Two of them are always equal: what they are computed from is compared.
#[derive(Clone, Debug)]
pub(super) struct Cached<T>(OnceLock<T>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> Cached<T> {
    /// The value, made by `compute` the first time.
    pub fn get_or_compute(&self, compute: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(compute)
    }
}

impl<T> PartialEq for Cached<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
