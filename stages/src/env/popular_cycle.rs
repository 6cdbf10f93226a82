//! A baseline that uses no user and no distance: a cycle over a few popular items.

use anyhow::{Context as _, Result, ensure};
use rand_chacha::ChaCha8Rng;

use super::{Episode, EpisodeAgent};
use crate::artifact::Interactions;

/// Cycles over the `length` items with most high ratings in a log. With one more item than the quit window holds, no repeat ends
/// an episode. Where repeats are masked it goes down the order instead.
pub struct PopularCycle {
    /// Items, most high ratings first; ties go to the lowest id.
    pub order: Vec<u32>,
    /// How many of them it cycles over.
    pub length: usize,
    /// Whether any rating of the log was high enough; else all were counted.
    pub any_high: bool,
}

impl PopularCycle {
    /// The cycle over the `length` items of a catalogue of `items` with most ratings of `at_least` in `log`, from the first of
    /// the order on. (Coat's train log, 8 items and ratings of 4 or 5: 0, 252, 99, 120, 102, 98, 90, 103, without a tie at the
    /// end, which return 77.028 by EasyRL4Rec's protocol; begun elsewhere or in another order at most 77.197.) Where no rating is as
    /// high, as on a scale that ends below it, all are counted.
    ///
    /// # Errors
    /// On a log with items beyond the catalogue, or an empty cycle.
    pub fn new(log: &Interactions, items: usize, at_least: f32, length: usize) -> Result<Self> {
        ensure!(length > 0 && items > 0, "a cycle of no item\nhelp: take one more than `quit_window`");
        let any_high = log.rating.iter().any(|&rating| rating >= at_least);
        let mut counts = vec![0_usize; items];
        for (row, (&item, &rating)) in log.item.iter().zip(&log.rating).enumerate() {
            let count = counts.get_mut(item as usize).with_context(|| {
                format!(
                    "row {row} of the log names item {item} in a catalogue of {items}\nhelp: take both from one ingest stage"
                )
            })?;
            *count += usize::from(rating >= at_least || !any_high);
        }
        let mut order: Vec<u32> = (0..items as u32).collect();
        order.sort_by_key(|&item| (std::cmp::Reverse(counts[item as usize]), item));
        Ok(Self { order, length: length.min(items), any_high })
    }
}

impl EpisodeAgent for PopularCycle {
    type Notes = ();

    fn decide(&self, episode: &Episode, (): &mut (), _: &mut ChaCha8Rng) -> Result<u32> {
        let next = self.order[episode.items.len() % self.length];
        let others = || self.order.iter().copied().find(|&item| episode.allowed(item));
        Ok(if episode.allowed(next) { next } else { others().unwrap_or(next) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::Repeats;
    use crate::env::{cluster_world, play};

    #[test]
    fn it_cycles_over_what_was_rated_high_most_often() {
        let log = Interactions {
            user: (0..6).collect(),
            item: vec![4, 4, 2, 0, 0, 0],
            rating: vec![5.0, 4.0, 4.0, 3.0, 3.0, 5.0],
            timestamp: vec![0; 6],
        };
        let cycle = PopularCycle::new(&log, 6, 4.0, 3).unwrap();
        assert_eq!(cycle.order, [4, 0, 2, 1, 3, 5]);
        let low = PopularCycle::new(&log, 6, 6.0, 3).unwrap();
        assert_eq!((low.order, low.any_high), (vec![0, 4, 2, 1, 3, 5], false), "a scale that ends below counts all");
        // Rewards 5, 4, 3 with a window of 2: the best cycle there is, 120 over 30 turns.
        let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 1);
        let played = play(&world, &[0], &cycle, 1).unwrap();
        assert_eq!(played.items(0)[..4], [4, 0, 2, 4]);
        assert_eq!((played.items(0).len(), played.rewards(0).iter().sum::<f32>()), (30, 120.0));
        world.rules = crate::artifact::QuitRules { repeats: Repeats::MaskedFixedLength, horizon: 6, ..world.rules };
        assert_eq!(play(&world, &[0], &cycle, 1).unwrap().items(0), [4, 0, 2, 1, 3, 5]);
        assert!(
            PopularCycle::new(&log, 4, 4.0, 3).err().unwrap().to_string().contains("row 0 of the log names item 4")
        );
        assert!(PopularCycle::new(&log, 6, 4.0, 0).is_err());
    }
}
