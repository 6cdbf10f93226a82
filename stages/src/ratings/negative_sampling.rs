//! What a user did not rate, drawn to be fitted with target 0.
//!
//! EasyRL4Rec fits its user models so: what nobody chose to rate then counts as bad. It mixes taste with exposure, so it is off
//! by default.

use rand::{Rng, RngExt};

use crate::artifact::Interactions;

/// The items that each user rated, sorted.
#[derive(Clone, Debug, PartialEq)]
pub struct NegativeSampler {
    rated: Vec<Vec<u32>>,
    items: usize,
}

impl NegativeSampler {
    /// That of `log`.
    #[must_use]
    pub fn new(log: &Interactions, users: usize, items: usize) -> Self {
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

    /// The same without `items`, which nobody can draw.
    #[must_use]
    pub fn never(mut self, items: &[u32]) -> Self {
        for list in self.rated.iter_mut().filter(|_| !items.is_empty()) {
            list.extend(items);
            list.sort_unstable();
            list.dedup();
        }
        self
    }

    /// How often each item is drawn on average, when one is drawn for every row of `log`.
    #[must_use]
    pub fn expected(&self, log: &Interactions) -> Vec<f64> {
        let mut rows = vec![0.0; self.rated.len()];
        log.user.iter().for_each(|&user| rows[user as usize] += 1.0);
        let share = |user: usize| match self.items - self.rated[user].len() {
            0 => 0.0,
            left => rows[user] / left as f64,
        };
        let of_all: f64 = (0..rows.len()).map(share).sum();
        let mut expected = vec![of_all; self.items];
        for (user, rated) in self.rated.iter().enumerate() {
            rated.iter().for_each(|&item| expected[item as usize] -= share(user));
        }
        expected
    }

    /// How many items can be drawn for a user.
    #[must_use]
    pub fn left(&self, user: u32) -> usize {
        self.items - self.rated[user as usize].len()
    }

    /// One of the items that the user did not rate, each equally likely; none where all are rated.
    pub fn draw(&self, user: u32, rng: &mut impl Rng) -> Option<u32> {
        let (rated, left) = (&self.rated[user as usize], self.left(user));
        if left == 0 {
            return None;
        }
        let place = rng.random_range(0..left as u32);
        // Before rated[k] lie rated[k] − k items that are not rated.
        let (mut below, mut end) = (0, rated.len());
        while below < end {
            let middle = usize::midpoint(below, end);
            if rated[middle] - middle as u32 <= place { below = middle + 1 } else { end = middle }
        }
        Some(place + below as u32)
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

    #[test]
    fn a_draw_is_the_item_at_its_place_among_those_not_rated() {
        let rated: Vec<u32> = (0..200).filter(|item| item % 3 == 0 || (40..90).contains(item)).collect();
        let count = rated.len();
        let log = Interactions {
            user: vec![0; count],
            item: rated.clone(),
            rating: vec![1.0; count],
            timestamp: vec![0; count],
        };
        let negatives = NegativeSampler::new(&log, 1, 200);
        let free: Vec<u32> = (0..200).filter(|item| !rated.contains(item)).collect();
        assert_eq!(negatives.left(0), free.len());
        let (mut draw, mut same) = (rng(&[3]), rng(&[3]));
        for _ in 0..500 {
            let place = same.random_range(0..free.len() as u32);
            assert_eq!(negatives.draw(0, &mut draw), Some(free[place as usize]));
        }
    }

    #[test]
    fn what_is_excluded_is_never_drawn_and_expectations_are_those_of_the_draws() {
        let log =
            Interactions { user: vec![0, 0, 1], item: vec![0, 1, 1], rating: vec![1.0; 3], timestamp: vec![0; 3] };
        let negatives = NegativeSampler::new(&log, 2, 5).never(&[4]);
        // User 0 draws twice among 2 and 3, user 1 once among 0, 2 and 3.
        let expected = negatives.expected(&log);
        let wanted = [1.0 / 3.0, 0.0, 4.0 / 3.0, 4.0 / 3.0, 0.0];
        assert!(expected.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{expected:?}");
        let mut draw = rng(&[2]);
        assert!((0..200).all(|_| [0, 2, 3].contains(&negatives.draw(1, &mut draw).unwrap())));
    }
}
