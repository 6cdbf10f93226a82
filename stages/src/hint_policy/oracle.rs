//! The oracle, which knows the best prompt of each session, and how much of its lead is luck.
//!
//! The oracle of a session is the largest of as many noisy numbers as there are prompts, so it leads even where all prompts are alike
//! (the winner's curse). What luck alone gives is estimated by the same table, shuffled: the ranks of a prompt are exchanged among
//! sessions that are about as difficult, so that which prompt is good in which session is lost, and all else is kept. How difficult a
//! session is for a prompt is told by the other prompts, by the mean rank of the worst three quarters of them: a prompt's own rank, or a
//! few prompts that suit the session, play no part. A rank that is exchanged is moved by as much as the sessions differ in difficulty,
//! times the slope of the prompt's ranks on it, which is 0 where sessions are alike. Without regard to difficulty luck would be
//! overestimated, because a hopeless session has no lucky prompt.
//!
//! What is left of the lead says that the prompts that are good in a session exclude each other: more than independent numbers would
//! have it. Where many prompts are good in the same sessions it is an underestimate.

use rand::seq::SliceRandom;

use super::bandit::argmax;
use super::rewards::Session;
use crate::artifact::PromptResult;
use crate::nn::rng;

/// Sessions among which values are exchanged, at least; all where there are fewer.
const BLOCK: usize = 8;
const SHUFFLES: u64 = 0x5f1e;

/// The largest NDCG of each session.
pub(super) fn oracle(sessions: &[&Session]) -> Vec<f64> {
    sessions.iter().map(|session| session.ndcg[argmax(&session.ndcg)]).collect()
}

/// The largest NDCG of each session in shuffled tables, the mean of `shuffles` of them.
pub(super) fn oracle_by_luck(sessions: &[&Session], shuffles: u64, seed: u64) -> Vec<f64> {
    let actions = sessions.first().map_or(0, |session| session.ndcg.len());
    if actions < 2 {
        return oracle(sessions);
    }
    let mut highest = vec![vec![f64::MIN; sessions.len()]; shuffles as usize];
    for action in 0..actions {
        let difficulty: Vec<f64> = sessions.iter().map(|session| difficulty(&session.ranks, action)).collect();
        let ranks: Vec<f64> = sessions.iter().map(|session| session.ranks[action]).collect();
        let slope = slope(&difficulty, &ranks);
        let mut order: Vec<usize> = (0..sessions.len()).collect();
        order.sort_by(|&a, &b| difficulty[a].total_cmp(&difficulty[b]).then(a.cmp(&b)));
        for (shuffle, highest) in highest.iter_mut().enumerate() {
            let mut draw = rng(&[seed, SHUFFLES, action as u64, shuffle as u64]);
            for block in even_parts(&order, (sessions.len() / BLOCK).max(1)) {
                let mut from = block.to_vec();
                from.shuffle(&mut draw);
                for (&session, &other) in block.iter().zip(&from) {
                    let rank = ranks[other] + slope * (difficulty[session] - difficulty[other]);
                    highest[session] = highest[session].max(ndcg(rank));
                }
            }
        }
    }
    let mean = |session: usize| highest.iter().map(|highest| highest[session]).sum::<f64>() / shuffles as f64;
    (0..sessions.len()).map(mean).collect()
}

/// The mean of the worst three quarters of the ranks of the other prompts.
fn difficulty(ranks: &[f64], action: usize) -> f64 {
    let others = ranks.iter().enumerate().filter(|(other, _)| *other != action);
    let mut others: Vec<f64> = others.map(|(_, &rank)| rank).collect();
    others.sort_by(|a, b| b.total_cmp(a));
    others.truncate((3 * others.len()).div_ceil(4));
    others.iter().sum::<f64>() / others.len() as f64
}

/// The slope of `y` on `x` by least squares, at least 0; 0 where `x` does not vary.
fn slope(x: &[f64], y: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (of_x, of_y) = (mean(x), mean(y));
    let variance: f64 = x.iter().map(|x| (x - of_x).powi(2)).sum();
    let covariance: f64 = x.iter().zip(y).map(|(x, y)| (x - of_x) * (y - of_y)).sum();
    if variance > 1e-9 { (covariance / variance).max(0.0) } else { 0.0 }
}

/// NDCG@10 of a rank, which is moved to the next whole or half one, from 1.
fn ndcg(rank: f64) -> f64 {
    PromptResult::ndcg_of((2.0 * rank).round().max(2.0) / 2.0)
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

    fn session(ranks: Vec<f64>) -> Session {
        let ndcg = ranks.iter().map(|&rank| PromptResult::ndcg_of(rank)).collect();
        Session { session: 0, user: 0, history: vec![], ranks, ndcg }
    }

    fn normal(draw: &mut impl RngExt) -> f64 {
        (0..12).map(|_| draw.random::<f64>()).sum::<f64>() - 6.0
    }

    /// The lead of the oracle over the first prompt, and that of the oracle by luck, in a table of 600 sessions. Of a session, a prompt
    /// and a normal deviation `score` gives how far the target is above the middle.
    fn leads(score: impl Fn(usize, usize, f64) -> f64) -> (f64, f64) {
        let mut draw = rng(&[3]);
        let mut rank =
            |session, action| (10.0 - 4.0 * score(session, action, normal(&mut draw))).round().clamp(1.0, 20.0);
        let table: Vec<Session> =
            (0..600).map(|number| session((0..ACTIONS).map(|action| rank(number, action)).collect())).collect();
        let rows: Vec<&Session> = table.iter().collect();
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let first = mean(rows.iter().map(|row| row.ndcg[0]).collect());
        (mean(oracle(&rows)) - first, mean(oracle_by_luck(&rows, 5, 5)) - first)
    }

    #[test]
    fn a_table_by_hand() {
        // Of one session alone nothing can be exchanged.
        let [one, other] = [session(vec![1.0, 3.0]), session(vec![3.0, 1.0])];
        assert_eq!(oracle_by_luck(&[&one], 3, 1), [1.0]);
        // Of two the oracle is 1; shuffled, a session has both good prompts, one or none of them: 0.5 a quarter of the time.
        assert_eq!(oracle(&[&one, &other]), [1.0, 1.0]);
        let luck = oracle_by_luck(&[&one, &other], 400, 1);
        assert!((luck[0] - 0.875).abs() < 0.04 && (luck[0] + luck[1] - 1.75).abs() < 0.08, "{luck:?}");
        // Slopes 2 and 0: y falls with x, and x is one number.
        assert_eq!(
            [slope(&[1.0, 3.0], &[4.0, 8.0]), slope(&[1.0, 3.0], &[8.0, 4.0]), slope(&[1.0; 2], &[4.0, 8.0])],
            [2.0, 0.0, 0.0]
        );
        assert_eq!([ndcg(0.2), ndcg(1.3), ndcg(3.0), ndcg(10.3)], [1.0, ndcg(1.5), 0.5, 0.0]);
        // The worst three quarters of 4, 9, 6 and 1, without the 20.
        assert_eq!(difficulty(&[4.0, 20.0, 9.0, 6.0, 1.0], 1), 19.0 / 3.0);
        assert_eq!(even_parts(&[5, 6, 7, 8, 9], 2), [&[5, 6][..], &[7, 8, 9]]);
    }

    #[test]
    fn the_lead_of_noise_alone_is_luck() {
        let (lead, luck) = leads(|_, _, noise| noise);
        assert!(lead > 0.3 && (lead - luck).abs() < 0.02, "{lead} {luck}");
        // Prompts that differ in all sessions alike.
        let (lead, luck) = leads(|_, action, noise| noise + 0.05 * action as f64);
        assert!(lead > 0.3 && (lead - luck).abs() < 0.02, "{lead} {luck}");
        // Sessions of any difficulty: without regard to it luck would be twice the whole lead.
        let difficulty = |session: usize| (session % 40) as f64 / 8.0 - 2.5;
        let (lead, luck) = leads(|session, _, noise| 0.5 * noise + difficulty(session));
        assert!(lead > 0.1 && (lead - luck).abs() < 0.02, "{lead} {luck}");
        // And of prompts that hardly matter.
        let (lead, luck) = leads(|session, _, noise| 0.15 * noise + difficulty(session));
        assert!(lead > 0.03 && (lead - luck).abs() < 0.02, "{lead} {luck}");
    }

    #[test]
    fn a_planted_lead_is_kept() {
        // Each session has one good prompt of its own, beside a little noise.
        let planted = |session, action| if session % ACTIONS == action { 2.0 } else { -1.0 };
        let (lead, luck) = leads(|session, action, noise| 0.1 * noise + planted(session, action));
        assert!(lead > 0.5 && lead - luck > 0.15, "{lead} {luck}");
    }
}
