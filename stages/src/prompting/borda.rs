//! Borda's count: one ranking of many.
//!
//! `S(i) = Σ_p (M − rank_p(i))` over the rankings p of M candidates (Tempura, arXiv 2405.02778, after a third party's note). Equal scores
//! of one ranking share the mean of their ranks, so the result does not depend on the order of the candidates.

/// The points of each candidate, from its scores in each ranking; all rankings have the same candidates in the same order.
pub(crate) fn points(rankings: &[Vec<f32>]) -> Vec<f32> {
    let count = rankings.first().map_or(0, Vec::len);
    let mut points = vec![0.0; count];
    for scores in rankings {
        for (candidate, own) in scores.iter().enumerate() {
            let higher = scores.iter().filter(|score| *score > own).count() as f32;
            let equal = scores.iter().filter(|score| *score == own).count() as f32;
            points[candidate] += count as f32 - (1.0 + higher + (equal - 1.0) / 2.0);
        }
    }
    points
}

/// The mean score of each candidate.
pub(crate) fn mean(rankings: &[Vec<f32>]) -> Vec<f32> {
    let count = rankings.first().map_or(0, Vec::len);
    let of = |candidate: usize| {
        let sum: f64 = rankings.iter().map(|scores| f64::from(scores[candidate])).sum();
        (sum / rankings.len() as f64) as f32
    };
    (0..count).map(of).collect()
}

/// The candidate with most points; of equals the one with the highest mean score, then the first.
pub(crate) fn winner(rankings: &[Vec<f32>]) -> Option<usize> {
    let (points, mean) = (points(rankings), mean(rankings));
    (0..points.len()).reduce(|best, other| {
        let better = points[other].total_cmp(&points[best]).then(mean[other].total_cmp(&mean[best]));
        if better.is_gt() { other } else { best }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Ranks 1 2 3, 3 1 2, and 2 2 2 (all equal): points of M − rank.
        let rankings = [vec![3.0, 2.0, 1.0], vec![0.1, 0.9, 0.5], vec![4.0, 4.0, 4.0]];
        assert_eq!(points(&rankings), [2.0 + 0.0 + 1.0, 1.0 + 2.0 + 1.0, 0.0 + 1.0 + 1.0]);
        assert_eq!(winner(&rankings), Some(1));
        assert_eq!((points(&[]), winner(&[])), (vec![], None));
    }

    #[test]
    fn one_ranking_keeps_its_first_and_equals_are_told_apart_by_their_scores() {
        assert_eq!(winner(&[vec![1.0, 5.0, 5.0, 2.0]]), Some(1), "the first of equals");
        let opposed = [vec![9.0, 1.0], vec![1.0, 2.0]];
        assert_eq!(points(&opposed), [1.0, 1.0]);
        assert_eq!(winner(&opposed), Some(0), "by the mean, 5 against 1.5");
    }

    #[test]
    fn the_order_of_the_candidates_does_not_matter() {
        let rankings = [vec![3.0, 2.0, 1.0, 2.0], vec![0.1, 0.9, 0.5, 0.9], vec![4.0, 0.0, 4.5, 1.0]];
        let order = [2, 0, 3, 1];
        let permuted: Vec<Vec<f32>> =
            rankings.iter().map(|scores| order.iter().map(|&candidate| scores[candidate]).collect()).collect();
        let expected: Vec<f32> = order.iter().map(|&candidate| points(&rankings)[candidate]).collect();
        assert_eq!(points(&permuted), expected);
        assert_eq!(winner(&permuted).map(|place| order[place]), winner(&rankings));
    }
}
