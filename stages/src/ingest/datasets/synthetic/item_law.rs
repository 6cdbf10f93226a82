//! The items: their cluster, popularity and quality.

use rand::Rng;
use rand::seq::SliceRandom;

use super::alias::Alias;
use super::settings::{OF_ITEMS, Synthetic, normal};
use crate::nn::rng;

/// What is added to a rank, so that the first items do not take everything.
const OFFSET: f64 = 10.0;

pub(super) struct ItemLaw {
    /// Of each item, its cluster.
    pub cluster: Vec<u32>,
    /// Of each item, β_i.
    pub quality: Vec<f32>,
    /// Of each item, its rank, 0 for the most popular one.
    #[cfg(test)]
    pub rank: Vec<u32>,
    /// All items by rank, and their distribution.
    by_rank: Vec<u32>,
    of_all: Alias,
    /// The items of each cluster by rank, and their distribution.
    of_cluster: Vec<(Vec<u32>, Alias)>,
}

impl ItemLaw {
    pub fn new(law: &Synthetic) -> Self {
        let mut draw = rng(&[law.seed, OF_ITEMS]);
        let mut by_rank: Vec<u32> = (0..law.items as u32).collect();
        by_rank.shuffle(&mut draw);
        let weight = |rank: usize| (rank as f64 + OFFSET).powf(-law.popularity_exponent);
        let mut cluster = vec![0; law.items];
        let mut members = vec![(Vec::new(), Vec::new()); law.clusters];
        let mut clusters: Vec<u32> = (0..law.clusters as u32).collect();
        for (rank, &item) in by_rank.iter().enumerate() {
            if rank % law.clusters == 0 {
                clusters.shuffle(&mut draw);
            }
            let own = clusters[rank % law.clusters];
            cluster[item as usize] = own;
            let (items, weights) = &mut members[own as usize];
            items.push(item);
            weights.push(weight(rank));
        }
        Self {
            cluster,
            quality: (0..law.items).map(|_| (0.5 * normal(&mut draw)) as f32).collect(),
            #[cfg(test)]
            rank: {
                let mut rank = vec![0; law.items];
                by_rank.iter().zip(0..).for_each(|(&item, place)| rank[item as usize] = place);
                rank
            },
            of_all: Alias::new(&(0..law.items).map(weight).collect::<Vec<_>>()),
            by_rank,
            of_cluster: members.into_iter().map(|(items, weights)| (items, Alias::new(&weights))).collect(),
        }
    }

    /// An item by popularity.
    pub fn draw(&self, draw: &mut impl Rng) -> u32 {
        self.by_rank[self.of_all.draw(draw)]
    }

    /// An item of a cluster by popularity.
    pub fn draw_of(&self, cluster: usize, draw: &mut impl Rng) -> u32 {
        let (items, alias) = &self.of_cluster[cluster];
        items[alias.draw(draw)]
    }
}
