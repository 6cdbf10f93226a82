//! What was planted is found, and what is no implicit feedback is refused.

use rand::RngExt;

use super::*;
use crate::nn::rng;

fn rank(als: &Als, log: &Interactions, popular: &[u32], users: usize, top_k: usize) -> Result<Vec<Ranked>> {
    let folder = tempfile::tempdir().unwrap();
    als.rank(log, popular, users, top_k, &Context::detached(folder.path()))
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
    let ranked = rank(&als, &log, &by_count, 121, 60).unwrap();
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
        assert!(pool.install(|| rank(&als, &log, &ranked[120].0, 121, 60)).unwrap() == ranked);
    }
}

#[test]
fn what_is_no_implicit_feedback_is_refused() {
    let log = |rating| Interactions { user: vec![0], item: vec![1], rating: vec![rating], timestamp: vec![0] };
    let error = |rating| rank(&Als::default(), &log(rating), &[0, 1], 1, 2).err().unwrap().to_string();
    assert_eq!(
        error(-1.0),
        "row 0 of the log at `interactions` has the rating -1: implicit feedback is 0 or more\nhelp: shift the ratings, or take \
         `by: cooccurrence`, which assumes no scale"
    );
    assert_eq!(error(0.0), "no rating is above 0, so there is nothing to factorise");
    let at_fault = |als: Als| als.check().unwrap_err().0;
    assert_eq!(at_fault(Als { n_factors: 0, ..Als::default() }), "n_factors");
    assert_eq!(at_fault(Als { n_iterations: 0, ..Als::default() }), "n_iterations");
    assert_eq!(at_fault(Als { alpha: f64::NAN, ..Als::default() }), "alpha");
    assert_eq!(at_fault(Als { regularization: 0.0, ..Als::default() }), "regularization");
}
