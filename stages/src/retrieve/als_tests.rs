//! The factors against dense normal equations, finite differences, and what was planted.

use std::path::Path;

use super::*;

fn cx() -> Context {
    Context::detached(Path::new("unused"))
}

/// A log of `users` in groups: each rates items of its own group often and others seldom, and one of its own is held out.
fn planted(users: u32, items: u32, groups: u32, per_user: u32) -> (Interactions, Vec<u32>) {
    let mut log = Interactions::default();
    let mut held_out = Vec::new();
    for user in 0..users {
        let mut draw = rng(&[7, u64::from(user)]);
        let mut own: Vec<u32> = (0..items).filter(|item| item % groups == user % groups).collect();
        held_out.push(own.swap_remove(draw.random_range(0..own.len())));
        for turn in 0..per_user {
            let strange = turn % 5 == 4;
            let item =
                if strange { draw.random_range(0..items) } else { own.swap_remove(draw.random_range(0..own.len())) };
            // Whom a user did not see is what is to be found.
            if Some(&item) != held_out.last() {
                log.user.push(user);
                log.item.push(item);
                log.rating.push(1.0 + (turn % 3) as f32);
                log.timestamp.push(0);
            }
        }
    }
    (log, held_out)
}

#[test]
fn a_half_step_solves_the_normal_equations_and_the_gradient_vanishes() {
    let (log, _) = planted(7, 15, 3, 4);
    let observed = Observed::of(&log, 8, 15).unwrap();
    let als = Als { n_factors: 3, alpha: 2.0, regularization: 0.5, ..Als::default() };
    let mut factors = als.initial(8, 15);
    let bar = cx().bar("rows", None, "rows");
    factors.users = als.half_step(&observed.by_user, &factors.items, &bar, &cx()).unwrap();
    // Σ_i c_ui y_i (y_i·x_u) + λ x_u = Σ_i c_ui p_ui y_i, each pair written out.
    for user in 0..7 {
        let r = |item: usize| observed.by_user.row(user).find(|(i, _)| *i as usize == item).map_or(0.0, |(_, r)| r);
        for k in 0..3 {
            let y = |item: usize, k: usize| factors.items[item * 3 + k];
            let x = |k: usize| factors.users[user * 3 + k];
            let left = (0..15).map(|item| {
                let score: f64 = (0..3).map(|j| y(item, j) * x(j)).sum();
                (1.0 + 2.0 * r(item)) * y(item, k) * score
            });
            let right = (0..15).filter(|&item| r(item) > 0.0).map(|item| (1.0 + 2.0 * r(item)) * y(item, k));
            let (left, right) = (left.sum::<f64>() + 0.5 * x(k), right.sum::<f64>());
            assert!((left - right).abs() < 1e-10, "{left} for {right}");
        }
    }
    assert!(factors.users[21..].iter().all(|&x| x == 0.0), "who rated nothing has no factors");
    let mut slope = |at: usize| {
        let step = 1e-4;
        let mut moved = |by: f64| {
            factors.users[at] += by;
            let loss = als.loss(&observed, &factors);
            factors.users[at] -= by;
            loss
        };
        (moved(step) - moved(-step)) / (2.0 * step)
    };
    for at in 0..24 {
        assert!(slope(at).abs() < 1e-6, "{at}: {}", slope(at));
    }
}

#[test]
fn the_loss_is_that_of_all_pairs_and_never_rises() {
    let (log, _) = planted(20, 30, 3, 6);
    let observed = Observed::of(&log, 20, 30).unwrap();
    let als = Als { n_factors: 4, alpha: 3.0, regularization: 0.2, ..Als::default() };
    let mut factors = als.initial(20, 30);
    let bar = cx().bar("rows", None, "rows");
    let mut last = f64::INFINITY;
    for _ in 0..8 {
        factors.users = als.half_step(&observed.by_user, &factors.items, &bar, &cx()).unwrap();
        let between = als.loss(&observed, &factors);
        factors.items = als.half_step(&observed.by_item, &factors.users, &bar, &cx()).unwrap();
        let loss = als.loss(&observed, &factors);
        assert!(between <= last && loss <= between, "{last} → {between} → {loss}");
        last = loss;
    }
    let pair = |user: usize, item: usize| {
        let r: f64 = observed.by_user.row(user).filter(|(i, _)| *i as usize == item).map(|(_, r)| r).sum();
        let score: f64 = (0..4).map(|k| factors.users[user * 4 + k] * factors.items[item * 4 + k]).sum();
        (1.0 + 3.0 * r) * (f64::from(u8::from(r > 0.0)) - score).powi(2)
    };
    let of_all: f64 = (0..20).flat_map(|user| (0..30).map(move |item| (user, item))).map(|(u, i)| pair(u, i)).sum();
    let squared = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
    let expected = of_all + 0.2 * (squared(&factors.users) + squared(&factors.items));
    assert!((last - expected).abs() < 1e-9 * expected, "{last} for {expected}");
}

#[test]
fn groups_are_found_where_popularity_finds_nothing() {
    let (log, held_out) = planted(120, 60, 4, 8);
    let by_count = {
        let mut counts = [0; 60];
        log.item.iter().for_each(|&item| counts[item as usize] += 1);
        let mut order: Vec<u32> = (0..60).collect();
        order.sort_by_key(|&item| (std::cmp::Reverse(counts[item as usize]), item));
        order
    };
    let als = Als { n_factors: 4, n_iterations: 5, regularization: 1.0, ..Als::default() };
    let ranked = als.rank(&log, &by_count, 121, 60, &cx()).unwrap();
    let seen = |user: usize, item: &u32| log.user.iter().zip(&log.item).any(|row| row == (&(user as u32), item));
    let recall = |list: &dyn Fn(usize) -> Vec<u32>| {
        let hit = |user: &usize| {
            list(*user).iter().filter(|item| !seen(*user, item)).take(8).any(|item| *item == held_out[*user])
        };
        (0..120).filter(hit).count() as f64 / 120.0
    };
    let (found, popular) = (recall(&|user| ranked[user].0.clone()), recall(&|_| by_count.clone()));
    assert!(found > 0.7 && popular < 0.35, "{found} and {popular}");
    assert_eq!(ranked[120], (by_count, vec![0.0; 60]), "who rated nothing gets what is popular");
    for threads in [1, 2, 16] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| als.rank(&log, &ranked[120].0, 121, 60, &cx())).unwrap() == ranked);
    }
}

#[test]
fn what_is_no_implicit_feedback_is_refused() {
    let log = |rating| Interactions { user: vec![0], item: vec![1], rating: vec![rating], timestamp: vec![0] };
    let error = |rating| Observed::of(&log(rating), 1, 2).err().unwrap().to_string();
    assert!(
        error(-1.0).starts_with("row 0 of the log at `interactions` has the rating -1: implicit feedback is 0 or more")
    );
    assert_eq!(error(0.0), "no rating is above 0, so there is nothing to factorise");
    let at_fault = |als: Als| als.check().unwrap_err().0;
    assert_eq!(at_fault(Als { n_factors: 0, ..Als::default() }), "n_factors");
    assert_eq!(at_fault(Als { n_iterations: 0, ..Als::default() }), "n_iterations");
    assert_eq!(at_fault(Als { alpha: f64::NAN, ..Als::default() }), "alpha");
    assert_eq!(at_fault(Als { regularization: 0.0, ..Als::default() }), "regularization");
}
