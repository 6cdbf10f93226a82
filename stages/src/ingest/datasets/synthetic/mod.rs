//! `ingest.synthetic`: a log of known structure, of any size.
//!
//! Clusters of items lie on a circle, cluster c of C at the angle φ_c = 2πc/C. A user's taste is an angle that moves: over the log's
//! time t from 0 to 1,
//!
//! ```text
//! θ_u(t) = φ_{k_u} + 2π·drift·e_u·t,   e_u uniform in ±[½, 3/2],   k_u uniform over the clusters;
//! A_uc(t) = exp(4·(cos(θ_u(t) − φ_c) − 1))                                     the affinity, 1 at the centre of the taste.
//! ```
//!
//! *What is chosen.* The item of rank r = 0, 1, … has the weight w = (r + 10)^−s (Zipf–Mandelbrot, s = `popularity_exponent`). With the
//! probability `noise` an item is drawn by w from the whole catalogue, else a cluster by A_uc(t) and an item by w within it. Nobody
//! gets an item twice: it is drawn again, and after 20 draws the next item by number is taken. Of successive ranks each cluster gets
//! one in C, so that clusters are about equally popular.
//!
//! *How it is rated.* An ordered probit whose thresholds are the user's own (McKelvey & Zavoina 1975), with an affinity whose weight
//! goes around the circle once in the log's time:
//!
//! ```text
//! z = β_i + β_u + 3·(A_uc(t) − ½)·(1 + ½·cos 2π(t + c/C)) + 3·noise·ε,   β_i, β_u ~ N(0, ½²), ε ~ N(0, 1);
//! rating = 1 + the number of thresholds below z;   L − 1 thresholds from −3/2 to 3/2, times exp(0.3·N(0, 1)) of the user.
//! ```
//!
//! Neither a bilinear model of user and item nor a network on their embeddings and genres is of this family: they know no time, and
//! the same user's taste has moved; thresholds and the affinity's kernel are no sums of products.
//!
//! *How much, and when.* A user gets at least min(5, mean) interactions and a share of the rest in proportion to a log-normal
//! activity exp(N(0, 1)), at most half of the catalogue. The times are uniform from the user's first day, in the first half of the
//! log, to its end, three years after the first of January 2015.
//!
//! *What the tables say.* An item's genre is the name of its cluster, and with the probability `noise` of any; every other item has the
//! next cluster's genre, too. A user's `group` is the genre of k_u, and with the probability `noise` any.

mod alias;
mod item_law;
mod settings;
mod user;

use std::f64::consts::TAU;

use anyhow::Result;
use pipeline::{Context, MemoryNeed, Sizes, Stage};
use rand::{Rng, RngExt};
use rayon::prelude::*;

use crate::artifact::{Interactions, Items, Users};
use crate::ingest::{NoInputs, Outputs};
use crate::nn::rng;
use item_law::ItemLaw;
pub use settings::Synthetic;
use settings::{GENRES, OF_ACTIVITY, OF_ITEMS, normal};
use user::{Marks, User};

/// Users a block. Blocks are made in parallel, as many at once as keep all threads at work, and appended in order.
const BLOCK: usize = 1024;
impl Synthetic {
    fn default_clusters() -> usize {
        16
    }
    fn default_popularity_exponent() -> f64 {
        1.0
    }
    fn default_drift() -> f64 {
        0.25
    }
    fn default_noise() -> f64 {
        0.2
    }
    fn default_rating_levels() -> usize {
        5
    }

    /// φ_c.
    fn angle(&self, cluster: u32) -> f64 {
        TAU * f64::from(cluster) / self.clusters as f64
    }

    fn genre(cluster: u32) -> String {
        let name = GENRES.get(cluster as usize).copied().map(str::to_owned);
        name.unwrap_or_else(|| format!("Genre {}", cluster + 1))
    }

    /// The cluster itself, or with the probability `noise` any.
    fn noisy(&self, cluster: u32, draw: &mut impl Rng) -> u32 {
        if draw.random_bool(self.noise) { draw.random_range(0..self.clusters as u32) } else { cluster }
    }

    /// How many interactions each user gets.
    fn activity(&self) -> Vec<usize> {
        let least = (self.interactions / self.users).min(5);
        let rest = (self.interactions - least * self.users) as f64;
        let mut draw = rng(&[self.seed, OF_ACTIVITY]);
        let activity: Vec<f64> = (0..self.users).map(|_| normal(&mut draw).exp()).collect();
        let total: f64 = activity.iter().sum();
        let (mut so_far, mut given) = (0.0, 0);
        let share = |activity: f64| {
            so_far += activity;
            // Rounding what all users so far get keeps the sum.
            let until = (rest * (so_far / total)).round() as usize;
            (least + until - std::mem::replace(&mut given, until)).min(self.items / 2)
        };
        activity.into_iter().map(share).collect()
    }

    fn items(&self, catalogue: &ItemLaw) -> Items {
        let mut draw = rng(&[self.seed, OF_ITEMS, 1]);
        let genres = |(item, &cluster): (usize, &u32)| {
            let mut genres = vec![Self::genre(self.noisy(cluster, &mut draw))];
            let next = Self::genre((cluster + 1) % self.clusters as u32);
            if item % 2 == 1 && genres[0] != next {
                genres.push(next);
            }
            genres
        };
        let genres: Vec<Vec<String>> = catalogue.cluster.iter().enumerate().map(genres).collect();
        Items {
            id: (0..self.items).map(|item| item.to_string()).collect(),
            title: genres.iter().enumerate().map(|(item, genres)| format!("{} {item}", genres[0])).collect(),
            year: vec![None; self.items],
            genres,
            ..Items::default()
        }
    }
}

impl Stage for Synthetic {
    const KIND: &'static str = "ingest.synthetic";
    /// 1: first.
    const VERSION: u32 = 1;
    const ABOUT: &'static str =
        "make a log of known structure: a power law, clusters of taste that drift, ordinal ratings";
    type Inputs = NoInputs;
    type Outputs = Outputs;

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |setting: &str, wanted: String| Err((setting.to_owned(), wanted));
        let number = |value: f64| value >= 0.0 && value.is_finite();
        // Numbers of users and items are 32 bits wide.
        if !(1..=u32::MAX as usize).contains(&self.users) {
            return wrong("users", "at least one user, and no more than 4,294,967,295".into());
        }
        if !(2..=64).contains(&self.clusters) {
            return wrong("clusters", "2 to 64 clusters".into());
        }
        if !(self.clusters..=u32::MAX as usize).contains(&self.items) {
            return wrong("items", format!("at least one item a cluster, {}", self.clusters));
        }
        let most = self.users.saturating_mul(self.items) / 4;
        if !(self.users..=most).contains(&self.interactions) {
            let wanted = format!("at least one a user and at most a quarter of all pairs: {} to {most}", self.users);
            return wrong("interactions", wanted);
        }
        if !number(self.popularity_exponent) {
            return wrong("popularity_exponent", "0 or more".into());
        }
        if !number(self.drift) {
            return wrong("drift", "0 or more turns".into());
        }
        if !(0.0..=1.0).contains(&self.noise) {
            return wrong("noise", "a share between 0 and 1".into());
        }
        if !(1..=100).contains(&self.rating_levels) {
            return wrong("rating_levels", "1 to 100 levels".into());
        }
        Ok(())
    }

    fn sizes(&self, _: &Sizes) -> Sizes {
        let users_and_items = Sizes::of("users", self.users).and(Sizes::of("items", self.items));
        users_and_items.and(Sizes::of("interactions", self.interactions))
    }

    fn memory(&self, _: &Sizes) -> Option<MemoryNeed> {
        let need = MemoryNeed::new("lower `interactions`, `users` or `items`");
        // As they are drawn and as they are written.
        let need = need.table("interactions", &[self.interactions as u64], 40);
        // Ids, titles and genres are texts of their own; an alias table and a place in each of two orders.
        Some(need.table("items", &[self.items as u64], 250).table("users", &[self.users as u64], 100))
    }

    fn run(&self, _: NoInputs, cx: &Context) -> Result<Outputs> {
        let catalogue = ItemLaw::new(self);
        let activity = self.activity();
        let total = activity.iter().sum();
        let mut log = Interactions {
            user: Vec::with_capacity(total),
            item: Vec::with_capacity(total),
            rating: Vec::with_capacity(total),
            timestamp: Vec::with_capacity(total),
        };
        let mut users = Users::default();
        let mut groups = Vec::with_capacity(self.users);
        let bar = cx.bar("draw", Some(total as u64), "rows");
        let blocks: Vec<usize> = (0..self.users).step_by(BLOCK).collect();
        for wave in blocks.chunks(8 * rayon::current_num_threads()) {
            let block = |marks: &mut Marks, &first: &usize| {
                cx.check_cancelled()?;
                let mut part = (Interactions::default(), Vec::new());
                for (user, &count) in activity.iter().enumerate().skip(first).take(BLOCK) {
                    let user = User::new(self, user as u32);
                    user.draw(self, &catalogue, count, marks, &mut part.0);
                    part.1.push(user.group);
                }
                bar.inc(part.0.len() as u64);
                anyhow::Ok(part)
            };
            let parts: Vec<_> = wave.par_iter().map_init(|| Marks::new(self.items), block).collect::<Result<_>>()?;
            for (part, group) in parts {
                log.user.extend(part.user);
                log.item.extend(part.item);
                log.rating.extend(part.rating);
                log.timestamp.extend(part.timestamp);
                groups.extend(group.into_iter().map(Self::genre));
            }
        }
        drop(bar);
        users.id = (0..self.users).map(|user| user.to_string()).collect();
        users.features.insert("group".into(), groups);
        let outputs = Outputs { interactions: log, items: self.items(&catalogue), users };
        outputs.note_counts(cx);
        Ok(outputs)
    }
}

#[cfg(test)]
mod tests;
