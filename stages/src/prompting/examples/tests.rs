//! Selection by hand, and the identity behind it.

use super::super::{LogHistory, Prompt, Prompts};
use super::*;
use crate::artifact::{Interactions, Items};

fn rows(items: &[u32]) -> Vec<LogRow> {
    let row = |(time, &item): (usize, &u32)| LogRow { item, rating: 4.0, timestamp: time as i64 };
    items.iter().enumerate().map(row).collect()
}

#[test]
fn each_selection_in_full() {
    let catalogue = Items {
        id: (0..6).map(|item| item.to_string()).collect(),
        title: ["Ao", "Bo", "Co", "Do", "Eo", "Fo"].map(String::from).to_vec(),
        year: vec![None; 6],
        genres: vec![vec![]; 6],
        ..Items::default()
    };
    let train = Interactions { user: vec![0], item: vec![0], rating: vec![5.0], timestamp: vec![0] };
    let prompt = Prompt::new("movie", None, &Prompts::default(), 7, &catalogue, &train).unwrap();
    let history = LogHistory::default();
    let teller = Teller { prompt: &prompt, items: &catalogue, settings: &history, n_top_rated: 2, seed: 3 };
    let train = [rows(&[0, 1, 2, 3]), rows(&[5, 4]), rows(&[1, 2, 5]), rows(&[3])];
    let told_in = |select, order| {
        let settings = Examples { select, count: 2, length: 2, ..Examples::default() };
        let selector = ExampleSelector { settings: &settings, teller: &teller, train: &train, seed: 0, measured: None };
        selector.lines(0, &train[0], order).unwrap().concat()
    };
    let told = |select| told_in(select, HistoryOrder::Chronological);
    assert_eq!(told(Select::None), "");
    assert_eq!(
        told(Select::Recent),
        "The user's history, oldest first: Ao; Bo.\nRecommended movie: Co.\n\
         The user's history, oldest first: Bo; Co.\nRecommended movie: Do.\n"
    );
    assert_ne!(told_in(Select::Recent, HistoryOrder::Shuffled), told(Select::Recent));
    // User 2 shares two of three items; user 3 has no question; user 1 shares none.
    assert_eq!(told(Select::Nearest), "Another user's history, oldest first: Bo; Co.\nRecommended movie: Fo.\n");
    let random = told(Select::Random);
    assert!(random.matches("Another user's").count() == 2 && random == told(Select::Random), "{random}");
    assert_eq!(told(Select::Effect), "", "nothing was measured");
}

/// Effects are sums over the members; the order costs `spread`.
fn additive(values: &[f64], spread: f64) -> impl FnMut(&[Vec<usize>]) -> Result<Vec<f64>> {
    move |sets| {
        let of = |set: &Vec<usize>| {
            let sum: f64 = set.iter().map(|&place| values[place]).sum();
            sum - if set.is_sorted() { 0.0 } else { spread }
        };
        Ok(sets.iter().map(of).collect())
    }
}

#[test]
fn examples_are_added_while_their_robust_value_grows() {
    let values = [0.1, 0.5, -0.2, 0.4];
    let chosen = greedy(4, 3, 0.0, &mut additive(&values, 0.0)).unwrap();
    let places: Vec<usize> = chosen.iter().map(|&(place, _)| place).collect();
    assert_eq!(places, [1, 3, 0]);
    assert_eq!(chosen[0].1, 0.5, "one example: its own effect");
    // The pair 0.9 twice, and without one of them 0.4 and 0.5.
    assert!((chosen[1].1 - (0.9 + 0.9 + 0.4 + 0.5) / 4.0).abs() < 1e-12);
    let careful = greedy(4, 3, 5.0, &mut additive(&values, 0.3)).unwrap();
    assert_eq!(careful, [(1, 0.5)], "every pair varies too much");
    assert!(greedy(2, 3, 0.0, &mut additive(&[-0.1, 0.0], 0.0)).unwrap().is_empty(), "the effect of no example is 0");
}

#[test]
fn perturbations_and_effects_by_hand() {
    assert_eq!(perturbations(&[4]), [[4]]);
    assert_eq!(perturbations(&[4, 2]), [vec![4, 2], vec![2, 4], vec![2], vec![4]]);
    assert_eq!(robust(&[1.0, 3.0], 1.0), 1.0);
    assert_eq!(effect(&[Some(1.0), None, Some(2.0)], &[Some(0.5), Some(9.0), None]), 0.5);
    assert_eq!((effect(&[], &[]), effect(&[None], &[Some(1.0)])), (0.0, 0.0));
}

/// The identity behind `effect`: with linear attention, examples in the context act as one step of gradient descent.
///
/// `h(q) = Σ_T v φ(k)ᵀ φ(q) + Σ_D v φ(k)ᵀ φ(q) = (W₀ − ∇L(W₀)) φ(q)` with `L(W) = −Σ_D vᵀ W φ(k)` and `W₀ = Σ_T v φ(k)ᵀ`. The gradient is
/// taken by finite differences, so that the two sides share nothing.
#[test]
fn linear_attention() {
    const WIDTH: usize = 3;
    let mut draw = rng(&[11]);
    let mut vector = || -> [f64; WIDTH] { std::array::from_fn(|_| draw.random::<f64>() - 0.5) };
    let feature = |key: &[f64; WIDTH]| -> [f64; WIDTH] { std::array::from_fn(|at| key[at].exp()) };
    let mut tokens = |count: usize| -> Vec<([f64; WIDTH], [f64; WIDTH])> {
        (0..count).map(|_| (vector(), feature(&vector()))).collect()
    };
    let (instruction, examples) = (tokens(4), tokens(5));
    let query = feature(&[0.3, -0.1, 0.7]);
    let dot = |a: &[f64; WIDTH], b: &[f64; WIDTH]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    let attend = |tokens: &[([f64; WIDTH], [f64; WIDTH])]| -> [f64; WIDTH] {
        std::array::from_fn(|row| tokens.iter().map(|(v, k)| v[row] * dot(k, &query)).sum())
    };
    let with = attend(&[&instruction[..], &examples].concat());
    let mut weights = [[0.0; WIDTH]; WIDTH];
    for (v, k) in &instruction {
        for row in 0..WIDTH {
            for column in 0..WIDTH {
                weights[row][column] += v[row] * k[column];
            }
        }
    }
    let loss = |weights: &[[f64; WIDTH]; WIDTH]| -> f64 {
        -examples.iter().map(|(v, k)| (0..WIDTH).map(|row| v[row] * dot(&weights[row], k)).sum::<f64>()).sum::<f64>()
    };
    let step: [f64; WIDTH] = std::array::from_fn(|row| {
        let mut moved = weights[row];
        for (column, weight) in moved.iter_mut().enumerate() {
            let at = |by: f64| {
                let mut other = weights;
                other[row][column] += by;
                loss(&other)
            };
            *weight -= (at(1e-4) - at(-1e-4)) / 2e-4;
        }
        dot(&moved, &query)
    });
    for row in 0..WIDTH {
        assert!((with[row] - step[row]).abs() < 1e-9, "{with:?} {step:?}");
    }
}

#[test]
fn settings_have_ranges() {
    let settings = Examples { select: Select::Effect, ..Examples::default() };
    assert_eq!(settings.check(), Ok(()));
    // 8 windows of: without, 12 single ones, 11 pairs in 4 forms, 10 triples in 5.
    assert_eq!(settings.questions(), 8 * (1 + 12 + 44 + 50));
    assert_eq!(Examples::default().questions(), 0);
    assert!(Examples::default().is_none() && !settings.is_none());
    for (wrong, path) in [
        (Examples { count: 0, ..settings.clone() }, "count"),
        (Examples { length: 0, ..settings.clone() }, "length"),
        (Examples { kappa: -1.0, ..settings.clone() }, "kappa"),
        (Examples { kappa: f64::NAN, ..settings.clone() }, "kappa"),
        (Examples { pool: 2, ..settings.clone() }, "pool"),
        (Examples { windows: 0, ..settings.clone() }, "windows"),
        (Examples { select: Select::Random, kappa: 0.5, ..settings.clone() }, "kappa"),
        (Examples { select: Select::Recent, windows: 3, ..settings.clone() }, "windows"),
    ] {
        assert_eq!(wrong.check().unwrap_err().0, path);
    }
}
