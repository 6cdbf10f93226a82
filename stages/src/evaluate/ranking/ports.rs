//! What `evaluate.ranking` reads and writes.

use pipeline::Many;

use crate::artifact::{Candidates, Interactions, Items, PolicyFile, RankingHits, RankingMetrics, Users, World};

pipeline::ports! {
    /// The parts of the log, and what ranks.
    pub struct RankingInputs {
        /// The training log: what is popular, and what rankings leave out.
        train: Interactions,
        /// The held-out log, whose items are to be ranked first. Nothing may have learned from it.
        test: Interactions,
        /// The catalogue.
        items: Items,
        /// The users.
        users: Users,
        /// Policies; those of one name are the training seeds of one row.
        policies: Many<PolicyFile>,
        /// Retrievers, such as `retrieve` by co-occurrence (item-kNN) or by factors: baselines of the table. Their `top_k` must leave
        /// enough items beside those of `train`.
        candidates: Many<Candidates>,
        /// Worlds, which rank by expected reward; those of one name are the seeds of one row.
        worlds: Many<World>,
    }
}

pipeline::ports! {
    /// The table and what it is made from.
    pub struct RankingOutputs {
        /// One row a system, metric and cut-off.
        metrics: RankingMetrics,
        /// One row a system, seed and user.
        hits: RankingHits,
    }
}
