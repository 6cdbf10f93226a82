//! The contract of all stages of inverse RL: demonstrated steps have a higher learned reward than others, in every form.

use pipeline::{Context, Stage};
use rand::RngExt;

use super::gail::tests::{brief, cycle};
use super::{Airl, Gail, Inputs, Outputs};
use crate::env::{LearnedReward, last_steps};
use crate::nn::{DiscriminatorSettings, Optimizer, RewardForm, rng};
use crate::rl::{A2c, BcDataset};

/// The demonstrations show one item of each cluster; the other items have the same reward in the world, but the expert does not choose
/// them.
#[track_caller]
fn assert_likes_the_expert<S: Stage<Inputs = Inputs, Outputs = Outputs>>(stage: &S) {
    stage.check().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let outputs = stage.run(cycle(), &Context::detached(folder.path())).unwrap();
    let Inputs { world, demonstrations, .. } = cycle();
    let pairs = BcDataset::new(&demonstrations, None, &world, 7).unwrap();
    let learned = LearnedReward::load(&outputs.reward, &world, 7).unwrap();
    let mut draw = rng(&[5]);
    let others: Vec<u32> = pairs.actions.iter().map(|_| draw.random_range(0..6)).collect();
    let mean = |actions: &[u32]| {
        let rewards = learned.rewards(&pairs.observation, actions, &last_steps(&[6, 6, 6])).unwrap();
        rewards.iter().map(|&r| f64::from(r)).sum::<f64>() / rewards.len() as f64
    };
    let (expert, other) = (mean(&pairs.actions), mean(&others));
    assert!(expert > other, "the reward of demonstrated steps is {expert}, that of others {other}");
    let weight = outputs.weights.weight.iter().map(|&w| f64::from(w)).sum::<f64>() / 18.0;
    assert!((weight - 1.0).abs() < 1e-5, "weights of mean {weight}");
}

fn settings() -> DiscriminatorSettings {
    DiscriminatorSettings { n_updates: Some(15), optimizer: Optimizer::with_learning_rate(0.01), ..brief(2) }
}

#[test]
fn gail_pays_what_the_expert_does_in_every_form() {
    for reward in [RewardForm::NegLogOneMinusD, RewardForm::LogD, RewardForm::LogDMinusLogOneMinusD] {
        let policy = A2c { episodes_per_update: 4, ..A2c::default() };
        assert_likes_the_expert(&Gail { rounds: 8, reward, discriminator: settings(), policy, ..Gail::default() });
    }
}

#[test]
fn airl_pays_what_the_expert_does_in_either_form() {
    for (reward, entropy_coef) in [(RewardForm::LogDMinusLogOneMinusD, 0.0), (RewardForm::F, 1.0)] {
        let policy = A2c { episodes_per_update: 4, entropy_coef, ..A2c::default() };
        assert_likes_the_expert(&Airl { rounds: 8, reward, discriminator: settings(), policy, ..Airl::default() });
    }
}
