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

/// What one user likes, best first. Items are called by their place among those that the plan is made of.
pub(super) struct ItemScores<'w> {
    /// `[N]`.
    rewards: Cow<'w, [f32]>,
    /// The items that the plan is made of, by number, where they are not all.
    pub best_items: Option<Vec<u32>>,
    /// What the best of the others pays, if that is enough for the user to stay.
    others: Option<f64>,
    /// The items by reward, best first; ties go to the lowest number.
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
    /// Of the best `most` items of a user and of `beside`, or of all where there are no more.
    pub fn of(world: &'w World, user: u32, most: usize, beside: &[u32]) -> Self {
        let mut rewards = world.rewards_of(user);
        let low = world.rules.quit_below.unwrap_or(f32::NEG_INFINITY);
        let (mut best_items, mut others) = (None, None);
        if rewards.len() > most {
            let mut items: Vec<u32> = (0..rewards.len() as u32).collect();
            let best_first = |&a: &u32, &b: &u32| rewards[b as usize].total_cmp(&rewards[a as usize]).then(a.cmp(&b));
            let (_, &mut next, _) = items.select_nth_unstable_by(most, best_first);
            others = Some(rewards[next as usize]).filter(|&reward| reward >= low).map(f64::from);
            items.truncate(most);
            items.extend(beside);
            items.sort_unstable();
            items.dedup();
            rewards = items.iter().map(|&item| rewards[item as usize]).collect();
            best_items = Some(items);
        }
        let mut order: Vec<u32> = (0..rewards.len() as u32).collect();
        order.sort_by(|&a, &b| rewards[b as usize].total_cmp(&rewards[a as usize]).then(a.cmp(&b)));
        let stays = order.partition_point(|&item| rewards[item as usize] >= low);
        Self { rewards, best_items, others, order, stays }
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
        let mut sets: Vec<Set> = (1..=largest).map(set).collect();
        if let Some(others) = self.others {
            // Some of these items, and of the others any, as often as wanted and beside whatever.
            let bounds: Vec<f64> = std::iter::once(0.0).chain(sets.iter().map(|set| set.bound)).collect();
            for (k, set) in sets.iter_mut().enumerate() {
                let mixed = (0..=k).map(|some| bounds[some] + (k + 1 - some) as f64 * others);
                set.bound = mixed.fold(set.bound, f64::max);
            }
        }
        sets
    }
}

/// A search for one set.
struct Search<'a> {
    scores: &'a ItemScores<'a>,
    pairs: &'a CompatiblePairs<'a>,
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
