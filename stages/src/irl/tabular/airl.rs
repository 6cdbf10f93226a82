//! AIRL recovers the reward and the value, each up to a constant (method: tabular AIRL).

use candle_core::{Device, Tensor, Var};

use super::{Process, random_rewards, solve};
use crate::nn::adversarial::{adversarial_loss, airl_logits, shaped};

/// What AIRL learned in a process: g and h of states, the generator, and D_E of each step.
pub(super) struct Learned {
    pub g: Vec<f64>,
    pub h: Vec<f64>,
    pub f: Vec<f64>,
    pub policy: Vec<Vec<f64>>,
    pub d_expert: Vec<f64>,
}

/// Rounds of one Newton step of the discriminator (the loss and its gradient are the stages' own, the curvature is that of a
/// logistic regression) and a generator that is soft-optimal for f.
pub(super) fn learn(process: &Process, expert: &[f64], rounds: usize) -> Learned {
    let (states, pairs) = (process.next.len(), process.pairs().count());
    let table = |values: &[f64]| Var::from_tensor(&Tensor::new(values, &Device::Cpu).unwrap()).unwrap();
    let constant = |values: Vec<f64>| Tensor::new(values, &Device::Cpu).unwrap();
    let (g, h) = (table(&vec![0.0; states]), table(&vec![0.0; states]));
    let rows = |row: &dyn Fn(usize, usize) -> u32| {
        Tensor::new(process.pairs().map(|(s, a)| row(s, a)).collect::<Vec<u32>>(), &Device::Cpu).unwrap()
    };
    let (at, after) = (rows(&|s, _| s as u32), rows(&|s, a| process.next[s][a].unwrap_or(0) as u32));
    let not_done = constant(process.pairs().map(|(s, a)| f64::from(process.next[s][a].is_some())).collect());
    let targets = constant((0..2 * pairs).map(|k| if k < pairs { 1.0 } else { 0.0 }).collect());
    let f = || {
        let potential_after = (h.index_select(&after, 0)? * &not_done)?;
        shaped(&g.index_select(&at, 0)?, &h.index_select(&at, 0)?, &potential_after, process.gamma)
    };
    let mut policy = process.uniform();
    let mut d_expert = Vec::new();
    for round in 0..=rounds {
        let visits = process.occupancy(&policy);
        let log_policy = constant(process.pairs().map(|(s, a)| policy[s][a].ln()).collect());
        let logits = airl_logits(&f().unwrap(), &log_policy).unwrap();
        d_expert = logits.to_vec1::<f64>().unwrap().iter().map(|z| 1.0 / (1.0 + (-z).exp())).collect();
        if round == rounds {
            break;
        }
        let both = Tensor::cat(&[&logits, &logits], 0).unwrap();
        let weights = constant([expert, &visits].concat());
        let loss = adversarial_loss(&both, &targets, &weights).unwrap();
        let gradients = loss.backward().unwrap();
        let of = |x: &Var| gradients.get(x.as_tensor()).unwrap().to_vec1::<f64>().unwrap();
        let gradient = [of(&g), of(&h)].concat();
        // λ: the constants of g and h are free where no episode ends.
        let mut curvature: Vec<Vec<f64>> =
            (0..2 * states).map(|i| (0..2 * states).map(|j| if i == j { 1e-10 } else { 0.0 }).collect()).collect();
        for (k, (s, a)) in process.pairs().enumerate() {
            let mut row = vec![0.0; 2 * states];
            row[s] = 1.0;
            row[states + s] -= 1.0;
            if let Some(to) = process.next[s][a] {
                row[states + to] += process.gamma;
            }
            let weight = (expert[k] + visits[k]) * d_expert[k] * (1.0 - d_expert[k]) / (2 * pairs) as f64;
            for (line, x) in curvature.iter_mut().zip(&row) {
                line.iter_mut().zip(&row).for_each(|(c, y)| *c += weight * x * y);
            }
        }
        let step = solve(curvature, gradient);
        for (var, step) in [(&g, &step[..states]), (&h, &step[states..])] {
            // Half a step: the generator answers with all of its own.
            let moved = (var.as_tensor().detach() - (Tensor::new(step, &Device::Cpu).unwrap() * 0.5).unwrap()).unwrap();
            var.set(&moved).unwrap();
        }
        policy = process.soft_optimal(&f().unwrap().to_vec1::<f64>().unwrap()).policy;
    }
    let values = |x: &Tensor| x.to_vec1::<f64>().unwrap();
    Learned { g: values(&g), h: values(&h), f: values(&f().unwrap()), policy, d_expert }
}

#[test]
fn it_recovers_the_reward_and_the_value() {
    let process = Process::ring();
    let reward = random_rewards(6, 3);
    let soft = process.soft_optimal(&process.of_states(&reward));
    let expert = process.occupancy(&soft.policy);
    let learned = learn(&process, &expert, 300);
    let k = learned.h.iter().zip(&soft.value).map(|(h, v)| h - v).sum::<f64>() / 6.0;
    let c = (1.0 - process.gamma) * k;
    for (s, (r, v)) in reward.iter().zip(&soft.value).enumerate() {
        let (of_g, of_h) = (learned.g[s] - r - c, learned.h[s] - v - k);
        assert!(of_g.abs() < 1e-4 && of_h.abs() < 1e-4, "state {s}: g is off by {of_g}, h by {of_h}");
    }
    let distance: f64 = learned.d_expert.iter().zip(&expert).map(|(d, p)| p * (d - 0.5).abs()).sum();
    assert!(distance < 1e-4, "E|D − ½| = {distance}");
    for (s, a) in process.pairs() {
        assert!((learned.policy[s][a] - soft.policy[s][a]).abs() < 1e-4);
    }
}
