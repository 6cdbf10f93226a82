//! Adding γ·Φ(s') − Φ(s) to a reward changes no optimal policy (Ng, Harada and Russell 1999), and h absorbs it.

use candle_core::{Device, Tensor};

use super::{Process, random_rewards};
use crate::nn::adversarial::shaped;

/// f of `g [S·A]` with potentials `h [S]`, by the stages' own function.
fn f(process: &Process, g: &[f64], h: &[f64]) -> Vec<f64> {
    let tensor = |values: Vec<f64>| Tensor::new(values, &Device::Cpu).unwrap();
    let here = tensor(process.pairs().map(|(s, _)| h[s]).collect());
    let after = tensor(process.pairs().map(|(s, a)| process.next[s][a].map_or(0.0, |to| h[to])).collect());
    shaped(&tensor(g.to_vec()), &here, &after, process.gamma).unwrap().to_vec1().unwrap()
}

#[test]
fn no_policy_changes_and_h_absorbs_the_shaping() {
    for process in [Process::ring(), Process::leaving()] {
        let states = process.next.len();
        let g = random_rewards(process.pairs().count(), 11);
        let (h, phi) = (random_rewards(states, 12), random_rewards(states, 13));
        let plain = process.soft_optimal(&g);
        let once = process.soft_optimal(&f(&process, &g, &phi));
        for (s, a) in process.pairs() {
            assert!((plain.policy[s][a] - once.policy[s][a]).abs() < 1e-9);
            assert!((plain.value[s] - phi[s] - once.value[s]).abs() < 1e-9);
        }
        // The greedy policy is the limit of a soft one without temperature.
        let cold = |reward: &[f64]| process.soft_optimal(&reward.iter().map(|r| 50.0 * r).collect::<Vec<f64>>()).policy;
        let best = |row: &Vec<f64>| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        let greedy = |reward: &[f64]| cold(reward).iter().map(best).collect::<Vec<_>>();
        assert_eq!(greedy(&g), greedy(&f(&process, &g, &phi)));
        let both: Vec<f64> = h.iter().zip(&phi).map(|(h, p)| h + p).collect();
        let (shaped_twice, absorbed) = (f(&process, &f(&process, &g, &h), &phi), f(&process, &g, &both));
        assert!(shaped_twice.iter().zip(&absorbed).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}
