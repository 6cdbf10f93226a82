//! w_env: how much better a demonstrated step was than usual, in the world's own rewards.
//!
//! A = Q(s, a) − V(s) from two small networks fitted to the discounted returns of the demonstrations; w_env = exp(A/β) (AWR,
//! arXiv 1910.00177, eq. 8; IL-Rec uses it on demonstrations).

use anyhow::Result;
use candle_core::{Device, Tensor};
use candle_nn::Module;

use crate::artifact::Demonstrations;
use crate::nn::{AdamW, Init, Mlp, Params};

/// Discounted returns of the demonstrated steps, in their order.
pub(super) fn returns(demonstrations: &Demonstrations, gamma: f64) -> Vec<f32> {
    let mut all = Vec::new();
    for trajectory in &demonstrations.trajectories {
        let mut sum = 0.0;
        let mut backwards: Vec<f32> = Vec::with_capacity(trajectory.steps.len());
        for step in trajectory.steps.iter().rev() {
            sum = f64::from(step.reward) + gamma * sum;
            backwards.push(sum as f32);
        }
        all.extend(backwards.into_iter().rev());
    }
    all
}

/// Advantages of the demonstrated steps, `[N]`, in units of the returns' deviation. `states [N, F_s]`, `pairs [N, F_sa]`.
pub(super) fn advantages(states: &Tensor, pairs: &Tensor, returns: &[f32], seed: u64) -> Result<Vec<f32>> {
    let count = returns.len().max(1) as f64;
    let mean = returns.iter().map(|&r| f64::from(r)).sum::<f64>() / count;
    let deviation = (returns.iter().map(|&r| (f64::from(r) - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-6);
    let targets: Vec<f32> = returns.iter().map(|&r| ((f64::from(r) - mean) / deviation) as f32).collect();
    let targets = Tensor::from_vec(targets, returns.len(), &Device::Cpu)?;
    let q = fitted(pairs, &targets, seed)?;
    let v = fitted(states, &targets, seed.wrapping_add(1))?;
    Ok((q - v)?.to_vec1()?)
}

/// A small regression of `targets [N]` on `features [N, F]`, answered on the same rows. Few steps and decay: it should say
/// what is usual, not remember each return.
fn fitted(features: &Tensor, targets: &Tensor, seed: u64) -> Result<Tensor> {
    let mut params = Params::default();
    let widths = [features.dim(1)?, 32, 1];
    let network = Mlp::new(&mut params, "network", &widths, 1.0, &mut Init::new(seed))?;
    let mut adam = AdamW::new(&params, 0.005, 0.01, 1.0)?;
    for _ in 0..200 {
        let loss = (network.forward(features)?.squeeze(1)? - targets)?.sqr()?.mean_all()?;
        adam.descend(&params, &loss)?;
    }
    Ok(network.forward(features)?.squeeze(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_better_action_has_the_higher_advantage() {
        // One state, two actions; the second returns more.
        let states = Tensor::ones((40, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        let which: Vec<f32> = (0..40).map(|k| (k % 2) as f32).collect();
        let pairs = Tensor::from_vec(which.clone(), (40, 1), &Device::Cpu).unwrap();
        let returns: Vec<f32> = which.iter().map(|a| 3.0 + 2.0 * a).collect();
        let found = advantages(&states, &pairs, &returns, 1).unwrap();
        assert!((found[0] + 1.0).abs() < 0.1 && (found[1] - 1.0).abs() < 0.1, "±1 deviation, found {:?}", &found[..2]);
    }

    #[test]
    fn returns_are_discounted_within_each_trajectory() {
        use crate::artifact::{Choice, End, Trajectory};
        let step = |reward| Choice { item: 0, reward, candidates: vec![], scores: vec![], call: String::new() };
        let trajectory = |rewards: &[f32]| Trajectory {
            user: 0,
            steps: rewards.iter().map(|&r| step(r)).collect(),
            end: End::Horizon,
        };
        let demonstrations = Demonstrations { trajectories: vec![trajectory(&[1.0, 2.0, 4.0]), trajectory(&[8.0])] };
        assert_eq!(returns(&demonstrations, 0.5), [3.0, 4.0, 4.0, 8.0]);
    }
}
