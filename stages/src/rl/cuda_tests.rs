//! Every learner on an NVIDIA GPU; see [`assert_same_training`].

use pipeline::Stage;

use super::conformance::{demonstrated_cycles, small_network};
use super::inputs::{Offline, Online, OnlineWithDemos, OnlineWithReference};
use super::{A2c, Bcq, BehaviourCloning, C51, Cql, Crr, Dqn, IlRec, Iql, Outputs, Ppo, Reinforce, Sac, Sqn, bc, ilrec};
use crate::artifact::{Demonstrations, World};
use crate::env::cluster_world;
use crate::nn::cuda_tests::{Numbers, assert_same_training, perturb};

fn world() -> World {
    let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 8, 4);
    perturb(&mut world.user_vectors, 1);
    perturb(&mut world.item_vectors, 2);
    world
}

fn demonstrations(world: &World) -> Demonstrations {
    demonstrated_cycles(world, &[&[0, 2, 4]])
}

/// The policy's parameters, and what was seen on the way.
fn numbers(outputs: Outputs) -> Numbers {
    let mut numbers: Numbers = outputs.policy.0.arrays.into_iter().map(|(name, array)| (name, array.data)).collect();
    for point in outputs.curves.0 {
        numbers.entry(point.series).or_default().push(point.value as f32);
    }
    numbers
}

fn assert_same_on_gpu<S: Stage<Outputs = Outputs>>(stage: &S, inputs: fn(World, Demonstrations) -> S::Inputs) {
    stage.check().unwrap();
    assert_same_training(S::KIND, stage, &|| inputs(world(), demonstrations(&world())), &numbers);
}

#[test]
fn bc_matches_the_cpu() {
    let stage =
        BehaviourCloning { n_epochs: 3, batch_size: 8, network: small_network(), ..BehaviourCloning::default() };
    assert_same_on_gpu(&stage, bc::Inputs::new);
}

#[test]
fn bc_over_a_sample_matches_the_cpu() {
    let softmax = bc::Softmax::Sampled(bc::Sampled { n_negatives: 4, log_q_correction: true });
    let network = small_network();
    let stage = BehaviourCloning { n_epochs: 3, batch_size: 8, softmax, network, ..BehaviourCloning::default() };
    assert_same_on_gpu(&stage, bc::Inputs::new);
}

#[test]
fn cql_matches_the_cpu() {
    let stage = Cql {
        n_gradient_steps: 3,
        batch_size: 16,
        target_update_interval: 2,
        network: small_network(),
        ..Cql::default()
    };
    assert_same_on_gpu(&stage, Offline::new);
}

#[test]
fn bcq_matches_the_cpu() {
    let stage = Bcq {
        n_gradient_steps: 3,
        batch_size: 16,
        target_update_interval: 2,
        network: small_network(),
        ..Bcq::default()
    };
    assert_same_on_gpu(&stage, Offline::new);
}

#[test]
fn crr_matches_the_cpu() {
    let stage = Crr {
        n_gradient_steps: 3,
        batch_size: 16,
        target_update_interval: 2,
        network: small_network(),
        ..Crr::default()
    };
    assert_same_on_gpu(&stage, Offline::new);
}

#[test]
fn iql_matches_the_cpu() {
    let stage = Iql {
        n_gradient_steps: 3,
        batch_size: 16,
        target_update_interval: 2,
        network: small_network(),
        ..Iql::default()
    };
    assert_same_on_gpu(&stage, Offline::new);
}

#[test]
fn sqn_matches_the_cpu() {
    let stage = Sqn {
        n_gradient_steps: 3,
        batch_size: 16,
        target_update_interval: 2,
        network: small_network(),
        ..Sqn::default()
    };
    assert_same_on_gpu(&stage, Offline::new);
}

#[test]
fn dqn_matches_the_cpu() {
    let stage =
        Dqn { n_iterations: 3, episodes_per_update: 4, gradient_steps: 2, network: small_network(), ..Dqn::default() };
    assert_same_on_gpu(&stage, |world, _| OnlineWithReference::new(world));
}

#[test]
fn reinforce_matches_the_cpu() {
    let stage = Reinforce { n_iterations: 3, episodes_per_update: 4, network: small_network(), ..Reinforce::default() };
    assert_same_on_gpu(&stage, |world, _| Online::new(world));
}

#[test]
fn sac_matches_the_cpu() {
    let stage =
        Sac { n_iterations: 3, episodes_per_update: 4, gradient_steps: 2, network: small_network(), ..Sac::default() };
    assert_same_on_gpu(&stage, |world, _| OnlineWithReference::new(world));
}

#[test]
fn c51_matches_the_cpu() {
    let stage = C51 {
        n_iterations: 3,
        episodes_per_update: 4,
        gradient_steps: 2,
        n_atoms: 11,
        network: small_network(),
        ..C51::default()
    };
    assert_same_on_gpu(&stage, |world, _| Online::new(world));
}

#[test]
fn a2c_matches_the_cpu() {
    let stage = A2c { n_iterations: 3, episodes_per_update: 4, network: small_network(), ..A2c::default() };
    assert_same_on_gpu(&stage, |world, demonstrations| OnlineWithDemos {
        demonstrations: Some(demonstrations),
        ..OnlineWithDemos::new(world)
    });
}

#[test]
fn ppo_matches_the_cpu() {
    let stage =
        Ppo { n_iterations: 3, episodes_per_update: 4, batch_size: 16, network: small_network(), ..Ppo::default() };
    assert_same_on_gpu(&stage, |world, demonstrations| OnlineWithDemos {
        demonstrations: Some(demonstrations),
        ..OnlineWithDemos::new(world)
    });
}

#[test]
fn ilrec_matches_the_cpu() {
    let stage = IlRec { n_iterations: 3, episodes_per_update: 4, network: small_network(), ..IlRec::default() };
    assert_same_on_gpu(&stage, ilrec::Inputs::new);
}
