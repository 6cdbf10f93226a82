//! The settings of `ingest.synthetic`, and what they say of clusters.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The draws of items and of users, among those of `nn::rng`.
pub(super) const OF_ITEMS: u64 = 0x5e71;

pub(super) const OF_USERS: u64 = 0x5e72;

pub(super) const OF_ACTIVITY: u64 = 0x5e73;

pub(super) const GENRES: [&str; 16] = [
    "Drama",
    "Comedy",
    "Action",
    "War",
    "Romance",
    "Horror",
    "Thriller",
    "Musical",
    "Western",
    "Mystery",
    "Fantasy",
    "Crime",
    "Animation",
    "Adventure",
    "Documentary",
    "Sport",
];

/// `ingest.synthetic`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Synthetic {
    /// Number of users.
    pub users: usize,
    /// Number of items.
    pub items: usize,
    /// Number of interactions, at least one a user and at most a quarter of all pairs. A user gets at most half of the catalogue;
    /// what is beyond is left out.
    pub interactions: usize,
    /// C, the clusters of items, 2 to 64. 16 by default.
    #[serde(default = "Synthetic::default_clusters")]
    pub clusters: usize,
    /// s, the exponent of the popularity of items by their rank, 0 (all alike) or more. 1 by default, Zipf's law.
    #[serde(default = "Synthetic::default_popularity_exponent")]
    pub popularity_exponent: f64,
    /// How far tastes move over the whole log, in turns of the circle of clusters, 0 or more. 0.25 by default.
    #[serde(default = "Synthetic::default_drift")]
    pub drift: f64,
    /// How much is random, 0 to 1: the share of choices, genres and groups that do not follow the structure, and a third of the
    /// deviation of what is rated. 0.2 by default.
    #[serde(default = "Synthetic::default_noise")]
    pub noise: f64,
    /// L: ratings are 1 to L, at most 100. With 1 the log says only what was chosen. 5 by default.
    #[serde(default = "Synthetic::default_rating_levels")]
    pub rating_levels: usize,
    /// Seed of all draws.
    #[serde(default)]
    pub seed: u64,
}

/// A draw from N(0, 1) (Box & Muller 1958).
pub(super) fn normal(draw: &mut impl Rng) -> f64 {
    let (radius, angle): (f64, f64) = (draw.random(), draw.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos()
}
