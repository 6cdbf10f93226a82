//! The best of many scored items: highest score first, ties to the lowest number.

use std::cmp::Ordering;

/// The candidates of a user, best first, and their scores.
pub(super) type Ranked = (Vec<u32>, Vec<f32>);

/// Which of two comes first.
fn better(a: &(f64, u32), b: &(f64, u32)) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// The best `top_k` of `scored` and their scores, no longer than they have to be. What is left in `scored` has no meaning.
pub(super) fn take(scored: &mut Vec<(f64, u32)>, top_k: usize) -> Ranked {
    cut(scored, top_k);
    scored.sort_unstable_by(better);
    scored.iter().map(|&(score, item)| (item, score as f32)).unzip()
}

/// Leaves the best `top_k`, in no order.
fn cut(scored: &mut Vec<(f64, u32)>, top_k: usize) {
    if top_k < scored.len() {
        scored.select_nth_unstable_by(top_k, better);
        scored.truncate(top_k);
    }
}

/// The best items of a scan over ascending numbers, in room for twice as many.
pub(super) struct Best {
    scored: Vec<(f64, u32)>,
    top_k: usize,
    /// What an item must exceed: the lowest of the best so far.
    floor: f64,
}

impl Best {
    /// Of no item yet.
    pub fn new(top_k: usize) -> Self {
        Self { scored: Vec::new(), top_k, floor: f64::NEG_INFINITY }
    }

    /// Of the `scores` of the items from `first` on, which come after all that were seen.
    #[inline(always)]
    pub fn scan(&mut self, first: u32, scores: &[f32]) {
        for (offset, &score) in scores.iter().enumerate() {
            // An equal score has a higher number, so it loses.
            if f64::from(score) > self.floor {
                self.push(f64::from(score), first + offset as u32);
            }
        }
    }

    fn push(&mut self, score: f64, item: u32) {
        self.scored.push((score, item));
        if self.scored.len() >= 2 * self.top_k.max(8) {
            cut(&mut self.scored, self.top_k);
            self.floor = self.scored.iter().map(|pair| pair.0).fold(f64::INFINITY, f64::min);
        }
    }

    /// The best and their scores; nothing is left.
    pub fn take(&mut self) -> (Vec<u32>, Vec<f32>) {
        let best = take(&mut self.scored, self.top_k);
        self.scored.clear();
        self.floor = f64::NEG_INFINITY;
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A catalogue of 200,000 items and a ranking of ten: what a user keeps is ten, or 100,000 users take 80 GB.
    #[test]
    fn a_ranking_takes_no_more_room_than_it_is_deep() {
        let mut scored: Vec<(f64, u32)> = (0..200_000).map(|item| (f64::from(item), item)).collect();
        let (items, scores) = take(&mut scored, 10);
        assert_eq!((items.len(), items[0], scores[9]), (10, 199_999, 199_990.0));
        assert!(items.capacity() <= 10 && scores.capacity() <= 10, "{} and {}", items.capacity(), scores.capacity());
    }

    #[test]
    fn a_scan_finds_what_sorting_finds_with_ties() {
        let scores: Vec<f32> = (0..997_u32).map(|item| (item * 7919 % 61) as f32 - 30.0).collect();
        for top_k in [1, 3, 8, 40, 996, 997, 5_000] {
            let mut all: Vec<(f64, u32)> =
                scores.iter().zip(0..).map(|(&score, item)| (f64::from(score), item)).collect();
            let expected = take(&mut all, top_k);
            let mut best = Best::new(top_k);
            for _ in 0..2 {
                for (part, scores) in scores.chunks(64).enumerate() {
                    best.scan(part as u32 * 64, scores);
                }
                assert_eq!(best.take(), expected, "{top_k}");
            }
        }
    }
}
