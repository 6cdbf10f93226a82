//! The popularity of items in a log.

use anyhow::{Result, ensure};

use crate::artifact::Interactions;

/// The usual `prior`.
pub const USUAL_PRIOR: f64 = 5.0;

/// The shrunken mean rating (Σ ratings + m·μ) / (n + m) of each item, with μ the log's mean rating: the posterior mean of a
/// normal model. An item without ratings stands at μ; at m = 0, the plain mean, it stands at 0. Where all ratings are one, such as in
/// a log without any, what is popular is what was rated most often.
#[derive(Clone, Debug, PartialEq)]
pub struct Popularity {
    /// One value an item, on the log's rating scale.
    pub mean: Vec<f64>,
    /// How often each item was rated, where all ratings of the log are this one.
    pub of_one_rating: Option<(f32, Vec<f64>)>,
}

impl Popularity {
    /// The popularity of a catalogue of `items` in that log; `prior` is m, the ratings at the global mean that every item is
    /// given beside its own, so that one lucky rating makes nobody popular.
    ///
    /// # Errors
    /// On an empty log, or one with items beyond the catalogue.
    pub fn of(log: &Interactions, items: usize, prior: f64) -> Result<Self> {
        ensure!(!log.is_empty(), "no interaction to compute popularity from\nhelp: connect the train part of a split");
        let (mut sums, mut counts) = (vec![0.0; items], vec![0.0; items]);
        for (row, (&item, &rating)) in log.item.iter().zip(&log.rating).enumerate() {
            ensure!(
                (item as usize) < items,
                "row {row} of the log names item {item} in a catalogue of {items}\nhelp: take both from one ingest stage"
            );
            sums[item as usize] += f64::from(rating);
            counts[item as usize] += 1.0;
        }
        let global = sums.iter().sum::<f64>() / log.len() as f64;
        let mean = |(sum, count): (&f64, &f64)| {
            let all: f64 = count + prior;
            if all > 0.0 { (sum + prior * global) / all } else { 0.0 }
        };
        let mean = sums.iter().zip(&counts).map(mean).collect();
        let one = log.rating.iter().all(|rating| *rating == log.rating[0]);
        Ok(Self { mean, of_one_rating: one.then_some((log.rating[0], counts)) })
    }

    /// All items, most popular first; ties go to the lowest id.
    #[must_use]
    pub fn order(&self) -> Vec<u32> {
        let by = self.of_one_rating.as_ref().map_or(&self.mean, |(_, counts)| counts);
        let mut order: Vec<u32> = (0..by.len() as u32).collect();
        order.sort_by(|&a, &b| by[b as usize].total_cmp(&by[a as usize]).then(a.cmp(&b)));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_ratings_are_drawn_to_the_mean() {
        // μ = 26/8 = 3.25. Item 0: one 5 → (5 + 16.25)/6. Item 2: six ratings that sum to 20 → (20 + 16.25)/11.
        let log = Interactions {
            user: (0..8).collect(),
            item: vec![0, 2, 2, 2, 2, 2, 2, 3],
            rating: vec![5.0, 4.0, 4.0, 4.0, 4.0, 2.0, 2.0, 1.0],
            timestamp: vec![0; 8],
        };
        let popularity = Popularity::of(&log, 5, 5.0).unwrap();
        let expected = [21.25 / 6.0, 3.25, 36.25 / 11.0, 17.25 / 6.0, 3.25];
        for (found, expected) in popularity.mean.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        }
        assert_eq!(popularity.order(), [0, 2, 1, 4, 3]);
        let all_one = Interactions { rating: vec![1.0; 8], ..log.clone() };
        assert_eq!(Popularity::of(&all_one, 5, 5.0).unwrap().order(), [2, 0, 3, 1, 4], "by how often, not by number");
        assert_eq!(Popularity::of(&log, 5, 0.0).unwrap().mean, [5.0, 0.0, 20.0 / 6.0, 1.0, 0.0]);
        assert!(Popularity::of(&log, 3, 5.0).unwrap_err().to_string().contains("row 7 of the log names item 3"));
        assert!(Popularity::of(&Interactions::default(), 3, 5.0).is_err());
    }
}
