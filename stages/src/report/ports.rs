//! What `report` reads and writes.

use pipeline::{Many, ports};

use crate::artifact::{
    Calibration, Comparisons, Curves, Demonstrations, Estimates, Items, Metrics, Page, Profiles, RankingMetrics,
    RewardPairs, Rollouts, WorldAgreement, WorldDifferences,
};

ports! {
    /// The data of the page; each optional input adds a section.
    pub struct Inputs {
        /// The table; without it the page is of the ranking alone.
        metrics: Option<Metrics>,
        /// Evaluated episodes, for the distribution of returns.
        rollouts: Option<Rollouts>,
        /// Comparisons of pairs of rows on the same users, for the significant differences.
        comparisons: Option<Comparisons>,
        /// Performance profiles.
        profiles: Option<Profiles>,
        /// Off-policy estimates.
        estimates: Option<Estimates>,
        /// How high systems rank the held-out interactions of the log, from `evaluate.ranking`.
        ranking: Option<RankingMetrics>,
        /// How far several evaluation worlds agree, from `evaluate.agreement`; without it the page rests on one.
        agreement: Option<WorldAgreement>,
        /// The differences in these worlds, of the same stage.
        world_differences: Option<WorldDifferences>,
        /// Predictions of world models against held-out ratings.
        calibration: Many<Calibration>,
        /// Learned rewards with the rewards of the world.
        rewards: Many<RewardPairs>,
        /// Learning curves of any stages.
        curves: Many<Curves>,
        /// Episodes of language models, for examples; needs `items`.
        demonstrations: Many<Demonstrations>,
        /// Titles for the examples.
        items: Option<Items>,
    }
}

ports! {
    /// The page.
    pub struct Outputs {
        /// HTML with its style and pictures inside.
        page: Page,
    }
}
