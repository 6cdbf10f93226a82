//! Survival bias: where leaving early is right, −log(1 − D_E) prolongs episodes, and AIRL with h(terminal) = 0 does not.

use candle_core::{Device, Tensor};

use super::airl::learn;
use super::{Process, Soft};
use crate::nn::RewardForm;

/// Every turn costs 2: the expert leaves as soon as a soft-optimal policy does.
fn expert(process: &Process) -> Soft {
    process.soft_optimal(&process.of_states(&[-2.0; 3]))
}

/// The length of episodes of a policy that is soft-optimal for a form of the best discriminator's answer to `policy`.
fn length_under(form: RewardForm, process: &Process, expert: &[f64], policy: &[Vec<f64>]) -> f64 {
    let ratio = expert.iter().zip(process.occupancy(policy)).map(|(e, p)| (e / p).ln());
    let logits = Tensor::new(ratio.collect::<Vec<f64>>(), &Device::Cpu).unwrap();
    let reward: Vec<f64> = form.of(&logits, &logits).unwrap().to_vec1().unwrap();
    process.length(&process.soft_optimal(&reward).policy)
}

#[test]
fn a_reward_that_is_never_negative_prolongs_episodes() {
    let process = Process::leaving();
    let soft = expert(&process);
    let (visits, right) = (process.occupancy(&soft.policy), process.length(&soft.policy));
    assert!(right < 1.5, "leaving early is right: {right}");
    // At the start, and where the generator is the expert already.
    for (policy, times) in [(&process.uniform(), 3.0), (&soft.policy, 10.0)] {
        let prolonged = length_under(RewardForm::NegLogOneMinusD, &process, &visits, policy);
        assert!(prolonged > times * right, "{prolonged} turns instead of {right}");
        let with_both_signs = length_under(RewardForm::LogDMinusLogOneMinusD, &process, &visits, policy);
        assert!(with_both_signs < 0.5 * prolonged, "{with_both_signs} turns");
    }
}

#[test]
fn airl_leaves_when_the_expert_does() {
    let process = Process::leaving();
    let soft = expert(&process);
    let right = process.length(&soft.policy);
    let learned = learn(&process, &process.occupancy(&soft.policy), 300);
    let found = process.length(&process.soft_optimal(&learned.f).policy);
    assert!((found - right).abs() < 1e-3, "{found} turns instead of {right}");
    // With an end, no constant is free: g is the reward itself, but in the first state, to which nothing leads: only g − h counts.
    assert!(learned.g[1..].iter().all(|g| (g + 2.0).abs() < 1e-3), "{:?}", learned.g);
}
