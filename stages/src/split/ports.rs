//! What `split` reads and writes.

use crate::artifact::Interactions;

pipeline::ports! {
    /// The log to split.
    pub struct Inputs {
        /// The whole log.
        interactions: Interactions,
        /// The test part for `by: predefined`; of the same users and items.
        test: Option<Interactions>,
    }
}

pipeline::ports! {
    /// The two parts; together they are the log.
    pub struct Outputs {
        /// The training part, by user, then time.
        train: Interactions,
        /// The held-out part, by user, then time.
        test: Interactions,
    }
}
