//! Every rule on a log of seven rows, and the draws on larger ones.

use std::collections::BTreeSet;

use super::*;
use crate::artifact::Interactions;

/// Of item i the i-th row.
fn log() -> Interactions {
    Interactions {
        user: vec![0, 1, 0, 0, 0, 2, 0],
        item: vec![0, 1, 2, 3, 4, 5, 6],
        rating: vec![1.0; 7],
        timestamp: vec![5, 0, 1, 1, 9, 0, 2],
    }
}

fn cut(split: &Split, interactions: Interactions, test: Option<Interactions>) -> Result<[Vec<u32>; 2]> {
    let folder = tempfile::tempdir().unwrap();
    let outputs = split.run(Inputs { interactions, test }, &Context::detached(folder.path()))?;
    Ok([outputs.train.item, outputs.test.item])
}

#[test]
fn each_users_last_interactions_are_kept_back() {
    let [train, test] = cut(&Split { test_fraction: 0.4, ..Split::default() }, log(), None).unwrap();
    assert_eq!(train, [2, 3, 6, 1, 5], "a user with one interaction stays in train");
    assert_eq!(test, [0, 4]);
}

#[test]
fn so_many_of_each_users_last_interactions_are_kept_back() {
    let by = |count| Split { by: By::LeaveNOut(count), ..Split::default() };
    assert_eq!(cut(&by(1), log(), None).unwrap(), [vec![2, 3, 6, 0, 1, 5], vec![4]]);
    assert_eq!(cut(&by(9), log(), None).unwrap(), [vec![2, 1, 5], vec![3, 6, 0, 4]], "one stays");
    assert_eq!(by(0).check().unwrap_err().0, "by.leave_n_out");
}

#[test]
fn what_is_learned_from_is_older_than_all_that_is_kept_back() {
    let by = |test| Split { by: By::GlobalTime, test_fraction: test, ..Split::default() };
    // Times in order: 0 0 1 1 2 5 9. The last 3 begin at 2; of the last 4 the first is at 1, as is another.
    assert_eq!(cut(&by(0.4), log(), None).unwrap(), [vec![2, 3, 1, 5], vec![6, 0, 4]]);
    assert_eq!(cut(&by(0.55), log(), None).unwrap(), [vec![1, 5], vec![2, 3, 6, 0, 4]]);
    let error = cut(&by(0.9), log(), None).unwrap_err().to_string();
    assert!(error.contains("no time before 0"), "{error}");
}

#[test]
fn whole_users_are_kept_back() {
    let mut log = log();
    log.user = vec![0, 3, 0, 4, 4, 5, 0];
    let by = |seed| Split { by: By::User, test_fraction: 0.5, seed, ..Split::default() };
    let mut seen = BTreeSet::new();
    for seed in 0..20 {
        let [train, test] = cut(&by(seed), log.clone(), None).unwrap();
        assert_eq!(
            cut(&by(seed), log.clone(), None).unwrap(),
            [train.clone(), test.clone()],
            "equal seeds, equal cuts"
        );
        let users = |items: &[u32]| items.iter().map(|&i| log.user[i as usize]).collect::<BTreeSet<_>>();
        assert!(users(&train).is_disjoint(&users(&test)));
        assert_eq!((users(&train).len(), users(&test).len(), train.len() + test.len()), (2, 2, 7));
        seen.insert(users(&test));
    }
    assert!(seen.len() > 3, "{seen:?}");
}

#[test]
fn what_is_given_is_kept_back_and_not_learned_from() {
    let by = Split { by: By::Predefined, ..Split::default() };
    // Item 4 at its time is in both; item 0 at another time is not the same row.
    let test =
        Interactions { user: vec![1, 0, 0], item: vec![6, 4, 0], rating: vec![2.0; 3], timestamp: vec![3, 9, 1] };
    assert_eq!(cut(&by, log(), Some(test.clone())).unwrap(), [vec![2, 3, 6, 0, 1, 5], vec![0, 4, 6]]);
    assert!(cut(&by, log(), None).unwrap_err().to_string().contains("wants the input `test`"));
    assert!(
        cut(&Split::default(), log(), Some(test)).unwrap_err().to_string().contains("only where `by` is `predefined`")
    );
}

#[test]
fn any_interactions_are_kept_back_at_random_and_both_parts_stay_in_the_order_of_time() {
    let rows = 200_u32;
    let interactions = Interactions {
        user: (0..rows).map(|row| row % 2).collect(),
        item: (0..rows).collect(),
        rating: vec![1.0; rows as usize],
        timestamp: vec![0; rows as usize],
    };
    let folder = tempfile::tempdir().unwrap();
    let cut = |seed| {
        let split = Split { by: By::Random, test_fraction: 0.25, seed, ..Split::default() };
        split.run(Inputs { interactions: interactions.clone(), test: None }, &Context::detached(folder.path())).unwrap()
    };
    let outputs = cut(0);
    assert_eq!((outputs.train.len(), outputs.test.len()), (150, 50));
    let mut all: Vec<u32> = [outputs.train.item.clone(), outputs.test.item.clone()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..rows).collect::<Vec<_>>());
    assert!(outputs.test.item[..25].is_sorted() && outputs.train.item[..75].is_sorted());
    let late = outputs.test.item.iter().filter(|&&item| item >= 100).count();
    assert!((13..=37).contains(&late), "{late} of 50 are of the second half");
    assert_ne!(cut(1).test, outputs.test);
    assert_eq!(cut(0).test, outputs.test);
}

/// Rows of 40 users and 50 items, each user with 25 of them.
fn large_log() -> Interactions {
    let pairs: Vec<(u32, u32)> = (0..40).flat_map(|user| (0..25).map(move |k| (user, (user + 2 * k) % 50))).collect();
    Interactions {
        user: pairs.iter().map(|&(user, _)| user).collect(),
        item: pairs.iter().map(|&(_, item)| item).collect(),
        rating: vec![1.0; 1_000],
        timestamp: (0..1_000).map(|row| row * 7 % 13).collect(),
    }
}

/// Both parts as sorted pairs of user and item.
fn pairs(split: &Split, interactions: Interactions) -> [Vec<(u32, u32)>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let outputs = split.run(Inputs { interactions, test: None }, &Context::detached(folder.path())).unwrap();
    [outputs.train, outputs.test].map(|part| {
        let mut pairs: Vec<(u32, u32)> = part.user.into_iter().zip(part.item).collect();
        pairs.sort_unstable();
        pairs
    })
}

#[test]
fn the_whole_log_is_cut_into_disjoint_halves_by_lot() {
    let half = |seed| Split { by: By::GlobalRandom, test_fraction: 0.5, seed, ..Split::default() };
    let [first, second] = pairs(&half(1), large_log());
    assert_eq!((first.len(), second.len()), (500, 500));
    let all: BTreeSet<(u32, u32)> = first.iter().chain(&second).copied().collect();
    assert_eq!(all.len(), 1_000, "no interaction is in both");
    // Per user 25 of 1,000: hypergeometric with mean 12.5 and variance 6.1. A draw for each user would give 12 or 13 only.
    let of_user = |user| second.iter().filter(|pair| pair.0 == user).count() as i32;
    let spread: i32 = (0..40).map(|user| (2 * of_user(user) - 25).pow(2)).sum();
    assert!((40 * 12..40 * 42).contains(&spread), "{spread}");
    let reversed: Vec<usize> = (0..1_000).rev().collect();
    assert_eq!(pairs(&half(1), large_log().take(&reversed)), [first.clone(), second], "in any order of the rows");
    assert_ne!(pairs(&half(2), large_log())[0], first);
}

#[test]
fn each_interaction_is_held_out_equally_often() {
    // 3 of 12 rows by 2,000 seeds: each row 500 times with a variance of 375; chi-squared with 11 degrees of freedom.
    let interactions = large_log().take(&(0..12).collect::<Vec<_>>());
    let mut drawn = [0_i32; 12];
    for seed in 0..2_000 {
        let split = Split { by: By::GlobalRandom, test_fraction: 0.25, seed, ..Split::default() };
        let held = split.held_out(&interactions, &[]).unwrap();
        held.iter().enumerate().filter(|(_, held)| **held).for_each(|(row, _)| drawn[row] += 1);
    }
    let chi_squared = drawn.iter().map(|&count| f64::from(count - 500).powi(2)).sum::<f64>() / 375.0 * 11.0 / 12.0;
    assert!(chi_squared < 31.3, "above that once in 1,000: {chi_squared}, {drawn:?}");
}

#[test]
fn whole_items_are_kept_back() {
    let by = |seed| Split { by: By::Item, test_fraction: 0.2, seed, ..Split::default() };
    let items = |pairs: &[(u32, u32)]| pairs.iter().map(|pair| pair.1).collect::<BTreeSet<u32>>();
    let mut seen = BTreeSet::new();
    for seed in 0..20 {
        let [train, test] = pairs(&by(seed), large_log());
        assert_eq!((items(&train).len(), items(&test).len(), train.len() + test.len()), (40, 10, 1_000));
        assert!(items(&train).is_disjoint(&items(&test)));
        assert_eq!(pairs(&by(seed), large_log()), [train, test.clone()], "equal seeds, equal cuts");
        seen.extend(items(&test));
    }
    assert!(seen.len() > 45, "each item is missing from all draws with a probability of 1 %: {seen:?}");
}

#[test]
fn ties_are_broken_by_lot_where_that_is_wanted_and_matters() {
    let timeless = Interactions { timestamp: vec![0; 1_000], ..large_log() };
    let last = |ties, seed| Split { by: By::LeaveNOut(1), ties, seed, ..Split::default() };
    let [_, held] = pairs(&last(Ties::FileOrder, 0), timeless.clone());
    assert!(held.iter().all(|&(user, item)| item == (user + 48) % 50), "the last row of each user");
    let [_, held] = pairs(&last(Ties::Random, 0), timeless.clone());
    let last_rows = held.iter().filter(|&&(user, item)| item == (user + 48) % 50).count();
    assert!(last_rows < 8, "1.6 of 40 are expected: {last_rows}");
    assert_ne!(pairs(&last(Ties::Random, 1), timeless)[1], held);
    for by in [By::Random, By::GlobalRandom, By::GlobalTime, By::User, By::Item, By::Predefined] {
        let error = Split { by, ties: Ties::Random, ..Split::default() }.check().unwrap_err();
        assert_eq!(error.0, "ties");
    }
    for by in [By::Time, By::LeaveNOut(1)] {
        Split { by, ties: Ties::Random, ..Split::default() }.check().unwrap();
    }
}
