//! The published protocols, step by step, on worlds that are small enough to know every answer.

use super::{
    Agent, Episodes, GreedyOracle, PolicyAgent, Popular, PopularCycle, Random, RetrieverAgent,
    cluster_world as clusters, play,
};
use crate::artifact::{Array, Candidates, Interactions, QuitRules, Repeats, Termination, WindowRule, World};
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::{ActorCritic, Encoder, rng};

/// What one user does to these items, one after the other; it must not have left before the last.
fn after(world: &World, items: &[u32]) -> Option<Termination> {
    let mut episodes = Episodes::new(world, &[0]);
    for &item in items {
        assert_eq!(episodes.end(0), None, "left before the end of {items:?}");
        episodes.step(&[0], &[item]).unwrap();
    }
    episodes.end(0)
}

/// Clusters of one item each that pay 5, 4, 3, 2, 5 and 1, and one of items 0 and 6, of which 6 pays 1.
fn il_rec() -> World {
    let mut world = clusters(&[5.0, 4.0, 3.0, 2.0, 5.0, 1.0, 1.0], 1, 4, 100, 1);
    let table = &mut world.distances_mut().data;
    (table[6], table[6 * 7]) = (0.0, 0.0);
    world.rules.quit_below = Some(2.0);
    world
}

#[test]
fn il_rec_looks_for_a_bad_item_first_and_then_for_a_similar_one_among_the_last_four() {
    let world = il_rec();
    assert_eq!(after(&world, &[5]), Some(Termination::LowReward), "also at the first step");
    assert_eq!(after(&world, &[3]), None, "2 is not below 2");
    assert_eq!(after(&world, &[0, 1, 2, 3, 0]), Some(Termination::Similar), "four steps later it is remembered");
    assert_eq!(after(&world, &[0, 1, 2, 3, 4, 0]), None, "five steps later it is not");
    assert_eq!(after(&world, &[0, 6]), Some(Termination::LowReward), "bad and similar: the bad item comes first");
    let round: Vec<u32> = (0..100).map(|t| t % 5).collect();
    assert_eq!((after(&world, &round[..99]), after(&world, &round)), (None, Some(Termination::Horizon)));
}

#[test]
fn a_threshold_of_distance_is_strict() {
    let mut world = il_rec();
    world.rules.distance_threshold = Some(1.0);
    assert_eq!(after(&world, &[0, 1]), None, "a distance of 1 is not below 1");
}

#[test]
fn billp_spares_the_first_step_and_logs_a_penalty_that_no_metric_sees() {
    let mut world = il_rec();
    (world.rules.min_turns, world.rules.quit_penalty, world.rules.horizon) = (1, Some(-1000.0), 3);
    assert_eq!(after(&world, &[5]), None, "nobody leaves at the first step");
    let played = |items: &[u32]| {
        let mut episodes = Episodes::new(&world, &[0]);
        for &item in items {
            episodes.step(&[0], &[item]).unwrap();
        }
        (episodes.end(0), episodes.rewards(0).to_vec(), episodes.training_rewards(0))
    };
    assert_eq!(played(&[5, 0]), (None, vec![1.0, 5.0], vec![1.0, 5.0]));
    assert_eq!(played(&[0, 5]), (Some(Termination::LowReward), vec![5.0, 1.0], vec![5.0, -1000.0]));
    assert_eq!(played(&[0, 0]), (Some(Termination::Similar), vec![5.0, 5.0], vec![5.0, -1000.0]));
    assert_eq!(
        played(&[0, 1, 2]),
        (Some(Termination::Horizon), vec![5.0, 4.0, 3.0], vec![5.0, 4.0, 3.0]),
        "nobody left"
    );
}

/// Of t items so far, 0, 1, …, the newest min(t, 7 − t) count while t < 7, then seven.
#[test]
fn easyrl4rec_remembers_by_its_slice() {
    let mut world = clusters(&[1.0; 12], 1, 7, 30, 1);
    let remembered = |world: &World, turn: u32| -> Vec<u32> {
        let left = |back: &u32| after(world, &(0..turn).chain([turn - back]).collect::<Vec<_>>()).is_some();
        (1..=turn).filter(left).collect()
    };
    assert_eq!(after(&world, &[0]), None, "the first step never ends an episode");
    for turn in 1..10 {
        assert_eq!(remembered(&world, turn), (1..=turn.min(7)).collect::<Vec<_>>(), "last, turn {turn}");
    }
    world.rules.window_rule = WindowRule::Easyrl4rec;
    for (turn, length) in (1..10).zip([1, 2, 3, 3, 2, 1, 7, 7, 7]) {
        assert_eq!(remembered(&world, turn), (1..=length).collect::<Vec<_>>(), "easyrl4rec, turn {turn}");
    }
}

/// Items 0, 1 and 2 are of the first category, 3 of both, 4 of the second, 5 and 6 of none.
fn categories(most: u32, window: usize) -> World {
    let mut world = clusters(&[1.0; 7], 1, window, 30, 1);
    let of = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]];
    world.categories = Some(Array::new(&[7, 2], of.concat()));
    (world.rules.distance_threshold, world.rules.max_same_category) = (None, Some(most));
    world
}

#[test]
fn kuairec_leaves_at_the_third_of_a_category_and_kuairand_at_the_second() {
    let kuairec = categories(1, 9);
    assert_eq!(after(&kuairec, &[0, 1]), None, "once is not more than once");
    assert_eq!(after(&kuairec, &[0, 1, 2]), Some(Termination::Category));
    assert_eq!(after(&kuairec, &[0, 4, 3]), None, "one of each");
    assert_eq!(after(&kuairec, &[0, 1, 3]), Some(Termination::Category), "any category of the item");
    assert_eq!(after(&kuairec, &[4, 5, 3, 4]), Some(Termination::Category), "an item of two counts in both");
    assert_eq!(after(&kuairec, &[5, 5, 5, 5]), None, "of no category");
    assert_eq!(after(&kuairec, &[0, 0, 0]), Some(Termination::Category), "an item is of its own category");
    let kuairand = categories(0, 10);
    assert_eq!((after(&kuairand, &[0]), after(&kuairand, &[0, 4])), (None, None));
    assert_eq!(after(&kuairand, &[0, 5, 1]), Some(Termination::Category));
    // Who remembers two items forgets the first category after two others.
    assert_eq!(after(&categories(0, 2), &[0, 4, 5, 1]), None);
    let mut exact = categories(0, 2);
    exact.rules.repeats = Repeats::MaskedFixedLength;
    assert_eq!((after(&categories(0, 2), &[0, 1]), after(&exact, &[0, 1])), (Some(Termination::Category), None));
}

#[test]
fn a_similar_item_is_told_before_its_category() {
    let mut world = categories(0, 9);
    world.rules.distance_threshold = Some(0.5);
    assert_eq!(after(&world, &[0, 0]), Some(Termination::Similar));
    assert_eq!(after(&world, &[0, 1]), Some(Termination::Category));
}

/// Everybody who plays by rules or by a network, in a world with twelve items of six clusters.
fn with_everybody(world: &World, then: &dyn Fn(&str, &dyn Agent)) {
    let (users, items) = (world.users(), world.items());
    let log = Interactions { user: vec![0], item: vec![4], rating: vec![5.0], timestamp: vec![0] };
    let candidates = Candidates {
        items: vec![(0..items as u32).collect(); users],
        scores: vec![vec![0.0; items]; users],
        filter_quit_items: true,
    };
    let config = ActorCriticConfig {
        users,
        items,
        width: world.user_vectors.shape[1],
        window: 2,
        hidden_size: 4,
        prior_scale: 1.0,
        similarity_penalty: 0.0,
        similar_fraction: 0.5,
        encoder: Encoder::Window,
    };
    let network = ActorCritic::new(config, &world.user_vectors, &world.item_vectors, 3).unwrap();
    then("random", &Random { quit_aware: false });
    then("random quit-aware", &Random { quit_aware: true });
    then("popular", &Popular { order: (0..items as u32).rev().collect() });
    then("oracle", &GreedyOracle);
    then("cycle", &PopularCycle::new(&log, items, 4.0, 3).unwrap());
    then("retriever", &RetrieverAgent { candidates: &candidates });
    then("student, greedy", &PolicyAgent { network: &network, sample: false });
    then("student, sampling", &PolicyAgent { network: &network, sample: true });
}

fn twelve(repeats: Repeats, horizon: usize) -> World {
    let mut world = clusters(&[5.0, 4.0, 3.0, 2.0, 1.0, 1.0], 2, 2, horizon, 5);
    world.rules.repeats = repeats;
    world
}

#[test]
fn nobody_shows_what_is_masked() {
    let mut world = twelve(Repeats::Masked, 11);
    // Nobody leaves, so that the masks are asked until one item is left.
    world.rules.distance_threshold = None;
    let users: Vec<u32> = (0..5).cycle().take(40).collect();
    with_everybody(&world, &|name, agent| {
        let played = play(&world, &users, agent, 5).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        for e in 0..users.len() {
            let mut items = played.items(e).to_vec();
            items.sort_unstable();
            items.dedup();
            assert_eq!(items.len(), 11, "{name}: {:?}", played.items(e));
        }
    });
}

#[test]
fn exact_rounds_end_at_the_horizon_whatever_was_shown() {
    let mut world = twelve(Repeats::MaskedFixedLength, 10);
    (world.rules.quit_below, world.rules.min_turns) = (Some(4.5), 0);
    with_everybody(&world, &|name, agent| {
        let played = play(&world, &[0, 1, 2, 3, 4], agent, 5).unwrap();
        for e in 0..5 {
            assert_eq!((played.items(e).len(), played.end(e)), (10, Some(Termination::Horizon)), "{name}");
        }
    });
}

#[test]
fn a_masked_item_is_a_fault_of_the_agent_and_steps_nothing() {
    let world = twelve(Repeats::Masked, 10);
    let mut episodes = Episodes::new(&world, &[0, 1]);
    episodes.step(&[0, 1], &[0, 0]).unwrap();
    let error = episodes.step(&[0, 1], &[2, 0]).unwrap_err().to_string();
    assert!(
        error.starts_with("item 0 was recommended to user 1 again at turn 1") && error.contains("help: "),
        "{error}"
    );
    assert_eq!((episodes.items(0), episodes.items(1)), (&[0][..], &[0][..]));
}

#[test]
fn an_allowed_item_is_drawn_evenly() {
    let world = twelve(Repeats::Masked, 10);
    let mut episodes = Episodes::new(&world, &[0]);
    for item in [11, 0, 5, 6] {
        episodes.step(&[0], &[item]).unwrap();
    }
    let mut draw = rng(&[2]);
    let mut counts = [0; 12];
    for _ in 0..8000 {
        counts[episodes.episode(0).random_allowed(&mut draw) as usize] += 1;
    }
    for (item, count) in counts.into_iter().enumerate() {
        let wanted = if [11, 0, 5, 6].contains(&item) { 0..1 } else { 880..1120 };
        assert!(wanted.contains(&count), "{item}: {count}");
    }
}

#[test]
fn one_thread_and_two_play_the_same() {
    let world = twelve(Repeats::Allowed, 12);
    let users: Vec<u32> = (0..5).cycle().take(300).collect();
    with_everybody(&world, &|name, agent| {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let played = pool.install(|| play(&world, &users, agent, 9)).unwrap();
            let episode = |e: usize| (played.items(e).to_vec(), played.rewards(e).to_vec(), played.end(e));
            (0..users.len()).map(episode).collect::<Vec<_>>()
        };
        assert!(on(1) == on(2), "{name}");
    });
}

/// The best undiscounted return from a turn on, by exact dynamic programming over what is remembered.
fn best(world: &World, inclusive: bool) -> f32 {
    let QuitRules { horizon, quit_window: window, .. } = world.rules;
    let items = world.items() as u32;
    // States at the last turn first: everything a user may remember, oldest first.
    let memories = (0..window).fold(vec![Vec::new()], |shorter: Vec<Vec<u32>>, _| {
        let longer = shorter.iter().flat_map(|m| (0..items).map(|item| [m.clone(), vec![item]].concat()));
        let mut all: Vec<Vec<u32>> = shorter.iter().cloned().chain(longer).collect();
        all.sort();
        all.dedup();
        all
    });
    let mut values = vec![0.0; memories.len()];
    for _ in 0..horizon {
        let value = |memory: &Vec<u32>| {
            let pays = |item: u32| {
                let reward = world.reward(0, item);
                if world.too_similar(item, memory) {
                    return if inclusive { reward } else { 0.0 };
                }
                let next = [&memory[memory.len().saturating_sub(window - 1)..], &[item]].concat();
                reward + values[memories.binary_search(&next).unwrap()]
            };
            (0..items).map(pays).fold(0.0, f32::max)
        };
        values = memories.iter().map(value).collect();
    }
    values[0]
}

#[test]
fn the_best_returns_are_those_of_exact_dynamic_programming_and_can_be_played() {
    let three = clusters(&[5.0, 4.0, 3.0], 1, 2, 30, 1);
    let two = clusters(&[5.0, 3.0], 1, 2, 30, 1);
    assert_eq!((best(&three, true), best(&three, false)), (122.0, 120.0));
    assert_eq!((best(&two, true), best(&two, false)), (13.0, 8.0));
    // Inclusive: 5, 4, 3 in turn, and at the last step 5 once more, at which the user leaves.
    let total = |world: &World, items: &[u32]| {
        let mut episodes = Episodes::new(world, &[0]);
        for &item in items {
            episodes.step(&[0], &[item]).unwrap();
        }
        (episodes.rewards(0).iter().sum::<f32>(), episodes.end(0))
    };
    let turns = |last: u32| (0..29).map(|t| t % 3).chain([last]).collect::<Vec<_>>();
    assert_eq!(total(&three, &turns(0)), (122.0, Some(Termination::Similar)));
    assert_eq!(total(&three, &turns(2)), (120.0, Some(Termination::Horizon)));
    assert_eq!(total(&two, &[0, 1, 0]), (13.0, Some(Termination::Similar)));
}
