//! The law of the generated log, measured in the log.

use std::collections::BTreeSet;
use std::path::Path;

use pipeline::Artifact as _;

use super::*;

fn law() -> Synthetic {
    Synthetic {
        users: 1_500,
        items: 1_200,
        interactions: 30_000,
        clusters: 8,
        popularity_exponent: 1.0,
        drift: 0.25,
        noise: 0.1,
        rating_levels: 5,
        seed: 3,
    }
}

fn run(law: &Synthetic) -> Outputs {
    law.run(NoInputs {}, &Context::detached(Path::new("unused"))).unwrap()
}

/// The least-squares slope of log count over log (rank + 10) over the first ranks.
fn slope(law: &Synthetic) -> f64 {
    let (catalogue, log) = (ItemLaw::new(law), run(law).interactions);
    let mut counts = vec![0.0_f64; law.items];
    log.item.iter().for_each(|&item| counts[catalogue.rank[item as usize] as usize] += 1.0);
    let points: Vec<(f64, f64)> =
        (0..300).map(|rank| ((rank as f64 + 10.0).ln(), counts[rank].max(0.5).ln())).collect();
    let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(&|point| point.0), mean(&|point| point.1));
    mean(&|point| (point.0 - x) * (point.1 - y)) / mean(&|point| (point.0 - x).powi(2))
}

#[test]
fn popularity_follows_the_power_law() {
    for exponent in [0.0, 0.6, 1.0] {
        let found = slope(&Synthetic { popularity_exponent: exponent, ..law() });
        assert!((found + exponent).abs() < 0.12, "{found} for −{exponent}");
    }
}

/// The rows of each user, in order.
fn by_user(log: &Interactions) -> Vec<std::ops::Range<usize>> {
    let starts: Vec<usize> = (0..log.len()).filter(|&row| row == 0 || log.user[row - 1] != log.user[row]).collect();
    let ends = starts.iter().skip(1).copied().chain([log.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

/// The angle of the mean direction of what was chosen in these rows.
fn direction(law: &Synthetic, catalogue: &ItemLaw, log: &Interactions, rows: std::ops::Range<usize>) -> f64 {
    let angles = rows.map(|row| law.angle(catalogue.cluster[log.item[row] as usize]));
    let (x, y) = angles.fold((0.0, 0.0), |(x, y), angle| (x + angle.cos(), y + angle.sin()));
    f64::atan2(y, x)
}

/// Over users with many rows, the mean cosine of the angle between what was chosen in the first and in the last third.
fn constancy(law: &Synthetic) -> f64 {
    let (catalogue, log) = (ItemLaw::new(law), run(law).interactions);
    let of_user = |rows: std::ops::Range<usize>| {
        let third = rows.len() / 3;
        let first = direction(law, &catalogue, &log, rows.start..rows.start + third);
        (first - direction(law, &catalogue, &log, rows.end - third..rows.end)).cos()
    };
    let found: Vec<f64> = by_user(&log).into_iter().filter(|rows| rows.len() >= 24).map(of_user).collect();
    assert!(found.len() > 100);
    found.iter().sum::<f64>() / found.len() as f64
}

#[test]
fn tastes_drift() {
    let [still, slow, fast] = [0.0, 0.25, 0.6].map(|drift| constancy(&Synthetic { drift, ..law() }));
    assert!(still > 0.9 && slow < still - 0.05 && fast < slow - 0.3, "{still}, {slow}, {fast}");
}

#[test]
fn clusters_are_in_the_log_and_in_the_tables() {
    let law = Synthetic { drift: 0.0, ..law() };
    let (catalogue, outputs) = (ItemLaw::new(&law), run(&law));
    let log = &outputs.interactions;
    // The direction of what a user chose is the home that the user table names, give or take noise.
    let near_home = |rows: std::ops::Range<usize>| {
        let user = User::new(&law, log.user[rows.start]);
        let said = law.angle(user.group);
        assert_eq!(outputs.users.features["group"][log.user[rows.start] as usize], Synthetic::genre(user.group));
        (direction(&law, &catalogue, log, rows) - said).cos() > 0.7
    };
    let users = by_user(log);
    let found = users.iter().filter(|rows| near_home((*rows).clone())).count() as f64 / users.len() as f64;
    assert!((0.82..0.99).contains(&found), "{found}");
    let named =
        (0..law.items).filter(|&item| outputs.items.genres[item][0] == Synthetic::genre(catalogue.cluster[item]));
    let share = named.count() as f64 / law.items as f64;
    assert!((0.87..0.95).contains(&share), "1 − noise·(C − 1)/C, {share}");
    // Who chooses within the taste rates higher.
    let mean = |near: bool| {
        let of = |row: &usize| {
            let user = User::new(&law, log.user[*row]);
            (user.affinity(&law, catalogue.cluster[log.item[*row] as usize], 0.0) > 0.9) == near
        };
        let ratings: Vec<f32> = (0..log.len()).filter(of).map(|row| log.rating[row]).collect();
        ratings.iter().sum::<f32>() / ratings.len() as f32
    };
    assert!(mean(true) > mean(false) + 1.0, "{} and {}", mean(true), mean(false));
}

#[test]
fn rows_are_as_many_as_asked_in_order_and_never_twice() {
    let law = law();
    let outputs = run(&law);
    let log = &outputs.interactions;
    log.check_within("interactions", law.users, law.items).unwrap();
    assert_eq!((log.len(), outputs.users.len(), outputs.items.len()), (30_000, 1_500, 1_200));
    let users = by_user(log);
    assert!(users.len() == 1_500 && users.iter().all(|rows| rows.len() >= 5));
    for rows in users {
        assert!(log.timestamp[rows.clone()].is_sorted());
        assert_eq!(log.item[rows.clone()].iter().collect::<BTreeSet<_>>().len(), rows.len());
    }
    let levels: BTreeSet<u32> = log.rating.iter().map(|&rating| rating as u32).collect();
    assert_eq!(levels, (1..=5).collect());
    for (rating_levels, expected) in [(1, vec![1]), (2, vec![1, 2])] {
        let log = run(&Synthetic { rating_levels, users: 50, interactions: 500, ..law.clone() }).interactions;
        assert_eq!(
            log.rating.iter().map(|&rating| rating as u32).collect::<BTreeSet<_>>(),
            expected.into_iter().collect()
        );
    }
    // Half of the catalogue is the most: all users reach it here, whatever their activity.
    let full = Synthetic { users: 40, items: 16, interactions: 160, ..law };
    let log = run(&full).interactions;
    assert!(log.len() <= 160 && by_user(&log).iter().all(|rows| (4..=8).contains(&rows.len())));
}

#[test]
fn sizes_are_known_before_it_runs_and_those_of_the_files_it_writes() {
    let law = Synthetic { users: 300, items: 200, interactions: 2_000, ..law() };
    let promised = Stage::sizes(&law, &Sizes::default());
    let folder = tempfile::tempdir().unwrap();
    let outputs = run(&law);
    let path = |name: &str| folder.path().join(name);
    outputs.users.write(&path("users")).unwrap();
    outputs.items.write(&path("items")).unwrap();
    outputs.interactions.write(&path("interactions")).unwrap();
    let found = Users::sizes_of(&path("users")).unwrap().and(Items::sizes_of(&path("items")).unwrap());
    assert_eq!(found.and(Interactions::sizes_of(&path("interactions")).unwrap()), promised);
    assert_eq!(["users", "items", "interactions"].map(|name| promised.get(name)), [Some(300), Some(200), Some(2_000)]);
    assert_eq!(Stage::memory(&law, &Sizes::default()).unwrap().total(), 2_000 * 40 + 200 * 250 + 300 * 100);
}

#[test]
fn equal_bytes_on_any_thread_count_and_others_with_another_seed() {
    let law = Synthetic { users: 3_000, interactions: 9_000, ..law() };
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&law))
    };
    let (one, two, many) = (on(1), on(2), on(16));
    assert!(one.interactions == two.interactions && one.interactions == many.interactions);
    assert!(one.items == many.items && one.users == many.users);
    assert!(run(&Synthetic { seed: 4, ..law }).interactions != one.interactions);
}

#[test]
fn settings_that_make_no_log_are_refused() {
    let at_fault = |law: Synthetic| law.check().unwrap_err().0;
    assert!(law().check().is_ok());
    assert_eq!(at_fault(Synthetic { users: 0, ..law() }), "users");
    assert_eq!(at_fault(Synthetic { items: 7, ..law() }), "items");
    assert_eq!(at_fault(Synthetic { interactions: 1_499, ..law() }), "interactions");
    assert_eq!(at_fault(Synthetic { interactions: 450_001, ..law() }), "interactions");
    assert_eq!(at_fault(Synthetic { clusters: 1, ..law() }), "clusters");
    assert_eq!(at_fault(Synthetic { popularity_exponent: f64::NAN, ..law() }), "popularity_exponent");
    assert_eq!(at_fault(Synthetic { drift: -1.0, ..law() }), "drift");
    assert_eq!(at_fault(Synthetic { noise: 1.5, ..law() }), "noise");
    assert_eq!(at_fault(Synthetic { rating_levels: 0, ..law() }), "rating_levels");
    let cx = Context::detached(Path::new("unused"));
    cx.interrupt();
    assert!(law().run(NoInputs {}, &cx).err().unwrap().is::<pipeline::Interrupted>());
}
