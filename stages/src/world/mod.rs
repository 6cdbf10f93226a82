//! World models: from a log to the expected reward of every user and item.
//!
//! The training world and the evaluation world must be fitted by two stages of different families; policies are trained in the
//! first only. This folder fits reward models and completes them to worlds; episodes are played in [`env`](crate::env).

mod affinity;
mod bias;
mod completion;
#[cfg(test)]
mod cuda_tests;
mod deepfm;
mod deepfm_factors;
mod deepfm_model;
mod deepfm_settings;
mod dense_field;
mod distance;
mod embedding_updates;
mod ensemble;
mod entropy;
mod factor_steps;
#[cfg(test)]
mod factored_tests;
mod factorization;
#[cfg(test)]
mod features_tests;
mod fields;
mod fit;
mod fit_metrics;
mod fit_settings;
mod form;
mod gram;
mod heteroscedastic;
mod ials;
mod ips;
mod landmarks;
mod lazy_fit;
mod lookups;
mod matrix;
mod mf;
#[cfg(test)]
mod on_demand_tests;
mod pessimistic;
mod positives;
mod prior_mean;
mod propensities;
mod rated_log;
mod rating_model;
mod reference_averages;
mod reference_users;
mod row_batches;
mod shuffled_log;
mod side_features;
mod softmax_steps;
mod text_distance;
mod threshold;
mod towers;
mod two_tower;
mod two_tower_settings;
mod user_similarity;
mod user_simulator;
mod world_memory;

use anyhow::{Context as _, Result, bail};

use crate::artifact::{Calibration, Curves, Interactions, ItemScores, ItemVectors, Items, Propensities, Users, World};
pub use bias::Bias;
pub use deepfm_settings::DeepFm;
pub use distance::{DistanceBy, DistanceForm, QuitSimilarity};
pub use embedding_updates::EmbeddingUpdates;
pub use form::WorldForm;
pub use ials::Ials;
pub use ips::Ips;
pub use matrix::Matrix;
pub use mf::MatrixFactorisation;
pub use pessimistic::Pessimistic;
pub use propensities::EstimatePropensities;
pub use reference_users::ReferenceUsers;
pub use two_tower_settings::TwoTower;
pub use user_simulator::UserSimulator;

pipeline::ports! {
    /// What a world model is fitted on.
    pub struct Inputs {
        /// The ratings to fit.
        interactions: Interactions,
        /// The catalogue.
        items: Items,
        /// The users.
        users: Users,
        /// Held-out ratings: the error on them is reported, and they are never fitted.
        holdout: Option<Interactions>,
        /// The propensity of each rating: ratings are then weighted by its inverse.
        propensities: Option<Propensities>,
        /// A world whose item distances and threshold are used; those of `simulator` without it. Two worlds that share them differ
        /// in the users' preferences, not in the quit rules. Published learners are trained with the distances of the evaluation
        /// world, which is a privilege; the world records the source of its distances.
        distances: Option<World>,
        /// Scores of the items, of a language model for example: the prior mean of an item's bias. How much they count is determined by
        /// cross-validation inside `interactions`.
        item_scores: Option<ItemScores>,
        /// A vector for each item, such as that of its text (`embed`). `world.deepfm` and `world.mf` learn a linear map of it, which
        /// also speaks for items that nobody rated; `simulator.distance: item_vectors` compares items by it.
        item_vectors: Option<ItemVectors>,
    }
}

impl Inputs {
    /// What would else be found after the fit: ratings of nobody, ratings that say nothing, and a hold-out of which no propensity
    /// is known. `sample_negatives` says whether what was not rated is fitted to 0; `help` is what to do where all ratings are one.
    fn check(&self, negatives: bool, help: &str) -> Result<()> {
        if let Some(rating) = self.interactions.only_rating().filter(|&rating| !negatives || rating == 0.0) {
            bail!(
                "all {} ratings at `interactions` are {rating}: they hold no preferences to fit, and every user would give every item \
                 {rating}\nhelp: {help}",
                self.interactions.len()
            );
        }
        let (users, items) = (self.users.len(), self.items.len());
        self.interactions.check_within("interactions", users, items)?;
        if let Some(holdout) = &self.holdout {
            holdout.check_within("holdout", users, items)?;
            if let Some(propensities) = &self.propensities {
                propensities.of(holdout).context("the hold-out")?;
            }
        }
        Ok(())
    }
}

pipeline::ports! {
    /// The results.
    pub struct Outputs {
        /// The completed world.
        world: World,
        /// `rmse.train`, `rmse.holdout` and, where a model states its variance, `nll.holdout` an epoch (of several models each
        /// with `.member0` and so on); at the end `rmse.holdout.world`, `mae.holdout.world` and `nll.holdout.world` of the
        /// world's rewards, with propensities also `rmse.holdout.world.ips`.
        curves: Curves,
        /// The calibration on `holdout`; empty without it.
        calibration: Calibration,
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
    let items = Items {
        id: names('i', 8),
        title: names('i', 8),
        year: vec![Some(1990); 8],
        genres: vec![vec![]; 8],
        ..Items::default()
    };
    let users = Users { id: names('u', 6), ..Users::default() };
    let (holdout, propensities, distances, item_scores, item_vectors) = Default::default();
    Inputs { holdout, propensities, distances, item_scores, item_vectors, interactions, items, users }
}

/// With every fifth rating held out and propensities that differ from user to user.
#[cfg(test)]
fn weighted(mut inputs: Inputs) -> Inputs {
    let log = &inputs.interactions;
    let pairs =
        log.user.iter().zip(&log.item).map(|(&user, &item)| (user, item, 0.1 + 0.1 * f64::from(user))).collect();
    inputs.propensities = Some(Propensities::new(pairs).expect("probabilities"));
    let (held, kept): (Vec<usize>, Vec<usize>) = (0..log.len()).partition(|row| row % 5 == 0);
    inputs.holdout = Some(log.take(&held));
    inputs.interactions = log.take(&kept);
    inputs
}
