//! What a user did not rate, drawn to be fitted with target 0.
//!
//! EasyRL4Rec fits its user models so: what nobody chose to rate then counts as bad. It mixes taste with exposure, so it is off
//! by default.

use rand::{Rng, RngExt};

use crate::artifact::Interactions;

/// The items that each user rated, sorted.
pub(super) struct NegativeSampler {
    rated: Vec<Vec<u32>>,
    items: usize,
}

impl NegativeSampler {
    pub(super) fn new(log: &Interactions, users: usize, items: usize) -> Self {
        let mut rated = vec![Vec::new(); users];
        for (&user, &item) in log.user.iter().zip(&log.item) {
            rated[user as usize].push(item);
        }
        for list in &mut rated {
            list.sort_unstable();
            list.dedup();
        }
        Self { rated, items }
    }

    /// One of the items that the user did not rate, each equally likely; none where all are rated.
    pub(super) fn draw(&self, user: u32, rng: &mut impl Rng) -> Option<u32> {
        let rated = &self.rated[user as usize];
        let left = self.items - rated.len();
        if left == 0 {
            return None;
        }
        let mut item = rng.random_range(0..left as u32);
        for &taken in rated {
            item += u32::from(taken <= item);
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::rng;

    #[test]
    fn only_what_is_not_rated_is_drawn_and_all_of_it() {
        let log = Interactions {
            user: vec![0, 0, 0, 0, 1, 1],
            item: vec![4, 1, 1, 0, 0, 1],
            rating: vec![1.0; 6],
            timestamp: vec![0; 6],
        };
        let negatives = NegativeSampler::new(&log, 3, 6);
        let mut draw = rng(&[1]);
        let mut counts = [0; 6];
        for _ in 0..300 {
            counts[negatives.draw(0, &mut draw).unwrap() as usize] += 1;
        }
        assert!(counts[0] + counts[1] + counts[4] == 0 && [2, 3, 5].iter().all(|&k| counts[k] > 70), "{counts:?}");
        assert_eq!(NegativeSampler::new(&log, 3, 2).draw(1, &mut draw), None);
    }
}
