use pipeline::{Artifact, Named};

use super::table_rows::{
    BEHAVIOUR_CLONING, CONSTANT_REWARD, GREEDY_ORACLE, PLANNING_ORACLE, POPULAR_CYCLE, POPULAR_QUIT_AWARE, RANDOM,
    RANDOM_QUIT_AWARE, RETRIEVER_TOP_1,
};
use super::*;
use crate::artifact::{
    Candidates, Demonstrations, Interactions, Metric, Metrics, PolicyFile, Step, Termination, Trajectory, World,
};
use crate::env::cluster_world;
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::{ActorCritic, Encoder};

const USERS: usize = 6;

/// Clusters {0, 1}, {2, 3}, {4, 5} that pay 5, 4 and 3; the last cluster's item is remembered; four turns.
pub(super) fn world() -> World {
    cluster_world(&[5.0, 4.0, 3.0], 2, 1, 4, USERS)
}

/// The same audience paying half as much: what policies learned in.
pub(super) fn elsewhere() -> World {
    let mut world = world();
    world.rewards_mut().data.iter_mut().for_each(|reward| *reward /= 2.0);
    world.distances_mut().data.iter_mut().for_each(|distance| *distance *= 2.0);
    world
}

fn policy(world: &World, seed: u64) -> PolicyFile {
    let config = ActorCriticConfig {
        users: USERS,
        items: 6,
        width: 3,
        window: 2,
        hidden_size: 4,
        prior_scale: 1.0,
        similarity_penalty: 0.0,
        similar_fraction: 0.5,
        encoder: Encoder::Window,
    };
    let network = ActorCritic::new(config, &world.user_vectors, &world.item_vectors, seed).unwrap();
    PolicyFile::new(network.export().unwrap(), "rl.a2c", &elsewhere()).unwrap()
}

pub(super) fn trajectory(user: u32, items: &[u32], end: Termination) -> Trajectory {
    let pay = |item: u32| [5.0, 4.0, 3.0][item as usize / 2];
    let choice =
        |&item: &u32| Step { item, reward: pay(item), candidates: Vec::new(), scores: Vec::new(), call: String::new() };
    Trajectory { user, steps: items.iter().map(choice).collect(), end }
}

fn teacher(name: &str, cell: &str, trajectories: Vec<Trajectory>) -> Named<Demonstrations> {
    Named { name: name.into(), cell: cell.into(), value: Demonstrations::new(trajectories) }
}

pub(super) fn inputs() -> Inputs {
    let world = world();
    // Popularity: 4 before 2 before the rest.
    let train =
        Interactions { user: vec![0; 3], item: vec![4, 2, 0], rating: vec![5.0, 4.0, 1.0], timestamp: vec![0; 3] };
    // Even users are offered 0, 2, 4, 1; odd ones 0, 1, …, which drives them away at the second turn.
    let list = |user| if user % 2 == 0 { vec![0, 2, 4, 1] } else { vec![0, 1, 2, 3] };
    let candidates = Candidates {
        items: (0..USERS).map(list).collect(),
        scores: vec![vec![0.0; 4]; USERS],
        filter_quit_items: false,
    };
    let named =
        |name: &str, seed| Named { name: name.into(), cell: format!("seed={seed}"), value: policy(&world, seed) };
    let policies = vec![named("a2c", 0), named("bc", 0), named("a2c", 1)];
    // The teacher was cut after two turns.
    let trajectories = vec![trajectory(3, &[0, 2], Termination::Horizon), trajectory(0, &[2, 3], Termination::Similar)];
    Inputs {
        world,
        train,
        candidates: Some(candidates),
        policies,
        teacher: vec![teacher("teacher", "", trajectories)],
        llm_usage: Vec::new(),
        training_world: None,
        planning_worlds: Vec::new(),
        demonstrations: None,
        validation: None,
        eval_users: None,
    }
}

pub(super) fn run(config: &Evaluate, inputs: Inputs) -> Result<Outputs> {
    // The baselines that are trained leave checkpoints, from which no other test may go on.
    let folder = tempfile::tempdir().unwrap();
    config.run(inputs, &Context::detached(folder.path()))
}

pub(super) fn quick() -> Evaluate {
    Evaluate { n_resamples: 200, ..Evaluate::default() }
}

pub(super) fn get<'a>(metrics: &'a Metrics, policy: &str, metric: &str) -> &'a Metric {
    let found = metrics.rows.iter().find(|m| m.policy == policy && m.metric == metric);
    found.unwrap_or_else(|| panic!("no {metric} of {policy}"))
}

pub(super) fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn the_rows_stand_in_order_with_their_seeds_and_remarks() {
    let metrics = run(&quick(), inputs()).unwrap().metrics;
    let mut names: Vec<&str> = metrics.rows.iter().map(|metric| metric.policy.as_str()).collect();
    names.dedup();
    let played = [
        RANDOM,
        RANDOM_QUIT_AWARE,
        POPULAR_QUIT_AWARE,
        POPULAR_CYCLE,
        GREEDY_ORACLE,
        PLANNING_ORACLE,
        RETRIEVER_TOP_1,
        teachers::TEACHER,
        "a2c",
        "bc",
    ];
    assert_eq!(names, played);
    // What could not be made is listed apart.
    let missing: Vec<&str> = metrics.missing.iter().map(|row| row.policy.as_str()).collect();
    assert_eq!(missing, [CONSTANT_REWARD, BEHAVIOUR_CLONING]);
    assert!(metrics.missing[0].why.contains("connect `training_world`"), "{:?}", metrics.missing);
    let count = |row| get(&metrics, row, "return_inclusive");
    let seen = |row| (count(row).role, count(row).seeds, count(row).episodes);
    assert_eq!(seen(RANDOM), (RowRole::Baseline, 5, 30));
    assert_eq!(seen(POPULAR_QUIT_AWARE), (RowRole::Baseline, 1, 6));
    assert_eq!(seen(teachers::TEACHER), (RowRole::Teacher, 1, 2));
    assert_eq!(seen("a2c"), (RowRole::Policy, 2, 12));
    assert!(count(POPULAR_QUIT_AWARE).remark.starts_with("privileged") && count(POPULAR_QUIT_AWARE).privileged);
    assert!(!count(POPULAR_CYCLE).privileged && !count("a2c").privileged);
    assert!(
        count(teachers::TEACHER).remark.contains("2 users") && count(teachers::TEACHER).remark.contains("2 of 4 steps")
    );
    assert_eq!(count("a2c").remark, "");
}

#[test]
fn who_knows_the_distances_is_said() {
    let remark = |change: fn(&mut Inputs), row| {
        let mut inputs = inputs();
        change(&mut inputs);
        get(&run(&quick(), inputs).unwrap().metrics, row, "return_inclusive").remark.clone()
    };
    let avoiding = |inputs: &mut Inputs| inputs.candidates.as_mut().unwrap().filter_quit_items = true;
    assert_eq!(remark(|_| {}, RETRIEVER_TOP_1), "");
    assert!(remark(avoiding, RETRIEVER_TOP_1).starts_with("privileged"));
    assert!(!remark(|_| {}, teachers::TEACHER).contains("privileged"));
    assert!(remark(avoiding, teachers::TEACHER).contains("privileged"));
    assert!(remark(|inputs| inputs.candidates = None, teachers::TEACHER).contains("connect `candidates`"));
}

#[test]
fn numbers_are_those_by_hand() {
    let metrics = run(&quick(), inputs()).unwrap().metrics;
    let mean = |row, metric| get(&metrics, row, metric).mean;
    // Oracle 5 4 5 4; popular 3 4 3 4; the cycle 4 3 4 3.
    assert!(near(mean(POPULAR_CYCLE, "return_inclusive"), 14.0) && near(mean(POPULAR_CYCLE, "repeat_rate"), 0.5));
    assert!(near(mean(GREEDY_ORACLE, "return_inclusive"), 18.0) && near(mean(GREEDY_ORACLE, "coverage"), 2.0 / 6.0));
    assert!(
        near(mean(POPULAR_QUIT_AWARE, "return_inclusive"), 14.0)
            && near(mean(POPULAR_QUIT_AWARE, "reward_per_step"), 3.5)
    );
    assert_eq!(get(&metrics, GREEDY_ORACLE, "return_inclusive").low, mean(GREEDY_ORACLE, "return_inclusive"));
    // Retriever: 5 + 4 + 3 + 5 in four turns, or 5 + 5 in two of which the second drives away.
    let retriever = [
        ("return_inclusive", 13.5),
        ("return_exclusive", 11.0),
        ("length", 3.0),
        ("reward_per_step", 4.5),
        ("length_exclusive", 2.5),
        ("reward_per_step_exclusive", 11.0 / 2.5),
        ("return_iqm", 13.5),
        ("distinct_items", 3.0),
        ("repeat_rate", 0.0),
        ("coverage_per_step", 4.0 / 18.0),
        ("coverage", 4.0 / 6.0),
        ("end_similar", 0.5),
        ("end_horizon", 0.5),
        ("end_low_reward", 0.0),
    ];
    for (metric, expected) in retriever {
        let found = get(&metrics, RETRIEVER_TOP_1, metric);
        assert!(near(found.mean, expected), "{metric}: {found:?}");
        assert!(found.low <= found.mean && found.mean <= found.high, "{found:?}");
    }
    // Its users differ by 17 − 10; coverage has one seed and no interval.
    assert!(get(&metrics, RETRIEVER_TOP_1, "return_inclusive").low < 13.5);
    assert_eq!(get(&metrics, RETRIEVER_TOP_1, "coverage").low, mean(RETRIEVER_TOP_1, "coverage"));
}

/// The retriever's odd users leave at the second turn; what a protocol logs for it is no reward.
#[test]
fn a_penalty_reaches_no_measure() {
    let with = |penalty| {
        let mut inputs = inputs();
        inputs.world.rules.quit_penalty = penalty;
        run(&quick(), inputs).unwrap()
    };
    let (without, with) = (with(None), with(Some(-1000.0)));
    assert!(get(&with.metrics, RETRIEVER_TOP_1, "end_similar").mean > 0.0);
    assert!(with.metrics == without.metrics && with.rollouts == without.rollouts && with.steps == without.steps);
}

#[test]
fn the_teacher_is_compared_on_its_users_and_turns_only() {
    let metrics = run(&quick(), inputs()).unwrap().metrics;
    let mean = |row, metric| get(&metrics, row, metric).mean;
    // User 3: 5 + 4, stays. User 0: 4 + 4, leaves.
    assert!(
        near(mean(teachers::TEACHER, "return_inclusive"), 8.5)
            && near(mean(teachers::TEACHER, "return_exclusive"), 6.5)
    );
    assert!(near(mean(teachers::TEACHER, "return_teacher_users"), 8.5));
    // The retriever's first two turns: 5 + 5 with user 3, 5 + 4 with user 0.
    assert!(near(mean(RETRIEVER_TOP_1, "return_teacher_users"), 9.5));
    assert!(
        near(mean(teachers::TEACHER, "lead_over_retriever"), -1.0)
            && near(mean(teachers::TEACHER, "lead_over_popular"), 1.5)
    );
    assert_eq!(get(&metrics, RETRIEVER_TOP_1, "return_teacher_users").episodes, 2);
    let (own, teacher) = (mean("a2c", "return_teacher_users"), mean(teachers::TEACHER, "return_teacher_users"));
    assert!(near(mean("a2c", "lead_over_teacher"), own - teacher));
    // A teacher who played beyond the evaluated users is evaluated alone.
    let few = run(&Evaluate { users: Some(3), ..quick() }, inputs()).unwrap().metrics;
    assert!(
        few.rows.iter().all(|metric| metric.metric != "return_teacher_users" && metric.metric != "lead_over_teacher")
    );
    assert!(near(get(&few, teachers::TEACHER, "return_inclusive").mean, 8.5));
}

/// The means of one row from the files alone, by the definitions in [`Metric`] and in nothing else in common with the stage.
fn recomputed(rollouts: &Rollouts, steps: &Steps, row: &str, items: f64) -> Vec<(&'static str, f64)> {
    let rows: Vec<_> = rollouts.0.iter().filter(|r| r.policy == row).collect();
    let played: Vec<_> = steps.0.iter().filter(|p| p.policy == row).collect();
    let mean =
        |of: &dyn Fn(&crate::artifact::Rollout) -> f64| rows.iter().map(|r| of(r)).sum::<f64>() / rows.len() as f64;
    let stayed =
        |r: &crate::artifact::Rollout| f64::from(r.length) - f64::from(u8::from(r.end != Termination::Horizon));
    let mut returns: Vec<f64> = rows.iter().map(|r| r.return_inclusive).collect();
    returns.sort_by(f64::total_cmp);
    let cut = returns.len() / 4;
    let middle = &returns[cut..returns.len() - cut];
    let mut cells: Vec<&str> = rows.iter().map(|r| r.cell.as_str()).collect();
    cells.dedup();
    let shown = |cell: &str| {
        let items: Vec<u32> = played.iter().filter(|p| p.cell == cell).flat_map(|p| p.items.clone()).collect();
        let steps = items.len() as f64;
        (items.into_iter().collect::<std::collections::BTreeSet<_>>().len() as f64, steps)
    };
    let over_cells = |of: &dyn Fn(&str) -> f64| cells.iter().map(|cell| of(cell)).sum::<f64>() / cells.len() as f64;
    let from_steps: f64 = played.iter().flat_map(|p| &p.rewards).map(|&r| f64::from(r)).sum();
    assert!(near(from_steps, rows.iter().map(|r| r.return_inclusive).sum()), "steps and episodes of {row}");
    let mut found = vec![
        ("return_inclusive", mean(&|r| r.return_inclusive)),
        ("return_exclusive", mean(&|r| r.return_exclusive)),
        ("length", mean(&|r| f64::from(r.length))),
        ("length_exclusive", mean(&stayed)),
        ("reward_per_step", mean(&|r| r.return_inclusive) / mean(&|r| f64::from(r.length))),
        ("reward_per_step_exclusive", mean(&|r| r.return_exclusive) / mean(&stayed)),
        ("return_iqm", middle.iter().sum::<f64>() / middle.len() as f64),
        ("distinct_items", mean(&|r| f64::from(r.distinct_items))),
        ("repeat_rate", mean(&|r| 1.0 - f64::from(r.distinct_items) / f64::from(r.length))),
        ("diversity", mean(&|r| r.diversity)),
        ("novelty", mean(&|r| r.novelty)),
        ("end_similar", mean(&|r| f64::from(u8::from(r.end == Termination::Similar)))),
        ("end_low_reward", mean(&|r| f64::from(u8::from(r.end == Termination::LowReward)))),
        ("end_category", mean(&|r| f64::from(u8::from(r.end == Termination::Category)))),
        ("end_horizon", mean(&|r| f64::from(u8::from(r.end == Termination::Horizon)))),
        ("coverage", over_cells(&|cell| shown(cell).0 / items)),
        ("coverage_per_step", over_cells(&|cell| shown(cell).0 / shown(cell).1)),
    ];
    if rows.iter().all(|r| r.return_training_world.is_some()) {
        found.push(("return_training_world", mean(&|r| r.return_training_world.unwrap())));
        found.push(("gap", mean(&|r| r.return_training_world.unwrap() - r.return_inclusive)));
    }
    found
}

#[test]
fn every_figure_can_be_computed_again_from_the_files() {
    let outputs = run(
        &Evaluate { action_selection: ActionSelection::Sample, ..quick() },
        Inputs { training_world: Some(elsewhere()), ..inputs() },
    )
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    outputs.rollouts.write(&at("rollouts")).unwrap();
    outputs.steps.write(&at("steps")).unwrap();
    outputs.metrics.write(&at("metrics")).unwrap();
    let (rollouts, steps) = (Rollouts::read(&at("rollouts")).unwrap(), Steps::read(&at("steps")).unwrap());
    assert_eq!((&rollouts, &steps), (&outputs.rollouts, &outputs.steps), "nothing is lost in the files");
    let metrics = Metrics::read(&at("metrics")).unwrap();
    let mut rows: Vec<&str> = rollouts.0.iter().map(|r| r.policy.as_str()).collect();
    rows.dedup();
    assert_eq!(rows.len(), 11);
    for row in rows {
        let mut of_row: Vec<&str> =
            metrics.rows.iter().filter(|m| m.policy == row).map(|m| m.metric.as_str()).collect();
        for (metric, expected) in recomputed(&rollouts, &steps, row, 6.0) {
            let found = get(&metrics, row, metric);
            assert!(near(found.mean, expected), "{metric} of {row}: {} for {expected}", found.mean);
            of_row.retain(|name| *name != metric);
        }
        // Leads are differences of those, and the bound is in no episode.
        let of_others = |m: &&str| m.starts_with("lead_over_") || ["return_teacher_users", "return_bound"].contains(m);
        assert!(of_row.iter().all(of_others), "{of_row:?}");
    }
    for policy in ["a2c", "bc"] {
        let mean = |row, metric| get(&metrics, row, metric).mean;
        for (metric, other) in [("lead_over_popular", POPULAR_QUIT_AWARE), ("lead_over_retriever", RETRIEVER_TOP_1)] {
            let lead = mean(policy, "return_inclusive") - mean(other, "return_inclusive");
            assert!(near(mean(policy, metric), lead));
        }
    }
    let cells: Vec<&str> = rollouts.0.iter().filter(|r| r.policy == "a2c").map(|r| r.cell.as_str()).collect();
    assert_eq!((cells.len(), cells[0], cells[11]), (12, "seed=0", "seed=1"));
}

#[test]
fn what_the_training_world_would_have_paid_stands_beside() {
    let folder = tempfile::tempdir().unwrap();
    let config = Evaluate { baselines: Baselines { n_iterations: 2, seeds: 2, ..Baselines::default() }, ..quick() };
    let inputs = Inputs {
        training_world: Some(elsewhere()),
        demonstrations: inputs().teacher.pop().map(|told| told.value),
        ..inputs()
    };
    let metrics = config.run(inputs, &Context::detached(folder.path())).unwrap().metrics;
    let mean = |row, metric| get(&metrics, row, metric).mean;
    assert!(near(mean(GREEDY_ORACLE, "return_training_world"), 9.0) && near(mean(GREEDY_ORACLE, "gap"), -9.0));
    // Both learned baselines were made, with a row for each seed's users.
    for row in [CONSTANT_REWARD, BEHAVIOUR_CLONING] {
        let found = get(&metrics, row, "return_inclusive");
        assert!(
            found.role == RowRole::Baseline && !found.privileged && found.seeds == 2 && found.episodes == 12,
            "{found:?}"
        );
    }
    assert!(metrics.missing.is_empty());
}

#[test]
fn only_the_people_are_judged_in_every_row() {
    // The teacher played with users 3 and 0; of them only 3 is evaluated, and so is user 5.
    let log = Interactions { user: vec![5, 3, 5], item: vec![0; 3], rating: vec![4.0; 3], timestamp: vec![0; 3] };
    let out = run(&quick(), Inputs { eval_users: Some(log), ..inputs() }).unwrap();
    assert!(out.rollouts.0.iter().all(|rollout| [3, 5].contains(&rollout.user)));
    let episodes = |row, metric| get(&out.metrics, row, metric).episodes;
    assert_eq!(episodes(POPULAR_QUIT_AWARE, "return_inclusive"), 2);
    assert_eq!((episodes(teachers::TEACHER, "return_inclusive"), episodes("a2c", "return_teacher_users")), (1, 2));
    // User 3 is odd: offered 0 and 1, it leaves at the second turn, where the teacher was paid for 0 and 2.
    assert!(near(get(&out.metrics, teachers::TEACHER, "lead_over_retriever").mean, (5.0 + 4.0) - (5.0 + 5.0)));
    let versus = |a: &str, b: &str| {
        let found = out.comparisons.0.iter().find(|c| c.policy == a && c.other == b).unwrap();
        (found.users, found.metric.clone())
    };
    assert_eq!(versus("a2c", POPULAR_QUIT_AWARE), (2, "return_inclusive".to_owned()));
    assert_eq!(versus("a2c", teachers::TEACHER), (1, "return_teacher_users".to_owned()));
}

#[test]
fn rows_are_compared_on_the_same_users() {
    let outputs = run(&quick(), inputs()).unwrap();
    let pair = |policy: &str, other: &str| {
        let found = outputs.comparisons.0.iter().find(|c| c.policy == policy && c.other == other);
        found.unwrap_or_else(|| panic!("no {policy} against {other}"))
    };
    // Three learned rows against nine others each.
    assert_eq!(outputs.comparisons.0.len(), 27);
    let mean = |row, metric| get(&outputs.metrics, row, metric).mean;
    let found = pair("a2c", GREEDY_ORACLE);
    assert!(near(found.difference, mean("a2c", "return_inclusive") - mean(GREEDY_ORACLE, "return_inclusive")));
    assert_eq!((found.seeds, found.users, found.metric.as_str()), (1, 6, "return_inclusive"));
    assert!(
        found.probability_of_improvement_low <= found.probability_of_improvement
            && found.probability_of_improvement <= found.probability_of_improvement_high
    );
    // The teacher with user 3: 9 for 10 of the retriever; with user 0: 8 for 9. Never better.
    let found = pair(teachers::TEACHER, RETRIEVER_TOP_1);
    assert_eq!((found.difference, found.low, found.high, found.probability_of_improvement), (-1.0, -1.0, -1.0, 0.0));
    assert_eq!((found.users, found.metric.as_str()), (2, "return_teacher_users"));
    // From the other side everything is turned.
    let (there, back) = (pair("a2c", "bc"), pair("bc", "a2c"));
    assert!(near(there.difference, -back.difference) && near(there.low, -back.high));
    assert!(
        near(there.probability_of_improvement, 1.0 - back.probability_of_improvement)
            && near(there.probability_of_improvement_high, 1.0 - back.probability_of_improvement_low)
    );

    let of = |row: &str| outputs.profiles.0.iter().filter(|p| p.policy == row).collect::<Vec<_>>();
    let oracle = of(GREEDY_ORACLE);
    assert_eq!(oracle.len(), 51);
    // Nobody returns more than 19, which the planning oracle does, and the oracle 18; everybody of both does up to there.
    let best = of(PLANNING_ORACLE);
    assert_eq!((best[50].threshold, best[50].share, best[49].share), (19.0, 0.0, 1.0));
    assert!(oracle.iter().all(|point| point.share == f64::from(u8::from(point.threshold < 18.0))));
}

#[test]
fn a_gap_is_that_of_the_world_that_was_learned_in() {
    let mut third = elsewhere();
    third.rewards_mut().data[0] += 0.25;
    let config = Evaluate { baselines: Baselines { constant_reward: false, ..Baselines::default() }, ..quick() };
    let metrics = run(&config, Inputs { training_world: Some(third), ..inputs() }).unwrap().metrics;
    assert!(metrics.rows.iter().all(|metric| metric.policy != "a2c" || metric.metric != "gap"));
    assert!(get(&metrics, "a2c", "return_inclusive").remark.contains("learned in another world than the one at"));
    get(&metrics, GREEDY_ORACLE, "gap");
    let small = cluster_world(&[5.0], 2, 1, 4, USERS);
    let alone = Inputs { training_world: Some(small), policies: Vec::new(), ..inputs() };
    let error = format!("{:#}", run(&config, alone).err().unwrap());
    assert!(
        error
            .starts_with("the world at `training_world` has 6 users and 2 items, the evaluation world 6 and 6\nhelp: "),
        "{error}"
    );
}

#[test]
fn settings_that_say_nothing_are_refused() {
    let misspelt = Evaluate { select_over: Some("iteration".into()), ..quick() };
    let error = format!("{:#}", run(&misspelt, inputs()).err().unwrap());
    assert_eq!(error, "`select_over: iteration` names no setting that is swept in the policies\nhelp: swept are seed");
    let idle = Baselines { n_iterations: 0, ..Baselines::default() };
    let old = Evaluate { select_over: Some("iterations".into()), ..quick() }.check().unwrap_err();
    assert!(old.0 == "select_over" && old.1.starts_with("`iterations` is now `n_iterations`"), "{old:?}");
    let (path, message) = Evaluate { baselines: idle.clone(), ..quick() }.check().unwrap_err();
    assert!(path == "baselines.n_iterations" && message.contains("never updated"), "{message}");
    assert!(Evaluate { baselines: Baselines { constant_reward: false, ..idle }, ..quick() }.check().is_ok());
}

#[test]
fn checkpoints_are_chosen_by_the_validation_world() {
    let checkpoint = |iterations: u64, seed: u64| Named {
        name: "a2c".into(),
        cell: format!("n_iterations={iterations},seed={seed}"),
        value: policy(&world(), 10 * seed + iterations),
    };
    let policies = vec![checkpoint(1, 0), checkpoint(2, 0), checkpoint(1, 1), checkpoint(2, 1)];
    let config = Evaluate { select_over: Some("n_iterations".into()), ..quick() };
    let with = |validation| Inputs { policies: policies.clone(), validation, ..inputs() };
    let error = format!("{:#}", run(&config, with(None)).err().unwrap());
    assert!(error.contains("help: connect one to `validation`"), "{error}");
    // Nobody stays where nothing pays: there the first checkpoint of each training is as good as the second.
    let mut barren = world();
    barren.rewards_mut().data.iter_mut().for_each(|reward| *reward = 0.0);
    let outputs = run(&config, with(Some(barren))).unwrap();
    let found = get(&outputs.metrics, "a2c", "return_inclusive");
    assert_eq!(found.seeds, 2);
    assert_eq!(found.remark, "checkpoint selected in the validation world: n_iterations 1, 1");
    assert!(outputs.rollouts.0.iter().any(|r| r.policy == "a2c" && r.cell == "seed=1"));
}

#[test]
fn equal_bytes_on_one_and_on_two_threads() {
    let bytes = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let outputs =
            pool.install(|| run(&Evaluate { action_selection: ActionSelection::Sample, ..quick() }, inputs()).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let (metrics, rollouts) = (folder.path().join("metrics"), folder.path().join("rollouts"));
        outputs.metrics.write(&metrics).unwrap();
        outputs.rollouts.write(&rollouts).unwrap();
        let (comparisons, steps) = (folder.path().join("comparisons"), folder.path().join("steps"));
        outputs.comparisons.write(&comparisons).unwrap();
        outputs.steps.write(&steps).unwrap();
        [metrics, rollouts, comparisons, steps].map(|path| std::fs::read(path).unwrap())
    };
    assert_eq!(bytes(1), bytes(2));
}

#[test]
fn what_cannot_be_judged_is_named() {
    let error = |change: fn(&mut Inputs)| {
        let mut inputs = inputs();
        change(&mut inputs);
        format!("{:#}", run(&quick(), inputs).err().unwrap())
    };
    let shallow = error(|inputs| inputs.candidates.as_mut().unwrap().items[5].truncate(3));
    assert!(shallow.starts_with("user 5 has 3 candidates for episodes of 4 steps\nhelp: set `top_k`"), "{shallow}");
    let others = error(|inputs| inputs.candidates.as_mut().unwrap().items.truncate(2));
    assert!(others.starts_with("the candidates are for 2 users, the world has 6"), "{others}");
    let strange = error(|inputs| inputs.candidates.as_mut().unwrap().items[1][0] = 6);
    assert!(strange.starts_with("the candidates of user 1 name item 6"), "{strange}");
    let smaller = error(|inputs| inputs.world = cluster_world(&[5.0, 4.0, 3.0], 2, 1, 4, 9));
    assert!(smaller.contains("the candidates are for 6 users, the world has 9"), "{smaller}");
    let policy = error(|inputs| {
        inputs.world = cluster_world(&[5.0, 4.0, 3.0], 2, 1, 4, 9);
        inputs.candidates = None;
    });
    assert!(policy.starts_with("policy `a2c` of seed=0: the policy knows 6 users"), "{policy}");
}
