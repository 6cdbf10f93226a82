use rand::RngExt;

use super::*;
use crate::artifact::{QuitRules, Repeats};
use crate::env::{cluster_world, plans};
use crate::nn::rng;

/// Lists that hold all items in order.
fn lists(world: &World) -> Candidates {
    let list: Vec<u32> = (0..world.items() as u32).collect();
    Candidates { scores: vec![vec![0.0; list.len()]], items: vec![list], filter_quit_items: false }
}

/// As wide, deep and undiscounted, without a prior.
fn lookahead(candidates: &Candidates, width: usize, depth: usize) -> Lookahead<'_> {
    let (n_candidates, leaf_value) = (candidates.items[0].len(), LeafValue::Zero);
    Lookahead { candidates, n_candidates, width, depth, alpha: 0.0, gamma: 1.0, leaf_value }
}

/// A prior that is told, and notes what it was asked.
struct Told<F: FnMut(u32) -> f64>(F, Vec<Vec<(u32, f32)>>);

impl<F: FnMut(u32) -> f64> Prior for Told<F> {
    fn log_probabilities(&mut self, imagined: &[(u32, f32)], candidates: &[u32]) -> Result<Vec<f64>> {
        self.1.push(imagined.to_vec());
        Ok(candidates.iter().map(|&item| (self.0)(item)).collect())
    }
}

fn from_start(lookahead: &Lookahead, world: &World, prior: &mut dyn Prior) -> Vec<f64> {
    let candidates = &lookahead.candidates.items[0][..lookahead.n_candidates];
    let start = ImaginedEpisode::new(world, 0, &[], &[]);
    let log_prior = prior.log_probabilities(&[], candidates).unwrap();
    lookahead.values(&start, candidates, &log_prior, prior).unwrap()
}

/// Three items that pay 3, 2 and 1, one after the other, nothing twice; the user leaves at the second below a reward of 2.
fn three() -> World {
    let mut world = cluster_world(&[3.0, 2.0, 1.0], 1, 1, 3, 1);
    world.rules =
        QuitRules { distance_threshold: None, quit_below: Some(2.0), repeats: Repeats::Masked, ..world.rules };
    world
}

#[test]
fn a_path_is_worth_what_it_says() {
    let (world, candidates) = (three(), lists(&three()));
    let tree = Lookahead { alpha: 0.5, gamma: 0.5, ..lookahead(&candidates, 3, 2) };
    // ln π of items 0, 1, 2: −1, −2, −4, so that a turn is worth 2.5, 1 and −1; item 2 drives the user away.
    let mut prior = Told(|item| [-1.0, -2.0, -4.0][item as usize], vec![]);
    let values = from_start(&tree, &world, &mut prior);
    assert_eq!(values, [2.5 + 0.5 * 1.0, 1.0 + 0.5 * 2.5, -1.0]);
    assert_eq!(prior.1, [vec![], vec![(0, 3.0)], vec![(1, 2.0)]], "the turn, and where the imagined user stays");
    // Of the two others after 0 the better one is item 1; at full depth 0, 1, 2: 2.5 + 0.5·(1 − 0.5·1).
    let tree = Lookahead { depth: 3, ..tree };
    let values = from_start(&tree, &world, &mut Told(|item| [-1.0, -2.0, -4.0][item as usize], vec![]));
    assert_eq!(values, [2.75, 1.0 + 0.5 * (2.5 - 0.5), -1.0]);
}

#[test]
fn the_best_are_followed_and_of_equal_ones_the_first() {
    let mut world = cluster_world(&[2.0, 2.0, 2.0, 1.0], 1, 1, 4, 1);
    world.rules.distance_threshold = None;
    let candidates = lists(&world);
    let mut prior = Told(|_| 0.0, vec![]);
    let values = from_start(&lookahead(&candidates, 2, 2), &world, &mut prior);
    assert_eq!(values, [4.0, 4.0, f64::NEG_INFINITY, f64::NEG_INFINITY]);
    assert_eq!((best(&values), prior.1.len()), (0, 3));
    // A prior decides what is followed.
    let tree = Lookahead { alpha: 1.0, ..lookahead(&candidates, 1, 2) };
    let mut prior = Told(|item| if item == 3 { 0.0 } else { -1.5 }, vec![]);
    let values = from_start(&tree, &world, &mut prior);
    assert_eq!((best(&values), values[3]), (3, 1.0 + 0.5));
    assert_eq!(prior.1, [vec![], vec![(3, 1.0)]]);
    // One turn deep nothing is left out, however narrow.
    let values = from_start(&lookahead(&candidates, 1, 1), &world, &mut Uniform);
    assert_eq!(values, [2.0, 2.0, 2.0, 1.0]);
}

#[test]
fn the_greedy_leaf_by_hand() {
    let (world, candidates) = (three(), lists(&three()));
    let tree = Lookahead { gamma: 0.5, leaf_value: LeafValue::Greedy, ..lookahead(&candidates, 3, 1) };
    // After 0: 1, then 2 is all that is left. After 1: 0, then 2. At 2 the user leaves.
    let values = from_start(&tree, &world, &mut Uniform);
    assert_eq!(values, [3.0 + 0.5 * (2.0 + 0.5 * 1.0), 2.0 + 0.5 * (3.0 + 0.5 * 1.0), 1.0]);
    // The user is kept where that is possible, not paid the most.
    let mut world = cluster_world(&[3.0, 2.0], 2, 1, 3, 1);
    world.rules.repeats = Repeats::Masked;
    let candidates = lists(&world);
    let tree = Lookahead { leaf_value: LeafValue::Greedy, ..lookahead(&candidates, 1, 1) };
    assert_eq!(from_start(&tree, &world, &mut Uniform)[0], 3.0 + 2.0 + 3.0);
}

#[test]
fn a_list_that_runs_out_ends_a_path() {
    let mut world = cluster_world(&[3.0, 2.0], 1, 1, 9, 1);
    world.rules.distance_threshold = None;
    let candidates = lists(&world);
    assert_eq!(from_start(&lookahead(&candidates, 2, 9), &world, &mut Uniform), [5.0, 5.0]);
}

/// Worlds of five items, pairs of which conflict, with rules, all drawn; nothing is shown twice.
fn drawn(seed: u64) -> World {
    let mut draw = rng(&[seed, 0x5ea2]);
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
    world.rules = QuitRules {
        horizon: draw.random_range(1..6),
        quit_window: draw.random_range(0..5),
        quit_below: (draw.random_range(0..3) == 0).then_some(2.0),
        min_turns: [0, 0, 1, 2][draw.random_range(0..4)],
        repeats: Repeats::Masked,
        ..world.rules
    };
    world
}

#[test]
fn at_full_width_and_depth_no_plan_is_better() {
    let mut exact = 0;
    for seed in 0..200 {
        let world = drawn(seed);
        let candidates = lists(&world);
        let plan = plans(&world, &[0], &|| Ok(())).unwrap().remove(0);
        let values = from_start(&lookahead(&candidates, 5, 6), &world, &mut Uniform);
        let found = values[best(&values)];
        let why = format!("{seed}: {found}, planned {plan:?} under {:?}", world.rules);
        // The planner's beam may miss the best sequence, and says so.
        assert!(found > plan.value - 1e-9 && found < plan.bound + 1e-9, "{why}");
        assert!(!plan.exact() || (found - plan.value).abs() < 1e-9, "{why}");
        exact += usize::from(plan.exact());
    }
    assert!(exact > 100, "{exact} of 200 plans are proven");
}

#[test]
fn nodes_are_counted() {
    assert_eq!((nodes(1, 1, 10), nodes(2, 2, 10), nodes(3, 3, 10), nodes(99, 3, 4)), (1, 3, 13, 21));
    assert_eq!((nodes(1, 7, 10), nodes(2, usize::MAX, 10)), (7, u64::MAX));
}

#[test]
fn scores_become_probabilities() {
    let log = log_softmax(&[3.0_f32.ln(), 0.0, 0.0]);
    assert!((log[0] - 0.6_f64.ln()).abs() < 1e-6 && (log[1] - 0.2_f64.ln()).abs() < 1e-6 && log[1] == log[2]);
    assert_eq!(uniform(4), [-(4.0_f64.ln()); 4]);
}
