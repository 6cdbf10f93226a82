//! What shaping by a memory promises: gradients and utilities by hand, bytes where it is off or resumed, and its effect in a planted
//! world.

use candle_core::{Device, Tensor, Var};
use pipeline::{Context, Stage};

use super::*;
use crate::artifact::{Curves, Demonstrations, MemoryNode, MemoryScale, PolicyFile, RewardTiming};
use crate::env::{cluster_world, plans};
use crate::memory_graph::BuildMemoryGraph;
use crate::nn::Optimizer;
use crate::nn::training::assert_resumes_exactly;
use crate::rl::a2c::policy_gradient_loss;
use crate::rl::conformance::{demonstrated_cycles, small_network, with};
use crate::rl::inputs::OnlineWithDemos;
use crate::rl::{A2c, IlRec, Outputs, Ppo, ilrec};

/// Three clusters that pay 5, 4 and 3, of which each tires users for two turns; learners are paid at the end of a session.
fn sparse_world(horizon: usize) -> World {
    let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, horizon, 4);
    world.rules.training_reward = RewardTiming::SessionEnd;
    world
}

/// The best cycle, and sessions that end after two or three turns, of each user.
fn good_and_bad(world: &World) -> Demonstrations {
    let good: &[u32] = &[0, 2, 4];
    let bad = [[0, 0], [0, 1], [2, 2], [2, 3], [4, 4], [4, 5], [0, 2], [2, 0], [0, 4], [4, 0], [2, 4], [4, 2]];
    demonstrated_cycles(world, &[&[good], &bad.each_ref().map(<[u32; 2]>::as_slice)[..]].concat())
}

fn remembered(world: &World, demonstrations: Demonstrations) -> MemoryGraph {
    let stage = BuildMemoryGraph { gamma: 1.0, window: 2, ..BuildMemoryGraph::default() };
    let inputs = crate::memory_graph::Inputs { demonstrations, world: world.clone(), items: None };
    stage.run(inputs, &Context::detached(std::path::Path::new("unused"))).unwrap().memory
}

fn run<S: Stage<Outputs = Outputs>>(stage: &S, inputs: S::Inputs) -> (PolicyFile, Curves) {
    let folder = tempfile::tempdir().unwrap();
    let Outputs { policy, curves } = stage.run(inputs, &Context::detached(folder.path())).unwrap();
    (policy, curves)
}

#[test]
fn weights_agree_with_hand_computed_values() {
    let half = Shaping::default();
    assert_eq!(half.weights(0, 100), [0.5, 0.7]);
    assert_eq!(half.weights(25, 100), [0.25, 0.85]);
    assert_eq!([half.weights(50, 100), half.weights(99, 100)], [[0.0, 1.0]; 2]);
    // ξ₀ = 1 and d = ½: η is ½ at first, and δ·η = 0.45 less than ξ₀.
    let bounded = Shaping { initial_weight: 1.0, advantage_reduction: 0.5, ..Shaping::default() };
    assert_eq!(bounded.weights(0, 100), [0.45, 0.5]);
    assert_eq!(Shaping { initial_weight: 0.0, ..Shaping::default() }.weights(0, 100), [0.0, 1.0]);
}

fn memory_of(world: &World, values: &[f32]) -> MemoryGraph {
    let node = |(item, &value): (usize, &f32)| MemoryNode {
        user: 0,
        turn: 0,
        recent: vec![],
        item: 2 * item as u32,
        return_to_go: value,
        value,
        confidence: 0.5,
        agent: false,
        last_used: 0,
    };
    MemoryGraph {
        goals: vec!["return".into()],
        items: (0..world.items()).map(|item| (item.to_string(), vec![0])).collect(),
        nodes: values.iter().enumerate().map(node).collect(),
        scale: MemoryScale { window: 2, horizon: world.rules.horizon, gamma: 1.0, low: 0.0, high: 1.0 },
    }
}

#[test]
fn utilities_and_their_controls_agree_with_hand_computed_values() {
    let world = sparse_world(30);
    let graph = memory_of(&world, &[1.0, 0.25]);
    let mut batch = Batch::empty(&world, 2);
    // An item of cluster 0, one of cluster 1, and one that nothing is like; then, after cluster 0, cluster 0: no state is like that.
    for items in [&[0, 1][..], &[3], &[4]] {
        batch.push(0, items, &[0.0; 2][..items.len()], &[0.0; 2][..items.len()], &world);
    }
    let utilities = |control: MemoryControl| {
        let config = Shaping { control, ..Shaping::default() };
        let shaper = Shaper::optional(&config, Some(&graph), &world, 10, 3).unwrap().unwrap();
        shaper.utilities(&shaper.memory.matches(&batch, 3).unwrap())
    };
    assert_eq!(utilities(MemoryControl::None), [0.5, 0.0, 0.125, 0.0]);
    assert_eq!(utilities(MemoryControl::Shuffled), [0.125, 0.0, 0.5, 0.0], "of two nodes each has the other's value");
    assert_eq!(utilities(MemoryControl::Constant), [0.15625; 4]);
}

#[test]
fn without_an_advantage_the_gradient_is_that_of_the_utility_times_its_weight() {
    let (utility, weights) = ([0.5, 0.0, 0.25], [0.5, 0.7]);
    let gradient = |loss: &dyn Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>, advantages: &[f32]| {
        let log_prob = Var::new(&[0.0_f32, 0.0, 0.0], &Device::Cpu).unwrap();
        let loss = loss(&log_prob, &Tensor::new(advantages, &Device::Cpu).unwrap()).unwrap();
        loss.backward().unwrap().get(&log_prob).unwrap().to_vec1::<f32>().unwrap()
    };
    let shaped = combined(&[0.0; 3], &utility, weights);
    let clipped = |change: &Tensor, advantage: &Tensor| crate::nn::loss::clipped_loss(change, advantage, 0.2);
    for loss in [&policy_gradient_loss as &dyn Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>, &clipped] {
        let wanted: Vec<f32> = gradient(loss, &utility).iter().map(|g| weights[0] * g).collect();
        assert_eq!(gradient(loss, &shaped), wanted);
        assert!(wanted[0] < 0.0 && wanted[1] == 0.0);
    }
    assert_eq!(combined(&[1.0, -2.0], &[0.5], [0.5, 0.7]), [0.95, -2.0], "demonstrated steps behind keep theirs");
}

/// A training with, or without, a memory.
type Training<'a> = dyn Fn(Option<MemoryGraph>) -> (PolicyFile, Curves) + Sync + 'a;

/// The three learners with a few updates, from a world and, perhaps, a memory.
fn with_each(shaping: &Shaping, check: &mut dyn FnMut(&str, &Training<'_>)) {
    let world = sparse_world(8);
    let demonstrations = good_and_bad(&world);
    let inputs = |memory: Option<MemoryGraph>| OnlineWithDemos { memory, ..OnlineWithDemos::new(world.clone()) };
    let network = small_network();
    let a2c = A2c { n_iterations: 6, episodes_per_update: 4, bc_coef: 0.0, network, ..A2c::default() };
    let a2c = A2c { shaping: shaping.clone(), ..a2c };
    check("a2c", &|memory| run(&a2c, inputs(memory)));
    let ppo = Ppo { n_iterations: 6, episodes_per_update: 4, batch_size: 5, bc_coef: 0.0, ..Ppo::default() };
    let ppo = Ppo { network: small_network(), shaping: shaping.clone(), ..ppo };
    check("ppo", &|memory| run(&ppo, inputs(memory)));
    let il = IlRec {
        n_iterations: 6,
        episodes_per_update: 4,
        bc_batch_size: 8,
        network: small_network(),
        ..IlRec::default()
    };
    let il = IlRec { shaping: shaping.clone(), ..il };
    check("ilrec", &|memory| {
        run(&il, ilrec::Inputs { memory, ..ilrec::Inputs::new(world.clone(), demonstrations.clone()) })
    });
}

#[test]
fn a_weight_of_zero_gives_the_bytes_of_no_memory_and_another_weight_does_not() {
    let world = sparse_world(8);
    let graph = remembered(&world, good_and_bad(&world));
    let zero = Shaping { initial_weight: 0.0, ..Shaping::default() };
    with_each(&zero, &mut |name, run| {
        assert!(run(None).0 == run(Some(graph.clone())).0, "{name}: a weight of 0 changes the policy");
    });
    with_each(&Shaping::default(), &mut |name, run| {
        let (plain, shaped) = (run(None), run(Some(graph.clone())));
        assert!(plain.0 != shaped.0, "{name}: the memory changes nothing");
        let said = |curves: &Curves, series: &str| curves.0.iter().filter(|point| point.series == series).count();
        assert_eq!((said(&plain.1, "shaping_ratio"), said(&shaped.1, "shaping_ratio")), (0, 6), "{name}");
        assert_eq!(said(&shaped.1, "utility"), 3, "{name}: half of six updates");
    });
}

#[test]
fn a_training_with_a_memory_resumes_to_the_same_bytes_on_any_number_of_threads() {
    let world = sparse_world(8);
    let graph = remembered(&world, good_and_bad(&world));
    // The memory is used to the end, is full, and forgets.
    let shaping =
        Shaping { decay_fraction: 1.0, capacity: graph.nodes.len() + 3, prune_after: 1, ..Shaping::default() };
    with_each(&shaping, &mut |name, run| {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(Some(graph.clone())))
        };
        assert!(on(1) == on(2), "{name}: one thread and two give different bytes");
    });
    let inputs = || OnlineWithDemos { memory: Some(graph.clone()), ..OnlineWithDemos::new(world.clone()) };
    let compared = |outputs: Outputs| (outputs.policy, outputs.curves);
    let network = small_network();
    let a2c =
        A2c { n_iterations: 5, episodes_per_update: 4, bc_coef: 0.0, network, checkpoint_every: 1, ..A2c::default() };
    assert_resumes_exactly(&A2c { shaping: shaping.clone(), ..a2c }, inputs, compared, 5);
    let ppo = Ppo {
        n_iterations: 5,
        episodes_per_update: 4,
        batch_size: 5,
        bc_coef: 0.0,
        checkpoint_every: 1,
        ..Ppo::default()
    };
    assert_resumes_exactly(&Ppo { network: small_network(), shaping: shaping.clone(), ..ppo }, inputs, compared, 5);
    let il =
        IlRec { n_iterations: 5, episodes_per_update: 4, bc_batch_size: 8, checkpoint_every: 1, ..IlRec::default() };
    let il = IlRec { network: small_network(), shaping, ..il };
    let inputs =
        || ilrec::Inputs { memory: Some(graph.clone()), ..ilrec::Inputs::new(world.clone(), good_and_bad(&world)) };
    assert_resumes_exactly(&il, inputs, compared, 5);
}

#[test]
fn what_is_not_set_is_in_no_key_and_mistakes_are_named() {
    for config in [
        serde_json::to_value(A2c::default()),
        serde_json::to_value(Ppo::default()),
        serde_json::to_value(IlRec::default()),
    ] {
        assert_eq!(config.unwrap().get("shaping"), None);
    }
    let refused: [(A2c, &str); 7] = [
        (with(|c: &mut A2c| c.shaping.initial_weight = 1.5), "shaping.initial_weight"),
        (with(|c| c.shaping.decay_fraction = 0.0), "shaping.decay_fraction"),
        (with(|c| c.shaping.decay_fraction = 1.5), "shaping.decay_fraction"),
        (with(|c| c.shaping.advantage_reduction = -0.1), "shaping.advantage_reduction"),
        (with(|c| c.shaping.max_ratio = f64::NAN), "shaping.max_ratio"),
        (with(|c| c.shaping.good_quantile = 2.0), "shaping.good_quantile"),
        (with(|c| c.shaping.capacity = 0), "shaping.capacity"),
    ];
    for (config, path) in &refused {
        assert_eq!(config.check().unwrap_err().0, *path);
    }
    let set = with(|c: &mut A2c| c.shaping.control = MemoryControl::Constant);
    assert!(set.requirements().iter().any(|wanted| wanted.port == "memory" && wanted.connected));
    let world = sparse_world(30);
    let graph = memory_of(&world, &[1.0, 0.5]);
    let refused = |graph: &MemoryGraph, capacity: usize, said: &str| {
        let config = Shaping { capacity, ..Shaping::default() };
        let error = Shaper::optional(&config, Some(graph), &world, 1, 0).err().unwrap().to_string();
        assert!(error.contains(said) && error.contains("\nhelp: "), "{error}");
    };
    refused(&graph, 1, "the memory has 2 nodes, and `shaping.capacity` is 1");
    refused(&memory_of(&sparse_world(8), &[1.0]), 9, "sessions of 8 turns, those of the world have 30");
    refused(&MemoryGraph { items: vec![], nodes: vec![], ..graph.clone() }, 9, "knows 0 items, the world has 6");
    let mut strange = graph;
    strange.nodes[0].user = 4;
    refused(&strange, 9, "a node of user 4, the world has 4");
}

#[test]
fn a_session_is_paid_at_its_end_where_the_rules_say_so() {
    let mut rules = sparse_world(8).rules;
    let end = crate::artifact::Termination::Similar;
    assert_eq!(rules.training_rewards(&[5.0, 4.0, 3.0], Some(end)), [0.0, 0.0, 12.0]);
    rules.quit_penalty = Some(-10.0);
    assert_eq!(rules.training_rewards(&[5.0, 4.0, 3.0], Some(end)), [0.0, 0.0, -1.0], "the penalty is part of the sum");
    rules.training_reward = RewardTiming::EachStep;
    assert_eq!(rules.training_rewards(&[5.0, 4.0, 3.0], Some(end)), [5.0, 4.0, -10.0]);
    assert!(rules.training_rewards(&[], None).is_empty());
    assert_eq!(serde_json::to_value(&rules).unwrap().get("training_reward"), None, "files stay as they were");
}

/// The update after which the mean return of ten updates is 90 % of the best plan's, of `updates`, where it never is.
fn updates_to_90_percent(world: &World, shaping: Option<&Shaping>, seed: u64, updates: u64) -> f64 {
    let best = plans(world, &[0], &|| Ok(())).unwrap()[0].value;
    let memory = shaping.map(|_| remembered(world, good_and_bad(world)));
    let config = A2c {
        n_iterations: updates,
        episodes_per_update: 16,
        gamma: 1.0,
        n_step: world.rules.horizon,
        bc_coef: 0.0,
        optimizer: Optimizer::with_learning_rate(0.01),
        network: small_network(),
        shaping: shaping.cloned().unwrap_or_default(),
        seed,
        ..A2c::default()
    };
    let (_, curves) = run(&config, OnlineWithDemos { memory, ..OnlineWithDemos::new(world.clone()) });
    let returns: Vec<f64> = curves.0.iter().filter(|p| p.series == "return").map(|p| p.value).collect();
    let reached = returns.windows(10).position(|ten| ten.iter().sum::<f64>() / 10.0 >= 0.9 * best);
    reached.map_or(updates as f64, |at| (at + 10) as f64)
}

/// Planted: demonstrations hold the best cycle among sessions that end soon, and the reward comes at the end alone. The memory shortens
/// the way; the same nodes with their returns exchanged do not.
#[test]
fn a_memory_of_good_sessions_shortens_the_way_to_a_reward_at_the_end() {
    let world = sparse_world(12);
    let shuffled = Shaping { control: MemoryControl::Shuffled, ..Shaping::default() };
    let arms = [Some(&Shaping::default()), None, Some(&shuffled)];
    let found = arms.map(|arm| [0, 1, 2, 3, 4].map(|seed| updates_to_90_percent(&world, arm, seed, 120)));
    for other in [found[1], found[2]] {
        let saved: Vec<f64> = found[0].iter().zip(other).map(|(with, without)| without - with).collect();
        let mean = saved.iter().sum::<f64>() / 5.0;
        let deviation = (saved.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4.0).sqrt();
        // Student's 97.5 % quantile of 4 degrees of freedom.
        let low = mean - 2.776 * deviation / 5.0_f64.sqrt();
        assert!(low > 0.0, "it saves {mean} updates, at least {low:.1}: with it, without it, shuffled {found:?}");
    }
}
