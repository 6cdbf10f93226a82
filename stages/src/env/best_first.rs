//! The items of a user from the best on, ordered as far as they are asked for.

use std::cmp::Ordering;

/// Items that are ordered first; each next time as many as are ordered already.
const FIRST: usize = 64;

/// A descent through a user's rewards: one that ends early orders few of many items.
pub struct BestFirst {
    rewards: Vec<f32>,
    /// All items, the first `ordered` of them best first.
    items: Vec<u32>,
    ordered: usize,
}

impl BestFirst {
    /// Of the rewards of all items, `[I]`.
    pub(super) fn of(rewards: &[f32]) -> Self {
        Self { rewards: rewards.to_vec(), items: (0..rewards.len() as u32).collect(), ordered: 0 }
    }

    /// The first for which `wanted` holds, best first; ties go to the lowest number.
    pub(super) fn find(&mut self, wanted: impl Fn(u32) -> bool) -> Option<u32> {
        let mut place = 0;
        while place < self.items.len() {
            if place == self.ordered {
                self.order_more();
            }
            if wanted(self.items[place]) {
                return Some(self.items[place]);
            }
            place += 1;
        }
        None
    }

    fn order_more(&mut self) {
        let rewards = &self.rewards;
        let better = |&a: &u32, &b: &u32| descending(rewards[a as usize], rewards[b as usize]).then(a.cmp(&b));
        let rest = &mut self.items[self.ordered..];
        let more = self.ordered.max(FIRST).min(rest.len());
        if more < rest.len() {
            rest.select_nth_unstable_by(more, better);
        }
        rest[..more].sort_unstable_by(better);
        self.ordered += more;
    }
}

/// The larger first; −0 and 0 are equal.
fn descending(a: f32, b: f32) -> Ordering {
    (b + 0.0).total_cmp(&(a + 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_is_wanted_is_that_of_a_search_through_all() {
        // Many ties, in more than one part, and two zeros.
        let rewards: Vec<f32> = (0..1000).map(|k| [(k * 7919 % 53) as f32, -0.0, 0.0][k % 3]).collect();
        for start in [0, 3, 40, 700, 999, 1000] {
            let mut best = BestFirst::of(&rewards);
            let mut left: Vec<u32> = (start..1000).collect();
            for _ in 0..10 {
                let wanted = left
                    .iter()
                    .copied()
                    .reduce(|b, item| if rewards[item as usize] > rewards[b as usize] { item } else { b });
                assert_eq!(best.find(|item| left.contains(&item)), wanted);
                left.retain(|item| Some(*item) != wanted);
            }
        }
        assert_eq!(BestFirst::of(&[]).find(|_| true), None);
    }

    #[test]
    fn what_is_not_asked_for_is_not_ordered() {
        let rewards: Vec<f32> = (0..10_000).map(|k| (k * 7919 % 10_007) as f32).collect();
        let mut best = BestFirst::of(&rewards);
        let top = best.find(|_| true).unwrap();
        assert!(rewards.iter().all(|&reward| reward <= rewards[top as usize]));
        assert_eq!(best.ordered, FIRST);
        assert!(best.find(|_| false).is_none() && best.ordered == 10_000);
    }
}
