//! World models: from a log to what every user would answer to every item.
//!
//! The training world and the judging world must be fitted by two stages of different families; policies see the first
//! only. This folder fits reward models and completes them to worlds; episodes are played in [`env`](crate::env).

mod completion;
mod deepfm;
mod fit;
mod mf;

pub use completion::{Audience, Similar};
pub use deepfm::DeepFm;
pub use fit::Fit;
pub use mf::MatrixFactorisation;

use crate::artifact::{Curves, Interactions, Items, Users, World};

pipeline::ports! {
    /// What a world model is fitted on.
    pub struct Inputs {
        /// The ratings to fit.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The people.
        users: Users,
        /// Ratings that are only scored, never fitted.
        holdout: Option<Interactions>,
        /// Where item distances and their threshold come from; the completed matrix itself without. Two worlds that share
        /// them differ in what people like, not in when they leave.
        distances: Option<World>,
    }
}

pipeline::ports! {
    /// What comes out.
    pub struct Outputs {
        /// The completed world.
        world: World,
        /// `rmse.train` and `rmse.holdout` an epoch.
        curves: Curves,
    }
}
