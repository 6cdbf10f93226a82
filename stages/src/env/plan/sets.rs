//! The best items that may stand in one window together: maximum-weight independent sets of k items, by branch and bound.
//!
//! Items are tried best first. From a place in that order on, k more items pay at most what the k best that are still free pay;
//! a branch that cannot pass what was found by that is cut. Conflicts are few beside items, so the first sets are near the best
//! and cut nearly everything: on Coat's 300 items a set takes 6 branches on average.

use std::borrow::Cow;

use super::pairs::{Bits, CompatiblePairs, has};
use crate::artifact::World;

/// Branches after which a search ends with what it has, and with what its open branches may still hold as the bound. Far more
/// than benchmarks need: with 14 % of Coat's pairs in conflict a set takes 8 on average, and with 40 % some reach it.
const MOST: u64 = 20_000;

/// What one user likes, best first.
pub(super) struct ItemScores<'w> {
    /// `[I]`.
    rewards: Cow<'w, [f32]>,
    /// All items by reward, best first; ties go to the lowest id.
    pub order: Vec<u32>,
    /// How many of `order` pay enough for the user to stay.
    stays: usize,
}

/// The best set of k items.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    /// Best first; none where no k items may stand together.
    pub items: Vec<u32>,
    /// What no set of k items exceeds; −∞ where there is none.
    pub bound: f64,
}

impl<'w> ItemScores<'w> {
    pub fn of(world: &'w World, user: u32) -> Self {
        let rewards = world.rewards_of(user);
        let mut order: Vec<u32> = (0..rewards.len() as u32).collect();
        order.sort_by(|&a, &b| rewards[b as usize].total_cmp(&rewards[a as usize]).then(a.cmp(&b)));
        let low = world.rules.quit_below.unwrap_or(f32::NEG_INFINITY);
        let stays = order.partition_point(|&item| rewards[item as usize] >= low);
        Self { rewards, order, stays }
    }

    /// What an item pays.
    pub fn reward(&self, item: u32) -> f64 {
        f64::from(self.rewards[item as usize])
    }

    /// What the best item pays.
    pub fn best(&self) -> f64 {
        self.order.first().map_or(f64::NEG_INFINITY, |&item| self.reward(item))
    }

    /// The items that drive nobody away by themselves, best first.
    pub fn acceptable(&self) -> &[u32] {
        &self.order[..self.stays]
    }

    /// The best sets of 1, 2, …, `largest` items that drive nobody away, neither by themselves nor together.
    pub fn best_sets(&self, pairs: &CompatiblePairs, largest: usize) -> Vec<Set> {
        let set = |k: usize| {
            let found = Set { items: Vec::new(), bound: f64::NEG_INFINITY };
            let mut search =
                Search { scores: self, pairs, chosen: Vec::new(), found, open: f64::NEG_INFINITY, branches: 0 };
            search.branch(0, pairs.all(), k, 0.0);
            search.found.bound = search.found.bound.max(search.open);
            search.found
        };
        (1..=largest).map(set).collect()
    }
}

/// A search for one set.
struct Search<'a> {
    scores: &'a ItemScores<'a>,
    pairs: &'a CompatiblePairs,
    chosen: Vec<u32>,
    found: Set,
    /// What branches that were never tried may pay.
    open: f64,
    branches: u64,
}

impl Search<'_> {
    /// Chooses `left` more items among those in `free` from place `from` of the order on; those chosen pay `sum`.
    fn branch(&mut self, from: usize, free: Bits, left: usize, sum: f64) {
        self.branches += 1;
        if left == 0 {
            if sum > self.found.bound {
                self.found = Set { items: self.chosen.clone(), bound: sum };
            }
            return;
        }
        let mut from = from;
        while let Some((place, most)) = self.most(from, &free, left) {
            if sum + most <= self.found.bound {
                return;
            }
            if self.branches > MOST {
                self.open = self.open.max(sum + most);
                return;
            }
            let item = self.scores.order[place];
            let mut next = free.clone();
            self.pairs.keep(&mut next, item);
            self.chosen.push(item);
            // One that may stand there twice is still free, and tried again.
            self.branch(place, next, left - 1, sum + self.scores.reward(item));
            self.chosen.pop();
            from = place + 1;
        }
    }

    /// The first free place from `from` on, and what `left` free items from there on pay at most; none where there are fewer.
    fn most(&self, from: usize, free: &Bits, left: usize) -> Option<(usize, f64)> {
        let (mut first, mut sum, mut missing) = (None, 0.0, left);
        for (place, &item) in self.scores.acceptable().iter().enumerate().skip(from) {
            if has(free, item) {
                first = first.or(Some(place));
                let times = if self.pairs.repeatable(item) { missing } else { 1 };
                sum += self.scores.reward(item) * times as f64;
                missing -= times;
                if missing == 0 {
                    return first.map(|first| (first, sum));
                }
            }
        }
        None
    }
}
