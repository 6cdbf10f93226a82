//! What the largest tables of a learner need, from the sizes of its training world.
//!
//! A world of U users and I items with vectors of D numbers; a gradient step on B states. Parameters stand beside their gradients and
//! two moments of Adam. Up to [`TABLE_ITEMS`] items the similarity of all pairs is a table, which is made from products in f64, and a batch
//! has some ten tensors `[B, I]`.
//! Beyond, heads are streamed in blocks of items, unless a learner needs the scores of all items at once, as `rl.c51` does.

use pipeline::{MemoryNeed, Sizes};

use super::NetworkConfig;
use crate::nn::TABLE_ITEMS;

/// Tensors `[B, I]` of a gradient step that are held together.
const OF_BATCH: u64 = 10;
/// Bytes a pair of items takes beside its similarity while all are made: twice a product in f64, or once with half of all distances.
const OF_MAKING: u64 = 12;
/// Items of a streamed block.
const BLOCK: u64 = 1024;
/// Where a world does not say it: the horizon and the dimension of vectors that worlds have by default.
const HORIZON: u64 = 30;
const DIMENSION: u64 = 16;

/// What a learner holds.
pub(crate) struct LearnerTables<'a> {
    network: &'a NetworkConfig,
    /// Networks with their gradients and moments; targets count as one each.
    networks: u64,
    /// States of a gradient step.
    states: u64,
    /// Whether the scores of all items are tensors beyond [`TABLE_ITEMS`] items.
    has_all_scores: bool,
}

/// States of so many whole episodes in a world of these sizes.
pub(crate) fn states_of(episodes: usize, inputs: &Sizes) -> u64 {
    (episodes as u64).saturating_mul(inputs.get("horizon").unwrap_or(HORIZON))
}

impl<'a> LearnerTables<'a> {
    /// Of a learner that streams its head.
    pub fn streamed(network: &'a NetworkConfig, networks: u64, states: u64) -> Self {
        Self { network, networks, states, has_all_scores: false }
    }

    /// Of one that holds the scores of all items.
    pub fn of_all_scores(network: &'a NetworkConfig, networks: u64, states: u64) -> Self {
        Self { network, networks, states, has_all_scores: true }
    }

    /// None where users and items are not known.
    pub fn need(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        let (users, items) = (inputs.get("users")?, inputs.get("items")?);
        let dimension = inputs.get("embedding_dim").unwrap_or(DIMENSION);
        let need = MemoryNeed::new(
            "lower `episodes_per_update` or `batch_size`, or `simulator.embedding_dim` of the world; `filter.kcore` keeps fewer users \
             and items",
        );
        let need = need.table("the world", &[inputs.get("world_bytes").unwrap_or(0)], 1);
        let need = need.table("parameters and moments", &[self.networks, users + items, dimension], 16);
        // The last layer is a matrix of the hidden units and the items' vectors; the input one of the window.
        let hidden = self.network.hidden_size as u64;
        let need = need.table("layers", &[self.networks, hidden, (self.network.window as u64 + 2) * dimension], 16);
        if items <= TABLE_ITEMS as u64 {
            let need = need.table("similarities", &[items, items], 4);
            // One after the other, so the larger counts.
            return Some(match OF_BATCH * self.states * 4 > OF_MAKING * items {
                true => need.table("scores and masks of a batch", &[OF_BATCH, self.states, items], 4),
                false => need.table("similarities while they are made", &[items, items], OF_MAKING),
            });
        }
        Some(match self.has_all_scores {
            true => need.table("scores of a batch", &[OF_BATCH, self.states, items], 4),
            false => need.table("blocks of a batch", &[self.states, items.div_ceil(BLOCK) + OF_BATCH * BLOCK], 4),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(items: usize) -> Sizes {
        Sizes::of("users", 1000).and(Sizes::of("items", items)).and(Sizes::of("world_bytes", 5_000_000))
    }

    #[test]
    fn a_streamed_learner_needs_no_table_of_items_by_items_or_states_by_items() {
        let network = NetworkConfig::default();
        let learner = |has_all_scores, states| LearnerTables { network: &network, networks: 1, states, has_all_scores };
        let need = |learner: LearnerTables, items| learner.need(&sizes(items)).unwrap().total();
        let layers = 64 * 9 * 16 * 16;
        let small = 5_000_000 + 16 * 2000 * 16 + layers + 4 * 1_000_000 + 4 * 10 * 1920 * 1000;
        assert_eq!(need(learner(false, 1920), 1000), small);
        // 4 bytes of a table, and 12 to make it.
        assert_eq!(need(learner(false, 64), 1000), small - 4 * 10 * 1920 * 1000 + 12 * 1_000_000);
        let million = 5_000_000 + 16 * 1_001_000 * 16 + layers + 4 * 1920 * (977 + 10_240);
        assert_eq!(need(learner(false, 1920), 1_000_000), million);
        assert!(need(learner(true, 1920), 1_000_000) > 70 << 30);
        assert_eq!(states_of(64, &Sizes::default()), 1920);
        assert_eq!(states_of(2, &Sizes::of("horizon", 100)), 200);
        assert!(learner(false, 1).need(&Sizes::of("users", 3)).is_none());
    }
}
