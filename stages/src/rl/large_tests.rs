//! Learners over a catalogue without a table of scores: each takes a few steps, with equal bytes on any number of threads.

use pipeline::{Context, Stage};

use super::conformance::{demonstrated_cycles, small_network};
use super::inputs::{Offline, OnlineWithDemos, OnlineWithReference};
use super::kl_config::KlConfig;
use super::{A2c, Bcq, Crr, Dqn, Mixture, NetworkConfig, Outputs, Ppo, Sac, mixture};
use crate::artifact::{Array, PolicyFile, QuitRules, Repeats, VectorDistances, World};
use crate::env::{PolicyAgent, play};
use crate::nn::TABLE_ITEMS;

const ITEMS: usize = TABLE_ITEMS + 100;
const USERS: usize = 4;

/// Items that nothing is similar to, and that are shown once.
fn world() -> World {
    let numbers =
        |count: usize, step: f64| (0..count).map(|k| ((k as f64 * step).fract() - 0.5) as f32 * 2.0).collect();
    let [users, items] =
        [(USERS, 0.618_034), (ITEMS, 0.754_878)].map(|(rows, step)| Array::new(&[rows, 3], numbers(3 * rows, step)));
    let pay =
        |at: usize| 3.0 + (0..3).map(|d| users.data[at / ITEMS * 3 + d] * items.data[at % ITEMS * 3 + d]).sum::<f32>();
    let rewards = Array::new(&[USERS, ITEMS], (0..USERS * ITEMS).map(pay).collect());
    let rules = QuitRules { horizon: 3, repeats: Repeats::Masked, ..QuitRules::default() };
    let distances = crate::artifact::Distances::Vectors(VectorDistances::new(items.clone()));
    World::new(rewards, distances, [users, items], rules)
}

fn network() -> NetworkConfig {
    NetworkConfig { hidden_size: 4, prior_scale: 1.0, similarity_penalty: 1.0, ..small_network() }
}

/// A policy that prefers some items, in the place of one that was trained.
fn policy(world: &World) -> PolicyFile {
    let mut file = network().build(world, 9, &candle_core::Device::Cpu).unwrap().export().unwrap();
    file.arrays.get_mut("bias").unwrap().data.iter_mut().step_by(7).for_each(|bias| *bias += 1.0);
    PolicyFile::new(file, "rl.bc", world).unwrap()
}

/// Runs it on 1, 2 and 16 threads, and what it made in the world.
#[track_caller]
fn assert_learns<S: Stage<Outputs = Outputs>>(stage: &S, inputs: impl Fn(World) -> S::Inputs + Sync) {
    let world = world();
    let of = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let folder = tempfile::tempdir().unwrap();
            stage.run(inputs(world.clone()), &Context::detached(folder.path())).unwrap()
        })
    };
    let alone = of(1);
    assert!(alone.curves.0.iter().all(|point| point.value.is_finite()), "{:?}", alone.curves.0);
    for threads in [2, 16] {
        let other = of(threads);
        assert!(other.policy == alone.policy && other.curves == alone.curves, "{threads} threads");
    }
    let network = PolicyAgent::load(&alone.policy, USERS, ITEMS).unwrap();
    assert!(network.streams());
    let played = play(&world, &[0, 1], &PolicyAgent { network: &network, sample: true }, 1).unwrap();
    assert_eq!((played.items(0).len(), played.items(1).len()), (3, 3));
}

fn kl() -> KlConfig {
    KlConfig { coef: 0.5, ..KlConfig::default() }
}

fn offline(world: World) -> Offline {
    let demonstrations = demonstrated_cycles(&world, &[&[3, 5000, 8200], &[8000, 4, 17]]);
    Offline::new(world, demonstrations)
}

#[test]
fn offline_learners_learn() {
    let network = network();
    let (n_gradient_steps, batch_size, target_update_interval) = (2, 5, 1);
    let shared = Bcq { n_gradient_steps, batch_size, target_update_interval, network, ..Bcq::default() };
    assert_learns(&shared, offline);
    let Bcq { network, .. } = shared;
    assert_learns(&Crr { n_gradient_steps, batch_size, target_update_interval, network, ..Crr::default() }, offline);
}

#[test]
fn a_soft_actor_critic_learns_alone_and_near_a_reference() {
    let config = Sac {
        n_iterations: 2,
        episodes_per_update: 2,
        gradient_steps: 1,
        batch_size: 5,
        target_update_interval: 1,
        network: network(),
        ..Sac::default()
    };
    assert_learns(&config, OnlineWithReference::new);
    let near =
        |world: World| OnlineWithReference { reference: Some(policy(&world)), ..OnlineWithReference::new(world) };
    assert_learns(&Sac { kl: kl(), ..config }, near);
}

#[test]
fn policies_and_values_learn_near_a_reference() {
    let (network, n_iterations, episodes_per_update) = (network(), 2, 2);
    let near = |world: World| OnlineWithDemos { reference: Some(policy(&world)), ..OnlineWithDemos::new(world) };
    let a2c =
        A2c { n_iterations, episodes_per_update, bc_coef: 0.0, kl: kl(), network: network.clone(), ..A2c::default() };
    assert_learns(&a2c, near);
    let ppo =
        Ppo { n_iterations, episodes_per_update, bc_coef: 0.0, kl: kl(), network: network.clone(), ..Ppo::default() };
    assert_learns(&ppo, near);
    let dqn = Dqn {
        n_iterations,
        episodes_per_update,
        gradient_steps: 1,
        batch_size: 5,
        kl: kl(),
        network,
        ..Dqn::default()
    };
    let near =
        |world: World| OnlineWithReference { reference: Some(policy(&world)), ..OnlineWithReference::new(world) };
    assert_learns(&dqn, near);
}

#[test]
fn a_mixture_learns() {
    let config = Mixture { n_iterations: 2, episodes_per_update: 2, network: network(), ..Mixture::default() };
    assert_learns(&config, |world| {
        let init = policy(&world);
        mixture::Inputs { world, init, reward: None }
    });
}
