//! Distances that are computed when they are asked for say what a table says.

use pipeline::{Artifact as _, Context};
use rand::RngExt;

use super::QuitSimilarity;
use super::distance::{DistanceBy, DistanceForm};
use super::threshold::PairDistances;
use super::user_simulator::UserSimulator;
use crate::artifact::{
    Array, ColumnDistances, Distances, DistancesFrom, Ids, ItemVectors, Items, Rewards, Users, World,
};
use crate::nn::rng;

fn cx() -> Context {
    Context::detached(std::path::Path::new("unused"))
}

/// Rewards by three factors, cut to 1 to 5, which a tenth of them reach; every fiftieth item is a copy of the one before.
fn rewards(users: usize, items: usize, seed: u64) -> Array {
    let mut draw = rng(&[seed, 0xfac7]);
    let mut factors = |count: usize| -> Vec<[f32; 3]> {
        (0..count).map(|_| std::array::from_fn(|_| draw.random_range(-1.6..1.6))).collect()
    };
    let (by_user, mut by_item) = (factors(users), factors(items));
    (1..items).filter(|item| item % 50 == 0).for_each(|item| by_item[item] = by_item[item - 1]);
    let pays = |user: &[f32; 3], item: &[f32; 3]| {
        (3.0 + user.iter().zip(item).map(|(a, b)| a * b).sum::<f32>()).clamp(1.0, 5.0)
    };
    Array::new(&[users, items], by_user.iter().flat_map(|u| by_item.iter().map(move |i| pays(u, i))).collect())
}

#[test]
fn every_pair_has_the_verdict_of_the_table_on_any_number_of_threads() {
    let (mut pairs, mut similar) = (0, 0);
    for (threads, users, seed) in [(1, 37, 1), (2, 16, 2), (16, 5, 3)] {
        let items = 820_u32;
        let rewards = Rewards::from(rewards(users, items as usize, seed));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let definition = Distances::Columns(ColumnDistances::new(None));
        let stored = pool.install(|| DistanceForm::Table.of(definition.clone(), &rewards, &cx())).unwrap();
        let table = stored.table().unwrap();
        // Just the distance of a pair, which is therefore not below it.
        let threshold = PairDistances::Table(table).closest(0.02).0;
        let all: Vec<u32> = (0..items).collect();
        let found = pool.install(|| definition.among(&rewards, &all));
        let lower = (0..items as usize).flat_map(|item| &table.row(item)[..item]);
        assert_eq!(found.len(), lower.clone().count());
        for (found, stored) in found.iter().zip(lower) {
            assert_eq!(*found < threshold, *stored < threshold, "{found} for {stored} at {threshold}");
            assert!((found - stored).abs() <= 1e-6, "{found} for {stored}");
            (pairs, similar) = (pairs + 1, similar + usize::from(*found < threshold));
        }
        assert!(found.contains(&threshold));
        for item in (0..items).step_by(41) {
            for other in 0..items {
                let verdict = |distances: &Distances| distances.any_below(&rewards, item, &[other], threshold);
                assert_eq!(verdict(&definition), verdict(&stored), "{item} and {other}");
            }
        }
    }
    assert!(pairs > 1_000_000 && similar > 15_000, "{similar} of {pairs}");
}

fn complete(simulator: &UserSimulator, shared: Option<&World>, rewards: &Array) -> World {
    let items = rewards.shape[1];
    let name = |item: usize| ["abcde", "bcdef", "xyz", "xyzzy"][item % 4].to_owned();
    let catalogue = Items {
        id: (0..items).map(|item| item.to_string()).collect(),
        title: (0..items).map(name).collect(),
        year: vec![None; items],
        genres: (0..items).map(|item| vec![format!("g{}", item % 3), format!("g{}", item % 2)]).collect(),
        ..Items::default()
    };
    let data = (0..items * 2).map(|k| (k * k % 7) as f32 - 3.0).collect();
    let vectors = ItemVectors { vectors: Array::new(&[items, 2], data), space: "toy".into(), columns: vec![] };
    let users = Users { id: (0..rewards.shape[0]).map(|user| user.to_string()).collect(), ..Users::default() };
    simulator.complete(shared, Some(&vectors), &catalogue, &users, rewards.clone(), &cx()).unwrap()
}

fn simulator(distance: DistanceBy, distance_form: DistanceForm) -> UserSimulator {
    let quit_similarity = Some(QuitSimilarity::SimilarFraction(0.3));
    UserSimulator { distance, distance_form, quit_similarity, embedding_dim: 1, ..UserSimulator::default() }
}

#[test]
fn worlds_of_both_forms_have_the_same_quit_rules_and_files_keep_them() {
    let rewards = rewards(6, 9, 4);
    let folder = tempfile::tempdir().unwrap();
    for by in [DistanceBy::RatingColumns, DistanceBy::Genres, DistanceBy::Text, DistanceBy::ItemVectors] {
        let stored = complete(&simulator(by, DistanceForm::Table), None, &rewards);
        let asked = complete(&simulator(by, DistanceForm::OnDemand), None, &rewards);
        assert_eq!(complete(&simulator(by, DistanceForm::Auto), None, &rewards), stored);
        assert!(stored.item_distances().table().is_some() && asked.item_distances().table().is_none());
        assert_eq!(stored.rules, asked.rules, "of few items all pairs count: {by:?}");
        for (item, other) in (0..9).flat_map(|item| (0..9).map(move |other| (item, other))) {
            assert!((stored.distance(item, other) - asked.distance(item, other)).abs() < 1e-6, "{by:?} {item} {other}");
            assert_eq!(stored.too_similar(item, &[other]), asked.too_similar(item, &[other]), "{by:?} {item} {other}");
        }
        assert_eq!(asked.too_similar(0, &[]), stored.too_similar(0, &[]));
        assert_ne!(asked.distances_digest(), stored.distances_digest());
        let path = folder.path().join(format!("{by:?}"));
        asked.write(&path).unwrap();
        let read = World::read(&path).unwrap();
        assert_eq!((&read, read.distances_digest()), (&asked, asked.distances_digest()));
    }
}

#[test]
fn distances_stay_what_they_are_where_rewards_change() {
    let [own, others] = [5, 6].map(|seed| rewards(6, 9, seed));
    let lender = complete(&simulator(DistanceBy::RatingColumns, DistanceForm::OnDemand), None, &own);
    let plain = UserSimulator { embedding_dim: 2, ..UserSimulator::default() };
    let borrower = complete(&plain, Some(&lender), &others);
    assert_eq!(borrower.distances, DistancesFrom::Shared { digest: lender.distances_digest() });
    assert_eq!(borrower.distances_digest(), lender.distances_digest());
    let mut changed = lender.clone();
    changed.set_rewards(others.clone());
    assert_eq!(changed.distances_digest(), lender.distances_digest());
    for (item, other) in (0..9).flat_map(|item| (0..9).map(move |other| (item, other))) {
        assert_eq!(borrower.distance(item, other), lender.distance(item, other));
        assert_eq!(changed.distance(item, other), lender.distance(item, other));
    }
    let folder = tempfile::tempdir().unwrap();
    borrower.write(&folder.path().join("w")).unwrap();
    assert_eq!(World::read(&folder.path().join("w")).unwrap(), borrower);
    let own = complete(&simulator(DistanceBy::RatingColumns, DistanceForm::OnDemand), None, &others);
    assert_ne!(own.distances_digest(), lender.distances_digest());
}

#[test]
fn a_sample_of_the_users_defines_the_distance() {
    let rewards = rewards(40, 7, 8);
    let of = |distance_users, form| {
        complete(&UserSimulator { distance_users, ..simulator(DistanceBy::RatingColumns, form) }, None, &rewards)
    };
    let asked = of(Some(10), DistanceForm::OnDemand);
    let Distances::Columns(columns) = asked.item_distances() else { panic!("they are on demand") };
    let users = columns.users().unwrap();
    assert!(users.len() == 10 && users.is_sorted() && users.iter().all(|&user| user < 40), "{users:?}");
    let stored = of(Some(10), DistanceForm::Table);
    for (item, other) in (0..7).flat_map(|item| (0..7).map(move |other| (item, other))) {
        let square = |&user: &u32| {
            let row = rewards.row(user as usize);
            (f64::from(row[item as usize]) - f64::from(row[other as usize])).powi(2)
        };
        let wanted = (users.iter().map(square).sum::<f64>() / 10.0).sqrt();
        assert!((f64::from(asked.distance(item, other)) - wanted).abs() < 1e-6);
        assert!((f64::from(stored.distance(item, other)) - wanted).abs() < 1e-6);
    }
    let all = of(None, DistanceForm::OnDemand);
    assert_eq!(of(Some(40), DistanceForm::OnDemand).distances_digest(), all.distances_digest());
    assert_ne!(asked.distances_digest(), all.distances_digest());
    let refused = |distance_users, distance| {
        UserSimulator { distance_users, distance, ..UserSimulator::default() }.check().unwrap_err().0
    };
    assert_eq!(refused(Some(0), DistanceBy::RatingColumns), "simulator.distance_users");
    assert_eq!(refused(Some(5), DistanceBy::Genres), "simulator.distance_users");
}

#[test]
fn a_single_item_is_similar_to_itself_if_anything_is() {
    let rewards = Array::new(&[3, 1], vec![1.0, 2.0, 5.0]);
    for (threshold, similar) in [(0.5, true), (0.0, false)] {
        let quit_similarity = Some(QuitSimilarity::Threshold(threshold));
        for form in [DistanceForm::Table, DistanceForm::OnDemand] {
            let simulator = UserSimulator { quit_similarity, ..simulator(DistanceBy::RatingColumns, form) };
            let world = complete(&simulator, None, &rewards);
            assert_eq!((world.too_similar(0, &[0]), world.distance(0, 0)), (similar, 0.0));
        }
    }
    let shared = complete(&simulator(DistanceBy::RatingColumns, DistanceForm::OnDemand), None, &rewards);
    assert_eq!((shared.rules.distance_threshold, shared.ids == Ids::default()), (Some(0.0), false));
}
