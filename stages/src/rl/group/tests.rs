//! The contract of learners, and what is claimed of groups beside it.

use candle_core::Device;

use super::*;
use crate::env::cluster_world;
use crate::nn::Optimizer;
use crate::rl::conformance::{
    ContractCase, assert_keeps_the_contract, beside_worse_sessions, copied, demonstrated_cycles, greedy_returns,
    small_network, with,
};

const LOSSES: [Loss; 4] = [Loss::Grpo, Loss::DrGrpo, Loss::Nft, Loss::Rft];

fn solver(loss: Loss) -> Group {
    Group {
        loss,
        n_iterations: 150,
        optimizer: Optimizer::with_learning_rate(0.01),
        network: small_network(),
        ..Group::default()
    }
}

fn refused() -> Vec<(Group, &'static str)> {
    vec![
        (with(|c: &mut Group| c.users_per_update = 0), "users_per_update"),
        (with(|c| c.group_size = 1), "group_size"),
        (with(|c| c.n_epochs = 0), "n_epochs"),
        (with(|c| c.batch_size = 0), "batch_size"),
        (with(|c| c.clip_range = 0.0), "clip_range"),
        (with(|c| c.neg_weight = -1.0), "neg_weight"),
        (with(|c| c.min_neg_ratio = 0.0), "min_neg_ratio"),
        (with(|c| c.entropy_coef = -1.0), "entropy_coef"),
        (with(|c| c.kl.floor = 0.0), "kl.floor"),
    ]
}

#[test]
fn it_keeps_the_contract_of_learners() {
    for loss in LOSSES {
        assert_keeps_the_contract(&ContractCase {
            short: Group {
                n_iterations: 5,
                users_per_update: 2,
                group_size: 3,
                n_epochs: 2,
                batch_size: 7,
                ..solver(loss)
            },
            untrained: Group { n_iterations: 0, ..solver(loss) },
            solver: solver(loss),
            updates: 5,
            inputs: |world, _| Inputs { world, demonstrations: None, init: None, reference: None },
            // There is no critic.
            frozen: &["critic."],
            refused: refused(),
            online: true,
        });
    }
}

fn untrained(world: &World) -> PolicyFile {
    let network = small_network().build(world, 3, &Device::Cpu).unwrap();
    PolicyFile::new(network.export().unwrap(), "rl.bc", world).unwrap()
}

#[test]
fn recorded_sessions_keep_the_contract_too() {
    for loss in [Loss::Grpo, Loss::Nft] {
        let solver = Group { from: SessionsFrom::Demonstrations, ..solver(loss) };
        assert_keeps_the_contract(&ContractCase {
            short: Group { n_iterations: 5, users_per_update: 2, n_epochs: 2, batch_size: 7, ..solver.clone() },
            untrained: Group { n_iterations: 0, ..solver.clone() },
            solver,
            updates: 5,
            inputs: |world, demonstrations| {
                let (demonstrations, copied) = beside_worse_sessions(&world, demonstrations);
                Inputs { world, demonstrations: Some(demonstrations), init: None, reference: Some(copied) }
            },
            frozen: &["critic."],
            refused: refused(),
            online: false,
        });
    }
}

fn run<S: Stage<Outputs = Outputs>>(stage: &S, inputs: S::Inputs) -> Result<Outputs> {
    let folder = tempfile::tempdir().unwrap();
    stage.run(inputs, &Context::detached(folder.path()))
}

/// Two cycles, of which the worse was recorded three times as often: who copies follows it.
#[test]
fn it_prefers_what_paid_over_what_was_frequent() {
    let world = cluster_world(&[5.0, 4.0, 3.0, 2.0], 2, 2, 30, 2);
    let (good, frequent): (&[u32], &[u32]) = (&[0, 2, 4], &[2, 4, 6]);
    let demonstrations = demonstrated_cycles(&world, &[good, frequent, frequent, frequent]);
    let copied = copied(&world, &demonstrations);
    assert_eq!(greedy_returns(&copied, &world), [90.0, 90.0]);
    for loss in LOSSES {
        let inputs = Inputs {
            world: world.clone(),
            demonstrations: Some(demonstrations.clone()),
            init: None,
            reference: Some(copied.clone()),
        };
        let stage = Group { from: SessionsFrom::Demonstrations, ..solver(loss) };
        let learned = run(&stage, inputs).unwrap();
        assert_eq!(greedy_returns(&learned.policy, &world), [120.0, 120.0], "{loss:?}");
        let first = |series: &str| learned.curves.0.iter().find(|point| point.series == series).unwrap().value;
        assert!((first("probability_ratio") - 1.0).abs() < 1e-5, "it begins from π_old");
        assert_eq!((first("success_rate"), first("credited_share") < 1.0), (0.25, loss == Loss::Rft));
    }
}

/// A session is credited for all of its steps, so that most of a step's credit is of the others: it is right more often than not.
#[test]
fn credit_correlates_with_what_a_step_was_worth() {
    let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 4);
    for loss in [Loss::Grpo, Loss::Nft] {
        let inputs = Inputs { world: world.clone(), demonstrations: None, init: None, reference: None };
        let learned = run(&Group { n_iterations: 30, ..solver(loss) }, inputs).unwrap();
        let of = learned.curves.0.iter().filter(|point| point.series == "credit_correlation");
        let found: Vec<f64> = of.map(|point| point.value).collect();
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        assert!(found.len() == 30 && mean > 0.2, "{loss:?}: {mean} of {found:?}");
    }
}

#[test]
fn a_penalty_holds_it_at_the_reference_and_ports_fit_the_settings() {
    let world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 8, 4);
    let moved = |coef: f64| {
        let kl = KlConfig { coef, final_coef: Some(coef), ..KlConfig::default() };
        let stage = Group { n_iterations: 40, kl, ..solver(Loss::Nft) };
        let (init, reference) = (Some(untrained(&world)), (coef > 0.0).then(|| untrained(&world)));
        let learned = run(&stage, Inputs { world: world.clone(), demonstrations: None, init, reference }).unwrap();
        let last =
            |series: &str| learned.curves.0.iter().rfind(|point| point.series == series).map(|point| point.value);
        (last("entropy").unwrap(), last("reference_kl"))
    };
    let ((free, none), (held, divergence)) = (moved(0.0), moved(10.0));
    assert!(none.is_none() && divergence.unwrap() < 0.1, "{divergence:?}");
    assert!(held > 1.7 && free < held - 0.3, "the entropy of six items is 1.79; it ends at {free}, held at {held}");

    let ports = |stage: &Group| -> Vec<(&str, bool)> {
        stage.requirements().iter().map(|wanted| (wanted.port, wanted.connected)).collect()
    };
    assert_eq!(ports(&Group::default()), [("demonstrations", false), ("reference", false)]);
    let recorded = Group { from: SessionsFrom::Demonstrations, ..Group::default() };
    assert_eq!(ports(&recorded), [("demonstrations", true), ("reference", true)]);
    let kl = KlConfig { coef: 0.1, ..KlConfig::default() };
    assert_eq!(ports(&Group { kl, ..Group::default() }), [("demonstrations", false), ("reference", true)]);
}
