//! What worlds promise of their sizes, and what their largest tables need.

use pipeline::{MemoryNeed, Sizes};

use super::UserSimulator;
use super::distance::DistanceBy;
use super::gram;
use crate::artifact::KEPT_IN_COLUMNS;

/// What the tables of a fit need: the log and, for each of so many models that are fitted side by side, its order in an epoch, and
/// `width` numbers for each user and each item with their moments, and once more in a checkpoint.
pub(super) fn of_fit(help: &str, inputs: &Sizes, models: u64, width: u64) -> Option<MemoryNeed> {
    let (users, items) = (inputs.get("users")?, inputs.get("items")?);
    let need = MemoryNeed::new(help).table("models, users + items", &[models, users + items, width], 16);
    Some(need.table("interactions", &[inputs.get("interactions").unwrap_or(0)], 20 + 16 * models))
}

/// And of a world with stored rewards, `bytes` for each pair of a user and an item.
pub(super) fn with_stored(
    need: MemoryNeed,
    [users, items]: [u64; 2],
    bytes: u64,
    simulator: &UserSimulator,
) -> MemoryNeed {
    let need = need.table("rewards, users × items", &[users, items], bytes);
    // Numbers of 8 bytes: the matrix, the same less its mean, and its transpose.
    let need = need.table("their factorisation, users × items", &[users, items], 24);
    with_distances(need, [users, items], simulator)
}

/// And of its item distances: a table, or the columns of rewards that they are computed from.
pub(super) fn with_distances(need: MemoryNeed, [users, items]: [u64; 2], simulator: &UserSimulator) -> MemoryNeed {
    match simulator.distance_form.is_table(usize::try_from(items).unwrap_or(usize::MAX)) {
        true => {
            let need = need.table("distances, items × items", &[items, items], 4);
            match simulator.distance {
                DistanceBy::RatingColumns => gram::at_once(need, simulator.compared(users), items),
                DistanceBy::Genres | DistanceBy::Text | DistanceBy::ItemVectors => need,
            }
        }
        false if simulator.distance == DistanceBy::RatingColumns => {
            let numbers = simulator.compared(users).saturating_mul(items);
            need.table("columns of rewards", &[numbers.min(KEPT_IN_COLUMNS as u64)], 4)
        }
        false => need,
    }
}

/// What a world needs that is made from the rewards of another: both are held.
pub(super) fn of_changed_world(inputs: &Sizes) -> Option<MemoryNeed> {
    let need = MemoryNeed::new("take a smaller world: `filter.kcore` keeps fewer users and items");
    Some(need.table("the worlds before and after", &[inputs.get("world_bytes")?], 2))
}

/// What a world needs whose stored rewards are averaged over users who are compared with each other.
pub(super) fn of_compared_users(inputs: &Sizes) -> Option<MemoryNeed> {
    let (users, items) = (inputs.get("users")?, inputs.get("items")?);
    let need = MemoryNeed::new("take a smaller world: `filter.kcore` keeps fewer users and items");
    let need = need.table("the world", &[inputs.get("world_bytes").unwrap_or(0)], 1);
    // As they were fitted, before a round, and after it.
    let need = need.table("rewards, users × items", &[users, items], 12);
    // One after the other, so the larger counts.
    let (similarities, factorisation) = (users.saturating_mul(users), users.saturating_mul(items).saturating_mul(3));
    Some(match similarities > factorisation {
        true => gram::at_once(need.table("similarities, users × users", &[similarities], 8), items, users),
        false => need.table("their factorisation, users × items", &[factorisation], 8),
    })
}

impl UserSimulator {
    /// The sizes of a world that is made from inputs of these sizes, and that stores so many tables `[U, I]`. Those of factors are left out.
    pub(super) fn sizes(&self, inputs: &Sizes, stored: u64) -> Sizes {
        let sizes = inputs.clone().and(Sizes::of("horizon", self.horizon));
        let sizes = sizes.and(Sizes::of("embedding_dim", self.embedding_dim));
        let (Some(users), Some(items)) = (inputs.get("users"), inputs.get("items")) else { return sizes };
        let distances = if self.distance_form.is_table(items as usize) { items.saturating_mul(items) } else { 0 };
        let pairs = users.saturating_mul(items).saturating_mul(stored);
        let numbers = pairs.saturating_add(distances).saturating_add((users + items) * self.embedding_dim as u64);
        sizes.with("world_bytes", usize::try_from(numbers.saturating_mul(4)).unwrap_or(usize::MAX))
    }

    /// How many of so many users say how far items are from each other.
    fn compared(&self, users: u64) -> u64 {
        self.distance_users.map_or(users, |some| users.min(some as u64))
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
            with_stored(MemoryNeed::new(""), [1_000, items], 8, &simulator).total()
        };
        let threads = rayon::current_num_threads() as u64;
        let tile = |rows: u64, side: u64| (2 * rows + 2 * side) * side * 8;
        assert_eq!(
            need(2_000, DistanceForm::Auto),
            32 * 1_000 * 2_000 + 4 * 2_000 * 2_000 + threads.min(8) * tile(1_000, 256)
        );
        assert_eq!(need(2_000, DistanceForm::OnDemand), 36 * 1_000 * 2_000);
        assert_eq!(need(20_000, DistanceForm::Auto), 36 * 1_000 * 20_000);
        assert_eq!(need(60_000, DistanceForm::Auto), 32 * 1_000 * 60_000 + 4 * KEPT_IN_COLUMNS as u64);
        let some = UserSimulator { distance_users: Some(10), ..UserSimulator::default() };
        assert_eq!(with_distances(MemoryNeed::new(""), [1_000, 20_000], &some).total(), 4 * 10 * 20_000);
        let few = with_distances(MemoryNeed::new(""), [40_000, 20], &UserSimulator::default()).total();
        assert_eq!(few, 4 * 20 * 20 + tile(16_384, 20), "rows are taken in parts");
        let genres = UserSimulator { distance: DistanceBy::Genres, ..UserSimulator::default() };
        assert_eq!(with_distances(MemoryNeed::new(""), [1_000, 2_000], &genres).total(), 4 * 2_000 * 2_000);
        assert_eq!(with_distances(MemoryNeed::new(""), [1_000, 20_000], &genres).total(), 0);
        let log = Sizes::of("users", 30).and(Sizes::of("items", 20)).and(Sizes::of("interactions", 100));
        assert_eq!(of_fit("", &log, 3, 5).unwrap().total(), 3 * 50 * 5 * 16 + 100 * (20 + 48));
        assert_eq!(of_fit("", &Sizes::of("users", 30), 3, 5), None);
        assert_eq!(of_changed_world(&Sizes::of("world_bytes", 7)).unwrap().total(), 14);
        let world = Sizes::of("world_bytes", 7).and(Sizes::of("users", 30)).and(Sizes::of("items", 20));
        assert_eq!(of_compared_users(&world).unwrap().total(), 7 + 36 * 30 * 20);
        let many = world.and(Sizes::of("users", 100));
        assert_eq!(of_compared_users(&many).unwrap().total(), 7 + 12 * 100 * 20 + 8 * 100 * 100 + tile(20, 100));
        let sizes = |inputs, stored| UserSimulator::default().sizes(&inputs, stored);
        let of_both = || Sizes::of("users", 3).and(Sizes::of("items", 5)).with("world_bytes", 999);
        assert_eq!(sizes(of_both(), 2).get("world_bytes"), Some(4 * (2 * 15 + 25 + 8 * 16)), "not those of an input");
        assert_eq!(sizes(of_both(), 0).get("world_bytes"), Some(4 * (25 + 8 * 16)));
        let sizes = sizes(Sizes::of("users", 3), 1);
        assert_eq!(["users", "horizon", "embedding_dim"].map(|of| sizes.get(of)), [Some(3), Some(30), Some(16)]);
    }
}
