//! What worlds promise of their sizes, and what their largest tables need.

use pipeline::{MemoryNeed, Sizes};

use super::UserSimulator;

/// What the largest tables of a world with stored rewards need, `bytes` for each pair of a user and an item; `help` says what lowers
/// it.
pub(super) fn of_stored(help: &str, [users, items]: [u64; 2], bytes: u64, simulator: &UserSimulator) -> MemoryNeed {
    let need = MemoryNeed::new(help).table("rewards, users × items", &[users, items], bytes);
    // Numbers of 8 bytes: the matrix, the same less its mean, and its transpose.
    let need = need.table("their factorisation, users × items", &[users, items], 24);
    match simulator.distance_form.is_table(usize::try_from(items).unwrap_or(usize::MAX)) {
        true => need.table("distances, items × items", &[items, items], 4),
        false => need,
    }
}

/// What a world needs that is made from the rewards of another: both are held.
pub(super) fn of_changed_world(inputs: &Sizes) -> Option<MemoryNeed> {
    let need = MemoryNeed::new("take a smaller world: `filter.kcore` keeps fewer users and items");
    Some(need.table("the worlds before and after", &[inputs.get("world_bytes")?], 2))
}

impl UserSimulator {
    /// The sizes of a world that is made from inputs of these sizes.
    pub(super) fn sizes(&self, inputs: &Sizes) -> Sizes {
        let sizes = inputs.clone().and(Sizes::of("horizon", self.horizon));
        sizes.and(Sizes::of("embedding_dim", self.embedding_dim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::distance::DistanceForm;

    #[test]
    fn stored_worlds_hold_a_number_a_pair_and_distances_in_a_table_where_they_are_few() {
        let need = |items: u64, distance_form| {
            let simulator = UserSimulator { distance_form, ..UserSimulator::default() };
            of_stored("", [1_000, items], 8, &simulator).total()
        };
        assert_eq!(need(2_000, DistanceForm::Auto), 32 * 1_000 * 2_000 + 4 * 2_000 * 2_000);
        assert_eq!(need(2_000, DistanceForm::OnDemand), 32 * 1_000 * 2_000);
        assert_eq!(need(20_000, DistanceForm::Auto), 32 * 1_000 * 20_000);
        assert_eq!(of_changed_world(&Sizes::of("world_bytes", 7)).unwrap().total(), 14);
        let sizes = UserSimulator::default().sizes(&Sizes::of("users", 3));
        assert_eq!(["users", "horizon", "embedding_dim"].map(|of| sizes.get(of)), [Some(3), Some(30), Some(16)]);
    }
}
