//! World models: from a log to what every user would answer to every item.
//!
//! The training world and the judging world must be fitted by two stages of different families; policies see the first
//! only. This folder fits reward models and completes them to worlds; episodes are played in [`env`](crate::env).

mod audience;
mod deepfm;
mod distance;
mod fit;
mod given;
mod mf;
mod vectors;

pub use audience::Audience;
pub use deepfm::DeepFm;
pub use distance::Similar;
pub use given::Given;
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

/// Six users, eight items, thirty ratings.
#[cfg(test)]
fn small_log() -> Inputs {
    let names = |letter: char, count: usize| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
    let interactions = Interactions {
        user: (0..30).map(|k| k % 6).collect(),
        item: (0..30).map(|k| (k * 5 + k / 6) % 8).collect(),
        rating: (0..30).map(|k| (1 + k % 5) as f32).collect(),
        timestamp: (0..30).collect(),
    };
    let items = Items { id: names('i', 8), title: names('i', 8), year: vec![Some(1990); 8], genres: vec![vec![]; 8] };
    let users = Users { id: names('u', 6), ..Users::default() };
    Inputs { holdout: None, distances: None, interactions, items, users }
}
