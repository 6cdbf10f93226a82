//! Maximum causal entropy inverse RL (Ziebart 2010) in a table: the baseline of the adversarial forms.
//!
//! max_r Σ_s μ_E(s)·r(s) − (1 − γ)·Σ_s ρ_0(s)·V_r(s), V_r the soft value; its gradient is μ_E − μ_π, π soft-optimal for r.

use super::{Process, random_rewards, solve};

fn states_visited(process: &Process, visits: &[f64]) -> Vec<f64> {
    let mut of_states = vec![0.0; process.next.len()];
    process.pairs().zip(visits).for_each(|((s, _), p)| of_states[s] += p);
    of_states
}

fn objective(process: &Process, expert: &[f64], reward: &[f64]) -> f64 {
    let value = process.soft_optimal(&process.of_states(reward)).value;
    let expert_reward: f64 = expert.iter().zip(reward).map(|(p, r)| p * r).sum();
    expert_reward - (1.0 - process.gamma) * process.start.iter().zip(&value).map(|(p, v)| p * v).sum::<f64>()
}

fn gradient(process: &Process, expert: &[f64], reward: &[f64]) -> Vec<f64> {
    let policy = process.soft_optimal(&process.of_states(reward)).policy;
    let visits = states_visited(process, &process.occupancy(&policy));
    expert.iter().zip(visits).map(|(e, v)| e - v).collect()
}

#[test]
fn the_gradient_is_the_difference_of_visits() {
    let process = Process::ring();
    let expert = states_visited(&process, &process.occupancy(&process.uniform()));
    let reward = random_rewards(6, 5);
    let analytic = gradient(&process, &expert, &reward);
    for s in 0..6 {
        let moved = |by: f64| {
            let mut reward = reward.clone();
            reward[s] += by;
            objective(&process, &expert, &reward)
        };
        let numeric = (moved(1e-4) - moved(-1e-4)) / 2e-4;
        assert!((numeric - analytic[s]).abs() < 1e-6, "state {s}: {} and {numeric}", analytic[s]);
    }
}

#[test]
fn it_recovers_the_experts_policy_and_the_reward_up_to_a_constant() {
    let process = Process::ring();
    let truth = random_rewards(6, 3);
    let soft = process.soft_optimal(&process.of_states(&truth));
    let expert = states_visited(&process, &process.occupancy(&soft.policy));
    let mut reward = vec![0.0; 6];
    // Newton's method at half steps, with the curvature by differences; λ: the reward's constant is free.
    for _ in 0..60 {
        let up = gradient(&process, &expert, &reward);
        let mut curvature = vec![vec![0.0; 6]; 6];
        for s in 0..6 {
            let mut moved = reward.clone();
            moved[s] += 1e-5;
            let there = gradient(&process, &expert, &moved);
            for (line, (now, then)) in curvature.iter_mut().zip(up.iter().zip(there)) {
                line[s] = (now - then) / 1e-5;
            }
            curvature[s][s] += 1e-6;
        }
        reward.iter_mut().zip(solve(curvature, up)).for_each(|(r, step)| *r += 0.5 * step);
    }
    let c = reward.iter().zip(&truth).map(|(r, t)| r - t).sum::<f64>() / 6.0;
    let off = reward.iter().zip(&truth).map(|(r, t)| (r - t - c).abs()).fold(0.0, f64::max);
    assert!(off < 1e-4, "the reward is off by {off}");
    let policy = process.soft_optimal(&process.of_states(&reward)).policy;
    for (s, a) in process.pairs() {
        assert!((policy[s][a] - soft.policy[s][a]).abs() < 1e-4);
    }
}
