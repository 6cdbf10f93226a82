//! A user: a taste that moves, and thresholds of their own.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::item_law::ItemLaw;
use super::settings::{OF_USERS, Synthetic, normal};
use crate::artifact::Interactions;
use crate::nn::rng;

/// How narrow a taste is.
const CONCENTRATION: f64 = 4.0;
/// Draws after which an unseen item is taken by number.
const DRAWS: usize = 20;
/// The first of January 2015, and three years, in seconds.
const BEGIN: i64 = 1_420_070_400;
const DURATION: f64 = 94_608_000.0;

/// Which items a user has; kept by each thread for user after user.
pub(super) struct Marks(Vec<u32>);

impl Marks {
    /// Of nobody, in a catalogue of `items`.
    pub fn new(items: usize) -> Self {
        Self(vec![u32::MAX; items])
    }
    /// Whether the item is new to the user, who has it from now on.
    fn is_new(&mut self, item: u32, user: u32) -> bool {
        std::mem::replace(&mut self.0[item as usize], user) != user
    }
}

pub(super) struct User {
    number: u32,
    /// What the user table says of k_u.
    pub group: u32,
    /// φ of k_u.
    home: f64,
    /// drift·e_u.
    speed: f64,
    /// β_u.
    bias: f64,
    /// What the user's thresholds are multiplied with.
    spread: f64,
    rng: ChaCha8Rng,
}

impl User {
    pub fn new(law: &Synthetic, number: u32) -> Self {
        let mut draw = rng(&[law.seed, OF_USERS, u64::from(number)]);
        let home = draw.random_range(0..law.clusters as u32);
        let side = if draw.random() { 1.0 } else { -1.0 };
        Self {
            number,
            group: law.noisy(home, &mut draw),
            home: law.angle(home),
            speed: law.drift * side * draw.random_range(0.5..1.5),
            bias: 0.5 * normal(&mut draw),
            spread: (0.3 * normal(&mut draw)).exp(),
            rng: draw,
        }
    }

    /// A_uc(t).
    pub fn affinity(&self, law: &Synthetic, cluster: u32, time: f64) -> f64 {
        let angle = self.home + TAU * self.speed * time - law.angle(cluster);
        (CONCENTRATION * (angle.cos() - 1.0)).exp()
    }

    /// Appends `count` interactions, by time.
    pub fn draw(&self, law: &Synthetic, catalogue: &ItemLaw, count: usize, marks: &mut Marks, log: &mut Interactions) {
        let mut draw = self.rng.clone();
        let first = draw.random_range(0.0..0.5);
        let mut times: Vec<f64> = (0..count).map(|_| draw.random_range(first..1.0)).collect();
        times.sort_unstable_by(f64::total_cmp);
        let mut affinities = vec![0.0; law.clusters];
        for time in times {
            let mut total = 0.0;
            for (cluster, affinity) in affinities.iter_mut().enumerate() {
                *affinity = self.affinity(law, cluster as u32, time);
                total += *affinity;
            }
            let item = self.choose(law, catalogue, &affinities, total, marks, &mut draw);
            let cluster = catalogue.cluster[item as usize];
            let fashion = 1.0 + 0.5 * (TAU * (time + f64::from(cluster) / law.clusters as f64)).cos();
            let utility = f64::from(catalogue.quality[item as usize])
                + self.bias
                + 3.0 * (affinities[cluster as usize] - 0.5) * fashion
                + 3.0 * law.noise * normal(&mut draw);
            log.user.push(self.number);
            log.item.push(item);
            log.rating.push(self.rating(law, utility));
            log.timestamp.push(BEGIN + (DURATION * time) as i64);
        }
    }

    /// An item that the user does not have.
    fn choose(
        &self,
        law: &Synthetic,
        catalogue: &ItemLaw,
        affinities: &[f64],
        total: f64,
        marks: &mut Marks,
        draw: &mut impl Rng,
    ) -> u32 {
        for _ in 0..DRAWS {
            let item = if draw.random_bool(law.noise) {
                catalogue.draw(draw)
            } else {
                let mut left = total * draw.random::<f64>();
                let over = |affinity: &f64| {
                    left -= affinity;
                    left < 0.0
                };
                // Rounding can leave a rest behind the last cluster.
                let cluster = affinities.iter().position(over).unwrap_or(affinities.len() - 1);
                catalogue.draw_of(cluster, draw)
            };
            if marks.is_new(item, self.number) {
                return item;
            }
        }
        // A user has at most half of the catalogue, so that one is found.
        let items = catalogue.cluster.len() as u32;
        let mut item = draw.random_range(0..items);
        while !marks.is_new(item, self.number) {
            item = (item + 1) % items;
        }
        item
    }

    /// 1 + the number of thresholds below the utility.
    fn rating(&self, law: &Synthetic, utility: f64) -> f32 {
        let last = law.rating_levels.saturating_sub(2).max(1) as f64;
        // With one threshold it is 0.
        let threshold = |k: usize| if law.rating_levels == 2 { 0.0 } else { 3.0 * k as f64 / last - 1.5 };
        let below = |k: &usize| threshold(*k) * self.spread < utility;
        1.0 + (0..law.rating_levels - 1).filter(below).count() as f32
    }
}
