//! Advantages of demonstrated steps in the world's rewards, from which w_env is computed.
//!
//! A = Q(s, a) − V(s) from two small networks fitted to the discounted returns of the demonstrations; w_env = exp(A/β) (AWR,
//! arXiv 1910.00177, eq. 8; IL-Rec uses it on demonstrations). Where a demonstration was truncated, the return
//! bootstraps from V of the state after its last step: V is refitted to returns that contain the previous V (fitted value iteration).

use anyhow::Result;
use candle_core::Tensor;
use candle_nn::Module;

use crate::artifact::{Demonstrations, QuitRules};
use crate::nn::discriminator::{DiscriminatorBatch, TransitionStates};
use crate::nn::{AdamW, Init, Mlp, Params};

/// Refits of V where a demonstration was truncated. After k of them the share γ^(k·length) of the remaining return is missing.
const BOOTSTRAP_FITS: usize = 5;

/// Discounted returns of the demonstrated steps, in their order; `bootstrap_values` holds what comes after each trajectory. The reward of a
/// step at which the user left is its training reward by the rules.
fn returns(demonstrations: &Demonstrations, rules: &QuitRules, gamma: f64, bootstrap_values: &[f64]) -> Vec<f64> {
    let mut all = Vec::new();
    for (trajectory, &bootstrap_value) in demonstrations.trajectories.iter().zip(bootstrap_values) {
        let rewards: Vec<f32> = trajectory.steps.iter().map(|step| step.reward).collect();
        let mut sum = bootstrap_value;
        let mut backwards: Vec<f64> = Vec::with_capacity(rewards.len());
        for &reward in rules.training_rewards(&rewards, Some(trajectory.end)).iter().rev() {
            sum = f64::from(reward) + gamma * sum;
            backwards.push(sum);
        }
        all.extend(backwards.into_iter().rev());
    }
    all
}

/// Advantages of the demonstrated steps, `[N]`, in units of the discounted return; `rows` are theirs.
pub(super) fn advantages(
    rows: &DiscriminatorBatch,
    demonstrations: &Demonstrations,
    rules: &QuitRules,
    gamma: f64,
    seed: u64,
) -> Result<Vec<f32>> {
    let mut bootstrap_values = vec![0.0; demonstrations.trajectories.len()];
    // Truncated trajectories, each with the row of its last step.
    let mut truncated = Vec::new();
    let mut end = 0;
    for (t, trajectory) in demonstrations.trajectories.iter().enumerate() {
        end += trajectory.steps.len();
        if !trajectory.steps.is_empty() && !trajectory.terminal(rules.horizon) {
            truncated.push((t, end - 1));
        }
    }
    let TransitionStates { states, next_states, .. } = rows.transition()?;
    let fit = |bootstrap_values: &[f64]| {
        ReturnRegression::new(states, &returns(demonstrations, rules, gamma, bootstrap_values), seed.wrapping_add(1))
    };
    let mut value_function = fit(&bootstrap_values)?;
    for _ in 0..if truncated.is_empty() { 0 } else { BOOTSTRAP_FITS } {
        let value_after = value_function.of(next_states)?;
        truncated.iter().for_each(|&(t, row)| bootstrap_values[t] = f64::from(value_after[row]));
        value_function = fit(&bootstrap_values)?;
    }
    let q_function =
        ReturnRegression::new(&rows.state_actions, &returns(demonstrations, rules, gamma, &bootstrap_values), seed)?;
    let (q, v) = (q_function.of(&rows.state_actions)?, value_function.of(states)?);
    Ok(q.into_iter().zip(v).map(|(q, v)| q - v).collect())
}

/// A small regression of returns on features. Few steps and weight decay keep it from memorising single returns.
struct ReturnRegression {
    network: Mlp,
    mean: f64,
    std: f64,
}

impl ReturnRegression {
    /// Of `returns [N]` on `features [N, F]`.
    fn new(features: &Tensor, returns: &[f64], seed: u64) -> Result<Self> {
        let count = returns.len().max(1) as f64;
        let mean = returns.iter().sum::<f64>() / count;
        let std = (returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-6);
        let targets: Vec<f32> = returns.iter().map(|r| ((r - mean) / std) as f32).collect();
        let targets = Tensor::from_vec(targets, returns.len(), features.device())?;
        let mut params = Params::on(features.device());
        let widths = [features.dim(1)?, 32, 1];
        let network = Mlp::new(&mut params, "network", &widths, 1.0, &mut Init::new(seed))?;
        let mut adam = AdamW::new(&params, 0.005, 0.01, 1.0)?;
        for _ in 0..200 {
            let loss = (network.forward(features)?.squeeze(1)? - &targets)?.sqr()?.mean_all()?;
            adam.descend(&params, &loss)?;
        }
        Ok(Self { network, mean, std })
    }

    /// Expected returns `[B]` of `features [B, F]`.
    fn of(&self, features: &Tensor) -> Result<Vec<f32>> {
        Ok(self.network.forward(features)?.squeeze(1)?.affine(self.std, self.mean)?.to_vec1()?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::artifact::{Step, Termination, Trajectory};

    fn trajectory(rewards: &[f32], end: Termination) -> Trajectory {
        let step = |&reward| Step { item: 0, reward, candidates: vec![], scores: vec![], call: String::new() };
        Trajectory { user: 0, steps: rewards.iter().map(step).collect(), end }
    }

    /// Forty trajectories of one step, from one state and with two actions in turn; γ = ½.
    fn of_two_actions(steps: [(f32, Termination); 2]) -> [f32; 2] {
        let ones = Tensor::ones((40, 1), DType::F32, &Device::Cpu).unwrap();
        let which: Vec<f32> = (0..40).map(|k| (k % 2) as f32).collect();
        let rows = DiscriminatorBatch {
            state_actions: Tensor::from_vec(which, (40, 1), &Device::Cpu).unwrap(),
            transition: Some(TransitionStates {
                states: ones.clone(),
                next_states: ones.clone(),
                not_done: ones.squeeze(1).unwrap(),
            }),
            log_policy: None,
        };
        let trajectories = (0..40).map(|k| trajectory(&[steps[k % 2].0], steps[k % 2].1)).collect();
        let found = advantages(&rows, &Demonstrations::new(trajectories), &QuitRules::default(), 0.5, 1).unwrap();
        [found[0], found[1]]
    }

    #[test]
    fn a_better_action_has_the_higher_advantage_in_units_of_the_return() {
        let found = of_two_actions([(3.0, Termination::Similar), (23.0, Termination::Similar)]);
        assert!((found[0] + 10.0).abs() < 1.0 && (found[1] - 10.0).abs() < 1.0, "±10, found {found:?}");
    }

    #[test]
    fn a_demonstration_that_was_cut_off_goes_on() {
        // V = ½·1 + ½·(1 + ½·V) = 4/3; Q = 1 where the user left, 5/3 where not.
        let found = of_two_actions([(1.0, Termination::Similar), (1.0, Termination::Horizon)]);
        assert!((found[0] + 1.0 / 3.0).abs() < 0.05 && (found[1] - 1.0 / 3.0).abs() < 0.05, "±⅓, found {found:?}");
    }

    #[test]
    fn returns_are_discounted_within_each_trajectory() {
        let trajectories =
            vec![trajectory(&[1.0, 2.0, 4.0], Termination::Similar), trajectory(&[8.0], Termination::Horizon)];
        let demonstrations = Demonstrations::new(trajectories);
        let of = |penalty| {
            returns(&demonstrations, &QuitRules { quit_penalty: penalty, ..QuitRules::default() }, 0.5, &[0.0, 6.0])
        };
        assert_eq!(of(None), [3.0, 4.0, 4.0, 11.0]);
        assert_eq!(of(Some(-2.0)), [1.5, 1.0, -2.0, 11.0], "what is logged where the user left");
    }
}
