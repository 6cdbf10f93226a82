//! The contract of every learner: it solves its small worlds, resumes to the same bytes, gives equal bytes on one thread and on
//! two, moves every parameter, refuses settings by their name, and names a reward that is no number.

use std::collections::BTreeMap;

use pipeline::{Context, Stage};
use serde_json::{Value, json};

use super::inputs::Offline;
use super::{BehaviourCloning, NetworkConfig, Outputs, bc};
use crate::artifact::{Curves, Demonstrations, PolicyFile, Repeats, Step, Termination, Trajectory, World};
use crate::env::{PolicyAgent, cluster_world, play};
use crate::nn::training::assert_resumes_exactly;

/// A learner under test.
pub struct ContractCase<S: Stage<Outputs = Outputs> + Default> {
    /// Settings that solve the small worlds, with [`small_network`].
    pub solver: S,
    /// Settings of a few updates.
    pub short: S,
    /// The settings of `short` without an update.
    pub untrained: S,
    /// How many updates `short` has.
    pub updates: u64,
    /// Its inputs from a world and demonstrations in it.
    pub inputs: fn(World, Demonstrations) -> S::Inputs,
    /// Beginnings of the names of parameters that it does not use, with the reason beside.
    pub frozen: &'static [&'static str],
    /// Settings that `check` refuses, with the path that it names.
    pub refused: Vec<(S, &'static str)>,
    /// Whether it acts in the world, and so meets the world's rewards.
    pub online: bool,
}

/// A network that knows nothing of the small worlds and is large enough for them.
pub fn small_network() -> NetworkConfig {
    NetworkConfig { window: 2, hidden_size: 32, prior_scale: 0.0, similarity_penalty: 0.0, ..NetworkConfig::default() }
}

/// Three clusters of two items that pay 5, 4 and 3 and a memory of two items. The cycle of all three returns 120 in 30 turns,
/// and 122 is the best (leaving on the last turn with a 5); repeating the best item ends after two turns.
fn three_clusters() -> World {
    cluster_world(&[5.0, 4.0, 3.0], 2, 2, 30, 4)
}

/// Two clusters that pay 5 and 3 and a memory of two items: everybody leaves at the third turn, and the best is 5 + 3 + 5.
fn two_clusters() -> World {
    cluster_world(&[5.0, 3.0], 2, 2, 30, 4)
}

/// Each cycle played by user 0, and once more by each other user in turn, to the world's own end.
pub fn demonstrated_cycles(world: &World, cycles: &[&[u32]]) -> Demonstrations {
    let mut trajectories = Vec::new();
    for user in 0..world.users() as u32 {
        for cycle in cycles {
            let mut episodes = crate::env::Episodes::new(world, &[user]);
            for &item in cycle.iter().cycle() {
                episodes.step(&[0], &[item]).unwrap();
                if episodes.end(0).is_some() {
                    break;
                }
            }
            let step = |(&item, &reward): (&u32, &f32)| Step {
                item,
                reward,
                candidates: vec![],
                scores: vec![],
                call: String::new(),
            };
            let steps = episodes.items(0).iter().zip(episodes.rewards(0)).map(step).collect();
            trajectories.push(Trajectory { user, steps, end: episodes.end(0).unwrap_or(Termination::Horizon) });
        }
    }
    Demonstrations::new(trajectories)
}

fn solution(world: &World) -> Demonstrations {
    let cycle: &[u32] = if world.items() == 6 { &[0, 2, 4] } else { &[0, 2] };
    demonstrated_cycles(world, &[cycle])
}

/// The default settings with one change, to be refused.
pub fn with<S: Default>(change: fn(&mut S)) -> S {
    let mut config = S::default();
    change(&mut config);
    config
}

/// What each series of a training said last.
fn ends(curves: &Curves) -> String {
    let ends: BTreeMap<&str, f64> = curves.0.iter().map(|point| (point.series.as_str(), point.value)).collect();
    ends.into_iter().map(|(series, value)| format!("{series} {value:.3}")).collect::<Vec<_>>().join(", ")
}

fn run<S: Stage<Outputs = Outputs>>(stage: &S, inputs: S::Inputs) -> anyhow::Result<Outputs> {
    let folder = tempfile::tempdir().unwrap();
    stage.run(inputs, &Context::detached(folder.path()))
}

/// The inclusive return of each user's greedy episode.
#[track_caller]
pub fn greedy_returns(policy: &PolicyFile, world: &World) -> Vec<f32> {
    let network = PolicyAgent::load(policy, world.users(), world.items()).unwrap();
    let users: Vec<u32> = (0..world.users() as u32).collect();
    let played = play(world, &users, &PolicyAgent { network: &network, sample: false }, 0).unwrap();
    users.iter().map(|&u| played.rewards(u as usize).iter().sum()).collect()
}

/// What greedy episodes return after a log of two cycles: the better, over clusters that pay 5, 4 and 3, returns 120, and the other,
/// over those that pay 4, 3 and 2, 90; the worse is shown three times as often. Who copies returns 90.
#[track_caller]
pub fn returns_after_good_and_frequent<S: Stage<Inputs = Offline, Outputs = Outputs>>(stage: &S) -> Vec<f32> {
    let world = cluster_world(&[5.0, 4.0, 3.0, 2.0], 2, 2, 30, 2);
    let (good, frequent): (&[u32], &[u32]) = (&[0, 2, 4], &[2, 4, 6]);
    let demonstrations = demonstrated_cycles(&world, &[good, frequent, frequent, frequent]);
    greedy_returns(&run(stage, Offline::new(world.clone(), demonstrations)).unwrap().policy, &world)
}

/// Who copies these demonstrations.
pub fn copied(world: &World, demonstrations: &Demonstrations) -> PolicyFile {
    let copying = BehaviourCloning { n_epochs: 100, network: small_network(), ..BehaviourCloning::default() };
    run(&copying, bc::Inputs::new(world.clone(), demonstrations.clone())).unwrap().policy
}

/// Beside each session a worse one of the same user, with the other item of each cluster; and who copies both, said to have learned
/// nothing: the suite looks at what the training after it learns.
pub fn beside_worse_sessions(world: &World, demonstrations: Demonstrations) -> (Demonstrations, PolicyFile) {
    let mut trajectories = demonstrations.trajectories;
    for mut worse in trajectories.clone() {
        for step in &mut worse.steps {
            (step.item, step.reward) = (step.item ^ 1, 1.0);
        }
        trajectories.push(worse);
    }
    let both = Demonstrations::new(trajectories);
    let mut copied = copied(world, &both);
    copied.tell_untrained().unwrap();
    (both, copied)
}

/// The shared settings: each is there and refused by its path, and one that is set leaves the others at this learner's defaults.
#[track_caller]
fn assert_shares_the_settings<S: Stage + Default>() {
    let defaults = serde_json::to_value(S::default()).unwrap();
    let with = |path: &str, value: Value| {
        let mut config = defaults.clone();
        let pointer = format!("/{}", path.replace('.', "/"));
        config.pointer_mut(&pointer).map(|place| *place = value)?;
        Some(config)
    };
    let read = |config: Value| serde_json::from_value::<S>(config);
    for (path, value) in [
        ("gamma", json!(1.5)),
        ("optimizer.learning_rate", json!(0.0)),
        ("optimizer.weight_decay", json!(-1.0)),
        ("optimizer.max_grad_norm", json!(0.0)),
        ("network.window", json!(0)),
        ("checkpoint_every", json!(0)),
    ] {
        match with(path, value) {
            Some(config) => assert_eq!(read(config).unwrap().check().expect_err(path).0, path),
            None => assert_eq!(path, "gamma", "{} has it", S::KIND),
        }
    }
    assert_eq!(defaults["seed"], 0);
    assert_eq!(S::NOT_IN_KEY, ["checkpoint_every"]);
    let some = read(json!({ "optimizer": { "learning_rate": 0.125 } })).unwrap();
    assert_eq!(Some(serde_json::to_value(some).unwrap()), with("optimizer.learning_rate", json!(0.125)));
    let error = read(json!({ "learning_rate": 0.125 })).err().unwrap().to_string();
    for shared in ["optimizer", "network", "checkpoint_every", "seed"] {
        assert!(error.contains(&format!("`{shared}`")), "{error}");
    }
}

/// All of it.
#[track_caller]
pub fn assert_keeps_the_contract<S: Stage<Outputs = Outputs> + Default + Sync>(case: &ContractCase<S>)
where
    S::Inputs: Send,
{
    assert_shares_the_settings::<S>();
    for (config, path) in &case.refused {
        assert_eq!(config.check().expect_err(path).0, *path);
    }
    case.solver.check().unwrap();
    let inputs = |world: World| (case.inputs)(world.clone(), solution(&world));

    for (world, wanted) in [(three_clusters(), 120.0), (two_clusters(), 13.0)] {
        let outputs = run(&case.solver, inputs(world.clone())).unwrap();
        for (user, found) in greedy_returns(&outputs.policy, &world).into_iter().enumerate() {
            assert!(
                found >= wanted - 1e-3,
                "user {user} of {} items returned {found} of {wanted}; the training ended at {}",
                world.items(),
                ends(&outputs.curves)
            );
        }
        assert!(outputs.curves.0.iter().all(|point| point.value.is_finite()));
    }

    // Users who differ, so that what is frozen in the network moves its parameters, too.
    let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 8, 4);
    for (k, x) in world.user_vectors.data.iter_mut().enumerate() {
        *x = [0.5, -1.0, 0.25, 1.5, -0.5][k % 5];
    }
    let compared = |outputs: Outputs| (outputs.policy, outputs.curves);
    assert_resumes_exactly(&case.short, || inputs(world.clone()), compared, case.updates);

    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let inputs = inputs(world.clone());
        compared(pool.install(|| run(&case.short, inputs)).unwrap())
    };
    let (one, two) = (on(1), on(2));
    assert!(one == two, "one thread and two give different bytes");

    let untrained = run(&case.untrained, inputs(world.clone())).unwrap().policy;
    let untrained_flags = [&untrained, &one.0].map(|policy| policy.origin().unwrap().untrained);
    assert_eq!(untrained_flags, [true, false], "a policy says whether it has learned nothing");
    for (name, before) in &untrained.0.arrays {
        let frozen = name.starts_with("table.") || case.frozen.iter().any(|prefix| name.starts_with(prefix));
        assert_eq!(one.0.0.arrays[name] == *before, frozen, "`{name}` was to {}", if frozen { "stay" } else { "move" });
    }

    // Repeats are masked: a learner that takes one is refused by the world.
    let mut masked = cluster_world(&[5.0, 4.0, 3.0], 2, 2, 5, 4);
    masked.rules.repeats = Repeats::Masked;
    let demonstrations = demonstrated_cycles(&masked, &[&[0, 2, 4, 1, 3]]);
    run(&case.short, (case.inputs)(masked, demonstrations)).unwrap();

    if case.online {
        // What was demonstrated is sound: it is the world that breaks.
        let demonstrations = solution(&world);
        let mut broken = world;
        broken.rewards_mut().data.fill(f32::NAN);
        let error =
            format!("{:#}", run(&case.short, (case.inputs)(broken, demonstrations)).err().expect("NaN is no reward"));
        assert!(
            error.contains("update 0: the reward of user ") && error.contains("is NaN, which is not finite"),
            "{error}"
        );
    }
}
