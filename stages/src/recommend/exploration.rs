//! The draw of the first item of an answer, and the probability of every place.
//!
//! The first item f is drawn; the best of the others follow. With g₁, g₂, … the items from the best down, and C_m = Σ_{j≤m} P(f = g_j),
//! the item at place k > 1 is g_k where f is among the best k − 1, and g_{k−1} elsewhere:
//! P(g_k at k) = C_{k−1} and P(g_{k−1} at k) = 1 − C_{k−1}.

use pipeline::recommend::Explore;

use crate::nn::MASKED_LOGIT;

/// The law of the first item.
pub(super) struct FirstItem<'a> {
    scores: &'a [f32],
    explore: Explore,
    /// Items that may be recommended.
    allowed: usize,
    best: u32,
    /// Σ exp((score − best score) / temperature).
    total: f64,
}

impl<'a> FirstItem<'a> {
    /// Of items with these scores, of which `best` is the highest; none where nothing is drawn.
    pub fn new(scores: &'a [f32], best: Option<u32>, explore: Option<Explore>) -> Option<Self> {
        let mut law = Self { scores, explore: explore?, allowed: 0, best: best?, total: 0.0 };
        let allowed = || scores.iter().filter(|&&score| is_allowed(score));
        match law.explore {
            Explore::Epsilon(_) => law.allowed = allowed().count(),
            Explore::Softmax(temperature) => law.total = allowed().map(|&score| law.part(score, temperature)).sum(),
        }
        Some(law)
    }

    fn part(&self, score: f32, temperature: f64) -> f64 {
        (f64::from(score - self.scores[self.best as usize]) / temperature).exp()
    }

    /// The probability that an item is first.
    pub fn probability(&self, item: u32) -> f64 {
        let score = self.scores[item as usize];
        match self.explore {
            _ if !is_allowed(score) => 0.0,
            Explore::Epsilon(epsilon) => {
                epsilon / self.allowed as f64 + if item == self.best { 1.0 - epsilon } else { 0.0 }
            }
            Explore::Softmax(temperature) => self.part(score, temperature) / self.total,
        }
    }

    /// The first item, by a number from 0 to below 1.
    pub fn draw(&self, draw: f64) -> u32 {
        let mut sum = 0.0;
        let mut last = self.best;
        for (item, _) in (0..).zip(self.scores).filter(|(_, score)| is_allowed(**score)) {
            sum += self.probability(item);
            if draw < sum {
                return item;
            }
            last = item;
        }
        // Probabilities may sum to a little less than 1.
        last
    }
}

fn is_allowed(score: f32) -> bool {
    f64::from(score) > MASKED_LOGIT / 2.0
}

/// The probability that each of the items `shown` stands at its place, where `ranked` are the best items from the best down, at least as
/// many, unless no more may be recommended.
pub(super) fn place_probabilities(law: Option<&FirstItem>, ranked: &[(u32, f32)], shown: &[Option<u32>]) -> Vec<f64> {
    let at = |place: usize| ranked.get(place).map(|&(item, _)| item);
    // C_k of the places before this one.
    let mut among_the_best = 0.0;
    let mut probability = |(place, item): (usize, &Option<u32>)| {
        let Some(item) = *item else { return 0.0 };
        let is = |other: Option<u32>, p: f64| if other == Some(item) { p } else { 0.0 };
        let Some(law) = law else { return is(at(place), 1.0) };
        if place == 0 {
            return law.probability(item);
        }
        among_the_best += at(place - 1).map_or(0.0, |better| law.probability(better));
        is(at(place), among_the_best) + is(at(place - 1), 1.0 - among_the_best)
    };
    shown.iter().enumerate().map(&mut probability).collect()
}

/// The answer that begins with the item drawn: the best `count` of `ranked` but that one behind it.
pub(super) fn led_by(first: u32, score: f32, ranked: &[(u32, f32)], count: usize) -> Vec<(u32, f32)> {
    let others = ranked.iter().copied().filter(|&(item, _)| item != first);
    std::iter::once((first, score)).chain(others).take(count).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::nn::top_items;

    const SCORES: [f32; 6] = [0.5, 2.0, MASKED_LOGIT as f32, 1.0, 1.5, -1.0];

    /// Draws at equal distances: the share of those that put an item at a place, for each pair.
    fn drawn(explore: Explore, count: usize) -> BTreeMap<(usize, u32), f64> {
        let ranked = top_items(&SCORES, count);
        let law = FirstItem::new(&SCORES, Some(ranked[0].0), Some(explore)).unwrap();
        let mut found = BTreeMap::new();
        let draws = 20_000;
        for draw in 0..draws {
            let first = law.draw((f64::from(draw) + 0.5) / f64::from(draws));
            let answer = led_by(first, SCORES[first as usize], &ranked, count);
            assert_eq!(answer.len(), count);
            for (place, (item, _)) in answer.into_iter().enumerate() {
                *found.entry((place, item)).or_insert(0.0) += 1.0 / f64::from(draws);
            }
        }
        found
    }

    #[test]
    fn the_probability_of_every_place_is_how_often_it_is_drawn() {
        for explore in [Explore::Epsilon(0.3), Explore::Softmax(0.7), Explore::Epsilon(0.0), Explore::Epsilon(1.0)] {
            for count in [1, 3, 5] {
                let ranked = top_items(&SCORES, count);
                let law = FirstItem::new(&SCORES, Some(ranked[0].0), Some(explore)).unwrap();
                let drawn = drawn(explore, count);
                for item in 0..SCORES.len() as u32 {
                    let found = place_probabilities(Some(&law), &ranked, &vec![Some(item); count]);
                    for (place, probability) in found.into_iter().enumerate() {
                        let wanted = drawn.get(&(place, item)).copied().unwrap_or(0.0);
                        assert!((probability - wanted).abs() < 1e-3, "{explore:?} {item} at {place}: {probability}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_drawn_is_certain() {
        let ranked = top_items(&SCORES, 3);
        assert!(FirstItem::new(&SCORES, Some(1), None).is_none());
        assert!(FirstItem::new(&SCORES, None, Some(Explore::Epsilon(0.5))).is_none());
        assert_eq!(place_probabilities(None, &ranked, &[Some(1), Some(3), None, Some(0)]), [1.0, 0.0, 0.0, 0.0]);
        // ε/5 each, and 1 − ε on the best.
        let law = FirstItem::new(&SCORES, Some(1), Some(Explore::Epsilon(0.5))).unwrap();
        assert_eq!([1, 3, 2].map(|item| law.probability(item)), [0.6, 0.1, 0.0]);
    }
}
