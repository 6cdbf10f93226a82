use rand::RngExt;

use super::*;
use crate::artifact::{Array, DiversityPenalty, QuitRules, Repeats, Termination, WindowRule};
use crate::env::cluster_world;
use crate::nn::rng;

/// The best return of all sequences, each of them tried.
fn best_of_all(world: &World, items: &mut Vec<u32>, rewards: &mut Vec<f32>) -> f64 {
    let mut best = f64::NEG_INFINITY;
    for item in 0..world.items() as u32 {
        let episode = Episode { world, similarity_mask: None, user: 0, items, rewards };
        if !episode.allowed(item) {
            continue;
        }
        let (reward, end) = episode.answer(item).unwrap();
        let rest = match end {
            Some(_) => 0.0,
            None => {
                items.push(item);
                rewards.push(reward);
                let rest = best_of_all(world, items, rewards);
                items.pop();
                rewards.pop();
                rest
            }
        };
        best = best.max(f64::from(reward) + rest);
    }
    best
}

/// Five items with rewards of 1 to 5, some pairs of which conflict, and rules, all drawn.
fn drawn(seed: u64) -> World {
    let mut draw = rng(&[seed, 0x91a5]);
    let items = 5;
    let mut world = cluster_world(&vec![1.0; items], 1, 1, 6, 1);
    world.rewards_mut().data.iter_mut().for_each(|reward| *reward = draw.random_range(1..6) as f32);
    for i in 0..items {
        for j in 0..i {
            let distance = f32::from(u8::from(draw.random_range(0..10) < 7));
            let table = &mut world.distances_mut().data;
            (table[i * items + j], table[j * items + i]) = (distance, distance);
        }
    }
    let kinds = [WindowRule::Last, WindowRule::Easyrl4rec];
    let repeats = [Repeats::Allowed, Repeats::Allowed, Repeats::Masked, Repeats::MaskedFixedLength];
    world.rules = QuitRules {
        horizon: draw.random_range(1..6),
        quit_window: draw.random_range(0..5),
        window_rule: kinds[draw.random_range(0..2)],
        distance_threshold: (draw.random_range(0..5) > 0).then_some(0.5),
        quit_below: (draw.random_range(0..3) == 0).then_some(2.0),
        max_same_category: (draw.random_range(0..3) == 0).then_some(0),
        min_turns: [0, 0, 1, 2][draw.random_range(0..4)],
        quit_penalty: None,
        repeats: repeats[draw.random_range(0..4)],
        ..QuitRules::default()
    };
    let categories = (0..2 * items).map(|_| f32::from(u8::from(draw.random_range(0..3) == 0))).collect();
    world.categories = Some(Array::new(&[items, 2], categories));
    world
}

fn planned(world: &World) -> Result<Vec<Plan>> {
    plans(world, &[0], &|| Ok(()))
}

fn returned(world: &World, items: &[u32]) -> (f64, Option<Termination>) {
    let plan = Plan { items: items.to_vec(), value: 0.0, bound: 0.0 };
    let played = play(world, &[0], &PlanAgent::new(world.users(), &[0], &[plan]), 1).unwrap();
    (played.rewards(0).iter().map(|&reward| f64::from(reward)).sum(), played.end(0))
}

#[test]
fn no_sequence_exceeds_the_bound_and_the_plan_is_what_it_says() {
    let (worlds, mut exact, mut best) = (600, 0, 0);
    for seed in 0..worlds {
        let world = drawn(seed);
        let plan = &planned(&world).unwrap()[0];
        let most = best_of_all(&world, &mut Vec::new(), &mut Vec::new());
        let why = format!("{seed}: {plan:?}, the best is {most} under {:?}", world.rules);
        assert!(plan.value <= most + 1e-6 && most <= plan.bound + 1e-6, "{why}");
        assert!((returned(&world, &plan.items).0 - plan.value).abs() < 1e-6, "{why}");
        let oracle = play(&world, &[0], &GreedyOracle, 1).unwrap();
        assert!(plan.value + 1e-6 >= oracle.rewards(0).iter().map(|&r| f64::from(r)).sum::<f64>(), "{why}");
        exact += usize::from(plan.exact());
        best += usize::from(plan.value + 1e-6 >= most);
    }
    assert!(best == worlds as usize, "{best} of {worlds} plans are the best that there are");
    assert!(exact * 100 > worlds as usize * 80, "{exact} of {worlds} are proven");
}

#[test]
fn a_plan_of_the_best_items_is_bounded_with_all_the_others() {
    let (mut few, mut exact) = (0, 0);
    for seed in 0..600 {
        let world = drawn(seed);
        let plan = &plans_of_best(&world, &[0], 2, &|| Ok(())).unwrap()[0];
        let most = best_of_all(&world, &mut Vec::new(), &mut Vec::new());
        let why = format!("{seed}: {plan:?}, the best is {most} under {:?}", world.rules);
        assert!(plan.value <= most + 1e-6 && most <= plan.bound + 1e-6, "{why}");
        assert!((returned(&world, &plan.items).0 - plan.value).abs() < 1e-6, "{why}");
        // The best two may be alike, and the greedy oracle goes on with others.
        let oracle = play(&world, &[0], &GreedyOracle, 1).unwrap();
        assert!(plan.value + 1e-6 >= oracle.rewards(0).iter().map(|&r| f64::from(r)).sum::<f64>(), "{why}");
        few += usize::from(world.rules.horizon < 5);
        exact += usize::from(world.rules.horizon < 5 && plan.exact());
    }
    assert!(few > 300 && exact * 2 > few, "{exact} of {few} are proven");
}

#[test]
fn closed_forms_are_met_and_proven() {
    let closed = |pay: &[f32], size, window, horizon| {
        let world = cluster_world(pay, size, window, horizon, 1);
        let plan = planned(&world).unwrap().remove(0);
        assert!(plan.exact(), "{plan:?}");
        assert_eq!(returned(&world, &plan.items).0, plan.value);
        plan
    };
    // Inclusive, by exact dynamic programming: 5, 4, 3 in turn and 5 once more; 5, 3 and whatever comes last.
    assert_eq!(closed(&[5.0, 4.0, 3.0], 2, 2, 30).value, 122.0);
    let two = closed(&[5.0, 3.0], 2, 2, 30);
    assert_eq!((two.value, two.items.len()), (13.0, 3));
    // The greedy oracle takes 5 and then has nothing but 1 that fits: 5, 1, 1 in turn. The plan: 4, 4, 1 in turn, and 5 at last.
    let mut world = cluster_world(&[5.0, 4.0, 4.0, 1.0, 1.0], 1, 2, 30, 1);
    for alike in [1, 2] {
        let table = &mut world.distances_mut().data;
        (table[alike], table[alike * 5]) = (0.0, 0.0);
    }
    let oracle: f32 = play(&world, &[0], &GreedyOracle, 1).unwrap().rewards(0).iter().sum();
    let plan = &planned(&world).unwrap()[0];
    assert_eq!((oracle, plan.value, plan.exact()), (70.0, 94.0, true));
}

#[test]
fn what_the_bound_does_not_read_is_not_planned() {
    let mut world = cluster_world(&[5.0, 3.0], 1, 1, 10, 1);
    world.categories = Some(Array::new(&[2, 1], vec![1.0; 2]));
    world.rules.max_same_category = Some(0);
    assert_eq!(planning_unsupported(&world), None);
    world.rules.max_same_category = Some(1);
    let error = planned(&world).unwrap_err().to_string();
    assert!(error.contains("leave by a count") && error.contains("\nhelp: "), "{error}");
    world.rules.max_same_category = None;
    world.bonus = Some(Array::new(&[3, 3], vec![1.0; 9]).into());
    assert!(planned(&world).unwrap_err().to_string().contains("where a session has come to"));
    world.bonus = None;
    world.diversity_penalty = Some(DiversityPenalty { local: 1.0, global: 0.0, decay: 0.5, reach: 1.0 });
    assert!(planned(&world).unwrap_err().to_string().contains("depend on all items of a session"));
}

#[test]
fn a_plan_begins_anew_where_a_user_stays_longer() {
    let mut world = cluster_world(&[5.0, 4.0, 3.0], 1, 1, 5, 1);
    let plan = Plan { items: vec![0, 2], value: 8.0, bound: 8.0 };
    let follow = PlanAgent::new(1, &[0], &[plan]);
    assert_eq!(play(&world, &[0], &follow, 1).unwrap().items(0), [0, 2, 0, 2, 0]);
    world.rules = QuitRules { repeats: Repeats::Masked, horizon: 3, ..world.rules };
    assert_eq!(play(&world, &[0], &follow, 1).unwrap().items(0), [0, 2, 1]);
}
