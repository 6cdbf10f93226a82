//! The whole catalogue in the order of scores that do not depend on the user, alone or mixed with a retriever's candidates.

use anyhow::{Result, ensure};

use crate::artifact::{Candidates, ItemScores};

/// A ranking of the catalogue for each user: by weight·z(score) + (1 − weight)·z(retriever's score).
///
/// z has mean 0 and standard deviation 1, over the items that have a score and over the user's candidates. An item that is no
/// candidate gets the lowest z of the candidates. Items without a score come last; ties go to the lowest item number.
pub struct ItemRanking<'a> {
    z: Vec<Option<f64>>,
    candidates: Option<&'a Candidates>,
    weight: f64,
}

impl<'a> ItemRanking<'a> {
    /// By `scores` with this weight, 0 to 1; at 1 without a retriever.
    ///
    /// # Errors
    /// When no item has a score, or the candidates hold an item without a row.
    pub fn new(scores: &ItemScores, candidates: Option<&'a Candidates>, weight: f64) -> Result<Self> {
        ensure!(scores.score.iter().any(Option::is_some), "no item has a score, so there is nothing to rank by");
        let known = |item: &u32| (*item as usize) < scores.len();
        let candidates = candidates.filter(|_| weight < 1.0);
        let all_known = candidates.is_none_or(|candidates| candidates.items.iter().flatten().all(known));
        ensure!(all_known, "the candidates hold an item outside of the {} that are scored", scores.len());
        Ok(Self { z: scores.standardised(), candidates, weight })
    }

    /// Whether all users have one ranking, because no retriever counts.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.candidates.is_none()
    }

    /// The first `top_k` items of `user`, and their scores.
    #[must_use]
    pub fn of(&self, user: usize, top_k: usize) -> (Vec<u32>, Vec<f32>) {
        let retrieved = self.candidates.map(|candidates| self.retrieved(candidates, user));
        let mixed = |(item, z): (usize, &Option<f64>)| {
            let retrieved = retrieved.as_ref().map_or(0.0, |retrieved| (1.0 - self.weight) * retrieved[item]);
            z.map(|z| self.weight * z + retrieved)
        };
        let scores: Vec<Option<f64>> = self.z.iter().enumerate().map(mixed).collect();
        let lowest = scores.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        let score = |item: u32| scores[item as usize].unwrap_or(lowest);
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        let better = |&a: &u32, &b: &u32| {
            let has_none = |item: u32| scores[item as usize].is_none();
            has_none(a).cmp(&has_none(b)).then(score(b).total_cmp(&score(a))).then(a.cmp(&b))
        };
        if top_k < order.len() {
            order.select_nth_unstable_by(top_k, better);
            order.truncate(top_k);
            order.shrink_to_fit();
        }
        order.sort_unstable_by(better);
        let scores = order.iter().map(|&item| score(item) as f32).collect();
        (order, scores)
    }

    /// z of the retriever's score of each item.
    fn retrieved(&self, candidates: &Candidates, user: usize) -> Vec<f64> {
        let listed = candidates.scores[user].iter().map(|&score| Some(f64::from(score))).collect();
        let listed: Vec<f64> =
            ItemScores { score: listed, questions: vec![] }.standardised().into_iter().flatten().collect();
        let lowest = listed.iter().copied().fold(f64::INFINITY, f64::min);
        let mut all = vec![if lowest.is_finite() { lowest } else { 0.0 }; self.z.len()];
        for (&item, z) in candidates.items[user].iter().zip(listed) {
            all[item as usize] = z;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(score: &[Option<f64>]) -> ItemScores {
        ItemScores { score: score.to_vec(), questions: vec![] }
    }

    #[test]
    fn scores_alone_rank_everybodys_catalogue_and_what_has_none_comes_last() {
        let scores = scores(&[Some(1.0), None, Some(3.0), Some(1.0), None, Some(5.0)]);
        let ranking = ItemRanking::new(&scores, None, 1.0).unwrap();
        let (order, z) = ranking.of(3, usize::MAX);
        assert_eq!(order, [5, 2, 0, 3, 1, 4]);
        // Mean 2.5, variance (2.25 + .25 + 2.25 + 6.25)/4 = 2.75.
        let of = |score: f64| ((score - 2.5) / 2.75_f64.sqrt()) as f32;
        assert_eq!(z, [5.0, 3.0, 1.0, 1.0, 1.0, 1.0].map(of), "never rising with the rank");
        assert_eq!(ranking.of(0, 2).0, [5, 2]);
        for top_k in 0..7 {
            let (items, scores) = ranking.of(0, top_k);
            assert_eq!((&items[..], &scores[..]), (&order[..top_k.min(6)], &z[..top_k.min(6)]), "the beginning of all");
        }
    }

    #[test]
    fn a_mixture_by_hand() {
        // z of the scores: −1, 1, −1, 1. User 0's retriever lists 2 and 0 at 1 and −1; the others get −1.
        let scores = scores(&[Some(0.0), Some(2.0), Some(0.0), Some(2.0)]);
        let candidates = Candidates {
            items: vec![vec![2, 0], vec![1, 3]],
            scores: vec![vec![5.0, 3.0], vec![4.0, 4.0]],
            filter_quit_items: false,
        };
        let ranked = |weight: f64, user| ItemRanking::new(&scores, Some(&candidates), weight).unwrap().of(user, 9);
        assert_eq!(ranked(0.75, 0), (vec![1, 3, 2, 0], vec![0.5, 0.5, -0.5, -1.0]));
        assert_eq!(ranked(0.25, 0), (vec![2, 1, 3, 0], vec![0.5, -0.5, -0.5, -1.0]));
        assert_eq!(ranked(0.0, 0).0, [2, 0, 1, 3], "the retriever's order, then the rest");
        // Equal scores of a retriever say nothing.
        assert_eq!(ranked(0.5, 1), (vec![1, 3, 0, 2], vec![0.5, 0.5, -0.5, -0.5]));
        assert_eq!(ranked(1.0, 0), ranked(1.0, 1), "without it all users get the same");
        let shared = |weight| ItemRanking::new(&scores, Some(&candidates), weight).unwrap().is_shared();
        assert!(shared(1.0) && !shared(0.75));
    }

    #[test]
    fn what_cannot_be_ranked_is_refused() {
        let error =
            |scores: &ItemScores, candidates| ItemRanking::new(scores, candidates, 0.5).err().unwrap().to_string();
        assert!(error(&scores(&[None]), None).starts_with("no item has a score"));
        let beyond = Candidates { items: vec![vec![1]], scores: vec![vec![0.0]], filter_quit_items: false };
        assert_eq!(
            error(&scores(&[Some(1.0)]), Some(&beyond)),
            "the candidates hold an item outside of the 1 that are scored"
        );
    }
}
