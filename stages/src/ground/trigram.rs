//! Similarity of texts by their common trigrams of letters.
//!
//! `J(a, b) = |T(a) ∩ T(b)| / |T(a) ∪ T(b)|` (Jaccard 1912), where `T` is the set of trigrams of a text with two spaces before
//! and one after it, so that beginnings weigh most (as in PostgreSQL's `pg_trgm`, which pads each word). The search is exact:
//! every text that shares a trigram is counted.

use std::cmp::Ordering;
use std::collections::HashMap;

use foldhash::fast::FixedState;

/// An inverted index of trigrams. The map is never iterated, so that its order has no effect.
pub(super) struct Trigrams {
    holding: HashMap<u64, Vec<u32>, FixedState>,
    /// Number of trigrams of each text.
    sizes: Vec<u32>,
}

/// The most similar text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nearest {
    /// The first of the tied texts.
    pub text: u32,
    /// Number of tied texts.
    pub ties: usize,
    shared: u32,
    union: u32,
}

impl Nearest {
    /// Jaccard's coefficient, above 0 and up to 1.
    pub fn similarity(self) -> f64 {
        f64::from(self.shared) / f64::from(self.union)
    }
}

impl Trigrams {
    /// The index of texts, numbered in this order.
    pub fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let mut index = Self { holding: HashMap::default(), sizes: Vec::new() };
        for (number, text) in (0..).zip(texts) {
            let set = trigrams(text);
            index.sizes.push(set.len() as u32);
            for trigram in set {
                index.holding.entry(trigram).or_default().push(number);
            }
        }
        index
    }

    /// The text most similar to this one; `None` where none shares a trigram.
    pub fn nearest(&self, text: &str) -> Option<Nearest> {
        let set = trigrams(text);
        let mut shared = vec![0u32; self.sizes.len()];
        for number in set.iter().filter_map(|trigram| self.holding.get(trigram)).flatten() {
            shared[*number as usize] += 1;
        }
        let mut best: Option<Nearest> = None;
        for (number, (&shared, &size)) in
            (0..).zip(shared.iter().zip(&self.sizes)).filter(|(_, (shared, _))| **shared > 0)
        {
            let union = set.len() as u32 + size - shared;
            let new = Nearest { text: number, ties: 1, shared, union };
            // Compared as fractions: rounding cannot separate equal values.
            let order = best.map_or(Ordering::Greater, |best| {
                (u64::from(shared) * u64::from(best.union)).cmp(&(u64::from(best.shared) * u64::from(union)))
            });
            match (order, &mut best) {
                (Ordering::Greater, _) => best = Some(new),
                (Ordering::Equal, Some(best)) => best.ties += 1,
                _ => {}
            }
        }
        best
    }
}

/// The distinct trigrams of a text, each as one number; none for an empty text.
fn trigrams(text: &str) -> Vec<u64> {
    if text.is_empty() {
        return Vec::new();
    }
    let (mut all, mut run) = (Vec::with_capacity(text.len() + 1), (u64::from(' ') << 21) | u64::from(' '));
    for letter in text.chars().chain([' ']) {
        // A character has 21 bits, three have 63.
        run = ((run << 21) | u64::from(letter)) & ((1 << 63) - 1);
        all.push(run);
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_similarity_is_jaccards() {
        // "  a", " ab", "ab " and "  a", " ac", "ac ": one of five.
        let index = Trigrams::new(["ac"].into_iter());
        let nearest = index.nearest("ab").unwrap();
        assert_eq!((nearest.shared, nearest.union), (1, 5));
        assert!((nearest.similarity() - 0.2).abs() < 1e-12);
        assert!((index.nearest("ac").unwrap().similarity() - 1.0).abs() < 1e-12);
        assert_eq!(trigrams("aaaa").len(), 4, "a set: `  a`, ` aa`, `aaa`, `aa `");
    }

    #[test]
    fn of_equals_the_first_is_taken_and_all_are_counted() {
        let index = Trigrams::new(["xy", "ac", "ad", "zz"].into_iter());
        let nearest = index.nearest("ab").unwrap();
        assert_eq!((nearest.text, nearest.ties), (1, 2));
    }

    #[test]
    fn nothing_in_common_is_no_neighbour() {
        let index = Trigrams::new(["heat", ""].into_iter());
        assert_eq!((index.nearest("öö"), index.nearest("")), (None, None));
    }

    #[test]
    fn the_search_is_exact() {
        let titles: Vec<String> =
            (0..300u32).map(|k| format!("{:x} game {}", k.wrapping_mul(2_654_435_761), k % 17)).collect();
        let index = Trigrams::new(titles.iter().map(String::as_str));
        for k in 0..40u32 {
            let text = format!("{:x} gane {k}", k.wrapping_mul(40_503));
            let own = trigrams(&text);
            let all = titles.iter().map(|title| {
                let other = trigrams(title);
                let shared = own.iter().filter(|trigram| other.contains(trigram)).count();
                shared as f64 / (own.len() + other.len() - shared) as f64
            });
            let wanted = all.fold(0.0, f64::max);
            assert_eq!(index.nearest(&text).unwrap().similarity(), wanted, "{text}");
        }
    }
}
