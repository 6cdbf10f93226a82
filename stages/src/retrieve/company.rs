//! From the similarities of what a user likes to the user's ranking.
//!
//! The score of an item is its shrunken mean rating + c · the mean similarity to what the user likes. Only items that are similar
//! to something have a second part, so that the others are ranked once, for everybody.

use super::top_k::{self, Ranked};

/// The items that one is similar to, ascending, and how similar they are.
pub(super) struct Row {
    pub items: Box<[u32]>,
    pub similarity: Box<[f64]>,
}

/// The sums of one user's similarities.
pub(super) struct Company {
    /// `[I]`; 0 for what is similar to nothing that was added, because a similarity is above 0.
    sums: Vec<f64>,
    /// The items whose sum is not 0.
    touched: Vec<u32>,
    /// Room to rank in.
    scored: Vec<(f64, u32)>,
}

impl Company {
    /// Of a user who likes nothing yet, in a catalogue of `items`.
    pub fn new(items: usize) -> Self {
        Self { sums: vec![0.0; items], touched: Vec::new(), scored: Vec::new() }
    }

    /// Adds the rows of the liked items, in their order.
    pub fn add_all<'a>(&mut self, liked: &[u32], row: impl Fn(u32) -> &'a Row) {
        for &item in liked {
            let row = row(item);
            for (&other, similarity) in row.items.iter().zip(&row.similarity) {
                let sum = &mut self.sums[other as usize];
                if *sum == 0.0 {
                    self.touched.push(other);
                }
                *sum += similarity;
            }
        }
    }
}

/// The ranking by popularity that similarities improve on.
pub(super) struct Ranking<'a> {
    mean: &'a [f64],
    similarity_weight: f64,
    top_k: usize,
    /// All items as they are ranked for who likes nothing.
    order: Vec<u32>,
}

impl<'a> Ranking<'a> {
    /// Of items of these mean ratings, `[I]`.
    pub fn new(mean: &'a [f64], similarity_weight: f64, top_k: usize) -> Self {
        let mut order: Vec<u32> = (0..mean.len() as u32).collect();
        order.sort_by(|&a, &b| mean[b as usize].total_cmp(&mean[a as usize]).then(a.cmp(&b)));
        Self { mean, similarity_weight, top_k, order }
    }

    /// The ranking by popularity alone.
    pub fn of_nobody(&self) -> Ranked {
        let first = &self.order[..self.top_k.min(self.order.len())];
        first.iter().map(|&item| (item, self.mean[item as usize] as f32)).unzip()
    }

    /// The ranking of a user with `n_liked` likes, whose sums are at 0 again afterwards. A mean over the likes, where item-based top-N
    /// takes the sum, so that the balance with popularity is the same for a user of ten ratings and of a thousand.
    pub fn of(&self, company: &mut Company, n_liked: usize) -> Ranked {
        let Company { sums, touched, scored } = company;
        scored.clear();
        let score =
            |item: u32, sum: f64| self.mean[item as usize] + self.similarity_weight * (sum / n_liked.max(1) as f64);
        scored.extend(touched.iter().map(|&item| (score(item, sums[item as usize]), item)));
        let others = self.order.iter().filter(|item| sums[**item as usize] == 0.0).take(self.top_k);
        scored.extend(others.map(|&item| (score(item, 0.0), item)));
        touched.drain(..).for_each(|item| sums[item as usize] = 0.0);
        top_k::take(scored, self.top_k)
    }
}
