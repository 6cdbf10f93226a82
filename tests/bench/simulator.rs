//! How many steps a second the simulator plays: controls on a world of Coat's size by EasyRL4Rec's protocol; see README.md.

use std::path::Path;
use std::time::Instant;

use stages::artifact::{Array, QuitRules, Repeats, WindowRule, World, read_matrix};
use stages::env::{Agent, GreedyOracle, Popular, Random, play};

const USERS: usize = 290;
const ITEMS: usize = 300;
const KINDS: usize = 60;
/// Users leave at items whose columns are nearer than this (Euclidean), as in EasyRL4Rec's Coat.
const THRESHOLD: f32 = 6.0;
/// Each measurement plays so often with every user.
const ROUNDS: usize = 200;

fn main() {
    // `cargo bench` adds `--bench`; what is left may be the path of a true matrix, one line a user.
    let path = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let reward = match &path {
        Some(path) => read_matrix(Path::new(path)).expect("a matrix of numbers, one line a user"),
        None => generated(),
    };
    println!("{} users, {} items, {}", reward.shape[0], reward.shape[1], path.as_deref().unwrap_or("generated"));
    let mut world = world(reward);
    measure("uniform", &world, &Random { quit_aware: false }, ROUNDS);
    measure("uniform among what does not conflict", &world, &Random { quit_aware: true }, ROUNDS / 10);
    measure("popular", &world, &Popular { order: (0..world.items() as u32).collect() }, ROUNDS / 10);
    measure("greedy oracle", &world, &GreedyOracle, ROUNDS / 10);
    world.rules.repeats = Repeats::Masked;
    measure("uniform, repeats masked", &world, &Random { quit_aware: false }, ROUNDS / 10);
}

/// Plays five times, after once for nothing, and tells the median.
fn measure(name: &str, world: &World, agent: &dyn Agent, rounds: usize) {
    let users: Vec<u32> = (0..rounds).flat_map(|_| 0..world.users() as u32).collect();
    let mut rates = Vec::new();
    let mut mean = 0.0;
    for seed in 0..6 {
        let begin = Instant::now();
        let episodes = play(world, &users, agent, seed).expect("controls choose what may be recommended");
        let seconds = begin.elapsed().as_secs_f64();
        let steps: usize = (0..episodes.len()).map(|e| episodes.items(e).len()).sum();
        mean = steps as f64 / users.len() as f64;
        if seed > 0 {
            rates.push(steps as f64 / seconds);
        }
    }
    rates.sort_by(f64::total_cmp);
    let million = |rate: f64| rate / 1e6;
    println!(
        "{name:<40} {:6.2} million steps a second ({:.2} to {:.2}), {mean:.2} steps an episode",
        million(rates[2]),
        million(rates[0]),
        million(rates[4])
    );
}

/// Ratings of 1 to 5 in about Coat's shares. Items of one of 60 kinds are rated alike but for a few people, so that users leave
/// about as early as in Coat's true matrix.
fn generated() -> Array {
    let mut bytes = vec![0; (KINDS + 2 * ITEMS) * USERS];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let (kinds, items) = bytes.split_at(KINDS * USERS);
    let mut data = Vec::with_capacity(USERS * ITEMS);
    for user in 0..USERS {
        for item in 0..ITEMS {
            let own = &items[2 * (user * ITEMS + item)..];
            let liking = if own[0] < 8 { own[1] } else { kinds[user * KINDS + item % KINDS] };
            data.push(1.0 + [35, 174, 242, 255].iter().filter(|&&share| liking >= share).count() as f32);
        }
    }
    Array::new(&[USERS, ITEMS], data)
}

/// The world of a matrix: repeats allowed, 30 turns, the last seven items in EasyRL4Rec's window.
fn world(reward: Array) -> World {
    let (users, items) = (reward.shape[0], reward.shape[1]);
    let square = |i: usize, j: usize| -> f64 {
        (0..users).map(|u| f64::from(reward.row(u)[i] - reward.row(u)[j]).powi(2)).sum()
    };
    let distance = (0..items * items).map(|at| square(at / items, at % items).sqrt() as f32).collect();
    let rules = QuitRules {
        horizon: 30,
        quit_window: 7,
        window_rule: WindowRule::Easyrl4rec,
        distance_threshold: Some(THRESHOLD),
        ..QuitRules::default()
    };
    let vectors = [Array::new(&[users, 1], vec![0.0; users]), Array::new(&[items, 1], vec![0.0; items])];
    World::new(reward, Array::new(&[items, items], distance), vectors, rules)
}
