//! Which rows of its embedding tables a gradient step changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `auto` is `lazy` beyond this many users and items together.
const LARGEST_DENSE: usize = 50_000;

/// Which rows of the embedding tables a gradient step changes. Both minimise the same objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EmbeddingUpdates {
    /// `dense` up to 50,000 users and items together, `lazy` beyond.
    #[default]
    Auto,
    /// All rows: AdamW on whole tables. A step costs as much as there are users and items.
    Dense,
    /// The rows of the users and items in the batch: lazy Adam, as PyTorch's `SparseAdam` and TensorFlow's `LazyAdam`. The other rows
    /// keep their values and moments, and `l2` counts for a row at each use, by one over its number of uses in an epoch. A step costs as
    /// much as its batch.
    Lazy,
}

impl EmbeddingUpdates {
    /// Whether it is `auto`, which is left out of keys.
    #[must_use]
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }

    /// Whether steps of so many users and items are lazy.
    pub(super) fn are_lazy(self, [users, items]: [usize; 2]) -> bool {
        match self {
            Self::Auto => users + items > LARGEST_DENSE,
            Self::Dense => false,
            Self::Lazy => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_tables_are_stepped_whole_unless_it_is_asked_otherwise() {
        use EmbeddingUpdates::{Auto, Dense, Lazy};
        // MovieLens-100K and all of Amazon-Book stay dense.
        assert!(!Auto.are_lazy([943, 1682]) && !Auto.are_lazy([3109, 13_864]) && !Auto.are_lazy([20_000, 30_000]));
        assert!(Auto.are_lazy([20_000, 30_001]) && Lazy.are_lazy([1, 1]) && !Dense.are_lazy([1_000_000; 2]));
    }
}
