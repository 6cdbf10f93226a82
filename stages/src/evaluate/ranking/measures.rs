//! Ranking metrics of one user, from the ranks of the relevant items; binary relevance, cut off at k.
//!
//! R: number of relevant items; ranks from 1. As `ranx` computes them (Bassani 2022):
//!
//! - `recall`: hits / R; `precision`: hits / k; `hit_rate`: 1 where there is a hit
//! - `mrr`: 1 / rank of the first hit, else 0
//! - `map`: Σ over hits of (hits up to its rank / rank) / R
//! - `ndcg`: Σ over hits of 1 / log₂(1 + rank), over that of a ranking with min(R, k) hits first (Järvelin and Kekäläinen 2002)

/// A metric: of the ascending ranks up to k, R and k.
pub(super) type Measure = fn(&[u32], u32, u32) -> f64;

/// The metrics that are means over users, in the order of the table.
pub(super) const MEASURES: [(&str, Measure); 6] =
    [("ndcg", ndcg), ("recall", recall), ("precision", precision), ("hit_rate", hit_rate), ("mrr", mrr), ("map", map)];

fn recall(ranks: &[u32], relevant: u32, _: u32) -> f64 {
    ranks.len() as f64 / f64::from(relevant)
}

fn precision(ranks: &[u32], _: u32, k: u32) -> f64 {
    ranks.len() as f64 / f64::from(k)
}

fn hit_rate(ranks: &[u32], _: u32, _: u32) -> f64 {
    f64::from(u8::from(!ranks.is_empty()))
}

fn mrr(ranks: &[u32], _: u32, _: u32) -> f64 {
    ranks.first().map_or(0.0, |&rank| 1.0 / f64::from(rank))
}

fn map(ranks: &[u32], relevant: u32, _: u32) -> f64 {
    let precisions = (1_u32..).zip(ranks).map(|(hits, &rank)| f64::from(hits) / f64::from(rank));
    precisions.sum::<f64>() / f64::from(relevant)
}

fn ndcg(ranks: &[u32], relevant: u32, k: u32) -> f64 {
    let gain = |rank: u32| 1.0 / (1.0 + f64::from(rank)).log2();
    let ideal: f64 = (1..=relevant.min(k)).map(gain).sum();
    ranks.iter().map(|&rank| gain(rank)).sum::<f64>() / ideal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let of = |ranks: &[u32]| MEASURES.map(|(_, measure)| measure(ranks, 3, 5));
        // Hits at 1 and 3 of 3 relevant: DCG 1 + 1/2, ideal 1 + 1/log₂ 3 + 1/2.
        let ideal = 1.5 + 1.0 / 3.0_f64.log2();
        let wanted = [1.5 / ideal, 2.0 / 3.0, 0.4, 1.0, 1.0, (1.0 + 2.0 / 3.0) / 3.0];
        for (found, wanted) in of(&[1, 3]).iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-12, "{found} for {wanted}");
        }
        assert_eq!(of(&[]), [0.0; 6]);
        // More is relevant than the ranking is long: the ideal ranking is cut, too.
        assert_eq!(ndcg(&[1, 2], 9, 2), 1.0);
    }
}
