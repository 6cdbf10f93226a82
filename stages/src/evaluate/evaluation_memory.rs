//! What the largest tables of an evaluation take, from the sizes of its world and log.

use pipeline::{MemoryNeed, Sizes};

use super::{Evaluate, EvaluatePrompts, OffPolicy};

/// Rows that play each user once: popular, the cycle, the oracle, the plan, and one policy. More policies take more.
const ROWS: u64 = 5;
/// What is kept of a step until the files are written: item and reward, as the table and as the file have them, with the names of the
/// row and of its seed.
const OF_STEP: u64 = 48;
/// The same of an episode.
const OF_EPISODE: u64 = 700;
/// Where a world does not say it: the horizon that worlds have by default.
const HORIZON: u64 = 30;
/// Where a world does not say it: the dimension of vectors that worlds have by default.
const DIMENSION: u64 = 16;
/// Scores that a policy holds while it plays.
const SCORES: u64 = 1 << 22;

impl Evaluate {
    pub(super) fn tables(&self, inputs: &Sizes) -> Option<MemoryNeed> {
        let (users, items) = (inputs.get("users")?, inputs.get("items")?);
        let users = self.users.map_or(users, |most| users.min(most as u64));
        let episodes = users.saturating_mul(2 * self.n_repeats as u64 + ROWS);
        let need = MemoryNeed::new(
            "set `users` to evaluate with fewer, or lower `n_repeats`; `filter.kcore` keeps fewer users and items",
        );
        let need =
            need.table("the evaluation world and the training world", &[inputs.get("world_bytes").unwrap_or(0)], 2);
        let need = need.table("episodes", &[episodes, inputs.get("horizon").unwrap_or(HORIZON)], OF_STEP);
        let need = need.table("what is measured of them", &[episodes], OF_EPISODE);
        Some(need.table("interactions", &[inputs.get("interactions").unwrap_or(0)], 20).table(
            "scores",
            &[SCORES.max(items)],
            4,
        ))
    }
}

impl OffPolicy {
    pub(super) fn tables(&self, inputs: &Sizes, scores: u64) -> Option<MemoryNeed> {
        let interactions = inputs.get("interactions")?;
        let need = MemoryNeed::new(
            "estimate from fewer interactions (`filter.sample`), or keep fewer items by `filter.kcore`",
        );
        let need = need.table("the world", &[inputs.get("world_bytes").unwrap_or(0)], 1);
        // Two copies of the log, and of each row what the estimators read.
        let need = need.table("interactions", &[interactions], 2 * 20 + 56);
        let need = need.table("scores and chances of all items", &[scores], 24);
        if !self.estimate_returns {
            return Some(need);
        }
        // Of each row the features of what was shown and of what the policy would show: a constant, the expected rating and the vector.
        let width = 2 + inputs.get("embedding_dim").unwrap_or(DIMENSION);
        Some(need.table("features of the linear Q", &[interactions, 2, width], 8))
    }
}

impl EvaluatePrompts {
    pub(super) fn tables(inputs: &Sizes) -> Option<MemoryNeed> {
        let need = MemoryNeed::new("take a part of the log by `filter.sample`");
        // The log, its order by user and time, and what each user took; titles, genres and features are texts of their own.
        let need = need.table("interactions", &[inputs.get("interactions")?], 60);
        Some(need.table("items", &[inputs.get("items")?], 400))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_keeps_every_step_of_its_users_and_two_worlds() {
        let sizes = Sizes::of("users", 1000).and(Sizes::of("items", 50)).and(Sizes::of("world_bytes", 7));
        let sizes = sizes.and(Sizes::of("horizon", 10)).and(Sizes::of("interactions", 100));
        let need = |users| Evaluate { users, ..Evaluate::default() }.tables(&sizes).unwrap().total();
        let rest = 2 * 7 + 100 * 20 + (1 << 22) * 4;
        assert_eq!(need(None), 15 * 1000 * (10 * 48 + 700) + rest);
        assert_eq!((need(Some(2000)), need(Some(10))), (need(None), 15 * 10 * (10 * 48 + 700) + rest));
        assert!(Evaluate::default().tables(&Sizes::of("users", 3)).is_none());
        assert_eq!(EvaluatePrompts::tables(&sizes).unwrap().total(), 100 * 60 + 50 * 400);
        let need = |estimate_returns| {
            let stage = OffPolicy { estimate_returns, ..OffPolicy::default() };
            stage.tables(&sizes.clone().and(Sizes::of("embedding_dim", 3)), 500).unwrap().total()
        };
        assert_eq!(need(false), 7 + 100 * 96 + 500 * 24);
        assert_eq!(need(true), need(false) + 100 * 2 * 5 * 8);
    }
}
