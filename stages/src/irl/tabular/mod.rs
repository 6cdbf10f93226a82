//! Tests in small decision processes with exact solutions: soft-optimal policies, occupancies, optima.
//!
//! They drive the losses that the stages use, on tables instead of networks, in f64.

mod airl;
mod gail;
mod maxent;
mod shaping;
mod survival;

use crate::nn::rng;
use rand::RngExt;

/// S states, A actions, deterministic; `None` ends the episode.
pub(super) struct Process {
    /// `[S][A]`, what follows.
    pub next: Vec<Vec<Option<usize>>>,
    /// γ.
    pub gamma: f64,
    /// `[S]`, where episodes begin.
    pub start: Vec<f64>,
}

/// A policy `[S][A]` with its soft value `[S]`.
pub(super) struct Soft {
    pub policy: Vec<Vec<f64>>,
    pub value: Vec<f64>,
}

impl Process {
    /// Six states in a ring, three actions: stay, one ahead, three ahead. Any two states share a predecessor, directly or over
    /// others: the dynamics are decomposable (Fu, Luo and Levine 2018, definition B.1).
    pub fn ring() -> Self {
        let next = (0..6).map(|s| [0, 1, 3].iter().map(|ahead| Some((s + ahead) % 6)).collect()).collect();
        Self { next, gamma: 0.9, start: vec![1.0 / 6.0; 6] }
    }

    /// A chain of three states whose last leads to itself; the second action leaves.
    pub fn leaving() -> Self {
        let next = vec![vec![Some(1), None], vec![Some(2), None], vec![Some(2), None]];
        Self { next, gamma: 0.9, start: vec![1.0, 0.0, 0.0] }
    }

    /// (state, action), in the order of flat tables `[S·A]`.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> {
        let actions = self.next[0].len();
        (0..self.next.len() * actions).map(move |k| (k / actions, k % actions))
    }

    /// V = log Σ_a e^Q, Q = r + γ·V(s'), π = e^(Q − V), of `reward [S·A]`.
    pub fn soft_optimal(&self, reward: &[f64]) -> Soft {
        let actions = self.next[0].len();
        let mut value = vec![0.0; self.next.len()];
        loop {
            let q = |s: usize, a: usize| {
                reward[s * actions + a] + self.gamma * self.next[s][a].map_or(0.0, |after| value[after])
            };
            let q: Vec<Vec<f64>> = (0..value.len()).map(|s| (0..actions).map(|a| q(s, a)).collect()).collect();
            let new: Vec<f64> = q.iter().map(|row| log_sum_exp(row)).collect();
            let change = new.iter().zip(&value).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            value = new;
            if change < 1e-13 {
                let policy = |(row, v): (&Vec<f64>, &f64)| row.iter().map(|q| (q - v).exp()).collect();
                return Soft { policy: q.iter().zip(&value).map(policy).collect(), value };
            }
        }
    }

    /// Discounted visits of states and actions, `[S·A]`, scaled to sum 1.
    pub fn occupancy(&self, policy: &[Vec<f64>]) -> Vec<f64> {
        let (mut now, mut visits) = (self.start.clone(), vec![0.0; self.next.len()]);
        let mut discount = 1.0;
        while discount > 1e-16 {
            let mut after = vec![0.0; now.len()];
            for (s, a) in self.pairs() {
                if let Some(to) = self.next[s][a] {
                    after[to] += now[s] * policy[s][a];
                }
            }
            visits.iter_mut().zip(&now).for_each(|(v, p)| *v += discount * p);
            discount *= self.gamma;
            now = after;
        }
        let joint: Vec<f64> = self.pairs().map(|(s, a)| visits[s] * policy[s][a]).collect();
        let sum: f64 = joint.iter().sum();
        joint.iter().map(|p| p / sum).collect()
    }

    /// Mean steps of an episode of at most 100.
    pub fn length(&self, policy: &[Vec<f64>]) -> f64 {
        let (mut now, mut length) = (self.start.clone(), 0.0);
        for _ in 0..100 {
            length += now.iter().sum::<f64>();
            let mut after = vec![0.0; now.len()];
            for (s, a) in self.pairs() {
                if let Some(to) = self.next[s][a] {
                    after[to] += now[s] * policy[s][a];
                }
            }
            now = after;
        }
        length
    }

    /// A reward of the state alone, `[S]`, as one of state and action, `[S·A]`.
    pub fn of_states(&self, reward: &[f64]) -> Vec<f64> {
        self.pairs().map(|(s, _)| reward[s]).collect()
    }

    /// The uniform policy.
    pub fn uniform(&self) -> Vec<Vec<f64>> {
        let actions = self.next[0].len();
        vec![vec![1.0 / actions as f64; actions]; self.next.len()]
    }
}

pub(super) fn log_sum_exp(values: &[f64]) -> f64 {
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    high + values.iter().map(|v| (v - high).exp()).sum::<f64>().ln()
}

/// N(0, 1), one number a state.
pub(super) fn random_rewards(states: usize, seed: u64) -> Vec<f64> {
    let mut draw = rng(&[seed, 0x7ab]);
    let mut normal = || {
        let (u, v): (f64, f64) = (1.0 - draw.random::<f64>(), draw.random());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    (0..states).map(|_| normal()).collect()
}

/// x of A·x = b, by elimination with pivots.
#[expect(clippy::needless_range_loop, reason = "rows of one matrix are read and written at once")]
pub(super) fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs())).unwrap();
        a.swap(k, pivot);
        b.swap(k, pivot);
        for i in k + 1..n {
            let factor = a[i][k] / a[k][k];
            for j in k..n {
                a[i][j] -= factor * a[k][j];
            }
            b[i] -= factor * b[k];
        }
    }
    for k in (0..n).rev() {
        let known: f64 = (k + 1..n).map(|j| a[k][j] * b[j]).sum();
        b[k] = (b[k] - known) / a[k][k];
    }
    b
}
