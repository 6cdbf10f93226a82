//! The oracle, which knows the best prompt of each session, and how much of its lead is luck.
//!
//! The oracle of a session is the largest of as many noisy numbers as there are prompts, so it leads even where all prompts are alike
//! (the winner's curse). What luck alone gives is estimated by the same table, shuffled: the deviations of a prompt from the means of the sessions are exchanged among
//! sessions of similar means, so that each prompt keeps its mean and its spread, and each session its difficulty; which prompt is good in which session is gone. A
//! shuffle without regard to difficulty would overestimate luck: a session without a hope has no lucky prompt.
//!
//! What is left of the lead says that the prompts that are good in a session exclude each other: more than independent numbers would
//! have it. Where several prompts are good in the same sessions it is an underestimate.

use rand::seq::SliceRandom;

use super::bandit::argmax;
use crate::nn::rng;

/// Sessions among which deviations are exchanged, at least; all where there are fewer.
const BLOCK: usize = 20;
const SHUFFLES: u64 = 0x5f1e;

/// The largest NDCG of each session.
pub(super) fn oracle(sessions: &[&[f64]]) -> Vec<f64> {
    sessions.iter().map(|ndcg| ndcg[argmax(ndcg)]).collect()
}

/// The largest NDCG of each session in shuffled tables, the mean of `shuffles` of them.
pub(super) fn oracle_by_luck(sessions: &[&[f64]], shuffles: u64, seed: u64) -> Vec<f64> {
    let mut found = vec![0.0; sessions.len()];
    let Some(actions) = sessions.first().map(|ndcg| ndcg.len()).filter(|&actions| actions > 1) else {
        return oracle(sessions);
    };
    let means: Vec<f64> = sessions.iter().map(|ndcg| ndcg.iter().sum::<f64>() / actions as f64).collect();
    // Deviations from a mean of A numbers are smaller than those from the truth.
    let scale = (actions as f64 / (actions - 1) as f64).sqrt();
    let mut order: Vec<usize> = (0..sessions.len()).collect();
    order.sort_by(|&a, &b| means[a].total_cmp(&means[b]).then(a.cmp(&b)));
    let blocks = (sessions.len() / BLOCK).max(1);
    for (number, block) in even_parts(&order, blocks).into_iter().enumerate() {
        for shuffle in 0..shuffles {
            let mut draw = rng(&[seed, SHUFFLES, number as u64, shuffle]);
            let mut highest = vec![f64::MIN; block.len()];
            for action in 0..actions {
                let mut from: Vec<usize> = block.to_vec();
                from.shuffle(&mut draw);
                for ((highest, &session), &other) in highest.iter_mut().zip(block).zip(&from) {
                    let deviation = (sessions[other][action] - means[other]) * scale;
                    *highest = highest.max((means[session] + deviation).clamp(0.0, 1.0));
                }
            }
            for (&session, highest) in block.iter().zip(highest) {
                found[session] += highest / shuffles as f64;
            }
        }
    }
    found
}

/// `count` parts of nearly equal size.
fn even_parts(order: &[usize], count: usize) -> Vec<&[usize]> {
    let bound = |part: usize| part * order.len() / count;
    (0..count).map(|part| &order[bound(part)..bound(part + 1)]).collect()
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    const ACTIONS: usize = 21;

    /// NDCG@10 of ranks among 20 that a score with a normal deviation gives.
    fn ndcg(score: f64) -> f64 {
        let rank = (10.0 - 4.0 * score).round().clamp(1.0, 20.0);
        if rank <= 10.0 { 1.0 / (1.0 + rank).log2() } else { 0.0 }
    }

    fn normal(draw: &mut impl RngExt) -> f64 {
        (0..12).map(|_| draw.random::<f64>()).sum::<f64>() - 6.0
    }

    /// Oracle, and oracle by luck, of a table of scores.
    fn leads(score: impl Fn(usize, usize, f64) -> f64) -> (f64, f64) {
        let mut draw = rng(&[3]);
        let table: Vec<Vec<f64>> = (0..600)
            .map(|session| (0..ACTIONS).map(|action| ndcg(score(session, action, normal(&mut draw)))).collect())
            .collect();
        let rows: Vec<&[f64]> = table.iter().map(Vec::as_slice).collect();
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        (mean(oracle(&rows)) - mean(rows.iter().map(|row| row[0]).collect()), {
            mean(oracle_by_luck(&rows, 10, 5)) - mean(rows.iter().map(|row| row[0]).collect())
        })
    }

    #[test]
    fn a_table_by_hand() {
        // One session: nothing to exchange but itself; deviations ±½, scaled by √2.
        let found = oracle_by_luck(&[&[0.0, 1.0]], 3, 1);
        assert_eq!(found, [1.0]);
        let found = oracle_by_luck(&[&[0.25, 0.75]], 3, 1);
        assert!((found[0] - (0.5 + 0.25 * 2.0_f64.sqrt())).abs() < 1e-12, "{found:?}");
        assert_eq!(oracle(&[&[0.25, 0.75], &[0.5, 0.0]]), [0.75, 0.5]);
        assert_eq!(even_parts(&[5, 6, 7, 8, 9], 2), [&[5, 6][..], &[7, 8, 9]]);
    }

    #[test]
    fn the_lead_of_noise_alone_is_luck() {
        let (lead, luck) = leads(|_, _, noise| noise);
        assert!(lead > 0.3 && (lead - luck).abs() < 0.02, "{lead} {luck}");
        // Prompts that differ in all sessions alike.
        let (lead, luck) = leads(|_, action, noise| noise + 0.05 * action as f64);
        assert!(lead > 0.3 && (lead - luck).abs() < 0.03, "{lead} {luck}");
        // Sessions of any difficulty: without regard to it luck would be larger than the whole lead.
        let hard = |session: usize| (session % 40) as f64 / 8.0 - 2.5;
        let (lead, luck) = leads(|session, _, noise| 0.5 * noise + hard(session));
        assert!(lead > 0.1 && (lead - luck).abs() < 0.02, "{lead} {luck}");
    }

    #[test]
    fn a_planted_lead_is_kept() {
        // Each session has one good prompt of its own, beside a little noise.
        let (lead, luck) =
            leads(|session, action, noise| 0.1 * noise + if session % ACTIONS == action { 2.0 } else { -1.0 });
        assert!(lead > 0.5 && lead - luck > 0.15, "{lead} {luck}");
    }
}
