//! Inverse RL on an NVIDIA GPU; see [`assert_same_training`].

use super::gail::tests::{brief, cycle};
use super::{Airl, Gail, Inputs, Outputs};
use crate::nn::DiscriminatorSettings;
use crate::nn::cuda_tests::{Numbers, assert_same_training, perturb};
use crate::rl::A2c;

fn inputs() -> Inputs {
    let mut inputs = cycle();
    perturb(&mut inputs.world.user_vectors, 1);
    perturb(&mut inputs.world.item_vectors, 2);
    inputs
}

fn numbers(outputs: Outputs) -> Numbers {
    let mut numbers: Numbers = outputs.reward.0.arrays.into_iter().map(|(name, array)| (name, array.data)).collect();
    numbers.insert("weights".to_owned(), outputs.weights.weight);
    for point in outputs.curves.0 {
        numbers.entry(point.series).or_default().push(point.value as f32);
    }
    numbers
}

#[test]
fn gail_trains_alike() {
    let policy = A2c { episodes_per_update: 4, ..A2c::default() };
    for (spectral_norm, state_only) in [(false, false), (true, true)] {
        let discriminator = DiscriminatorSettings { spectral_norm, weighted: spectral_norm, ..brief(2) };
        let stage = Gail { rounds: 3, discriminator, state_only, policy: policy.clone(), ..Gail::default() };
        assert_same_training("irl.gail", &stage, &inputs, &numbers);
    }
}

#[test]
fn airl_trains_alike() {
    let policy = A2c { episodes_per_update: 4, ..A2c::default() };
    let stage = Airl { rounds: 3, discriminator: brief(2), policy, ..Airl::default() };
    assert_same_training("irl.airl", &stage, &inputs, &numbers);
}
