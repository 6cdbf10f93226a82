//! Clusters are found, forms agree, trainings resume, and what cannot be fitted is refused.

use super::*;
use crate::nn::training::assert_resumes_exactly;

fn stage() -> Ials {
    Ials {
        n_factors: 6,
        n_iterations: 5,
        unobserved_weight: 0.1,
        regularization: 0.003,
        frequency_exponent: 1.0,
        simulator: UserSimulator { embedding_dim: 2, ..UserSimulator::default() },
        ..Ials::default()
    }
}

fn log(pairs: &[(u32, u32)]) -> Interactions {
    Interactions {
        user: pairs.iter().map(|pair| pair.0).collect(),
        item: pairs.iter().map(|pair| pair.1).collect(),
        rating: vec![1.0; pairs.len()],
        timestamp: vec![0; pairs.len()],
    }
}

fn inputs([users, items]: [usize; 2], pairs: &[(u32, u32)]) -> Inputs {
    let names = |letter: char, count: usize| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
    let items = Items {
        id: names('i', items),
        title: names('i', items),
        year: vec![None; items],
        genres: vec![vec![]; items],
        ..Items::default()
    };
    let users = Users { id: names('u', users), ..Users::default() };
    Inputs { interactions: log(pairs), items, users, holdout: None, distances: None, item_vectors: None }
}

/// 60 users who each took 12 of the 20 items of their cluster, of six; three more are held out.
fn clusters() -> Inputs {
    let (mut train, mut held) = (Vec::new(), Vec::new());
    for user in 0..60_u32 {
        for place in 0..15 {
            let item = user % 6 * 20 + (user * 3 + place * 7) % 20;
            if place < 12 { &mut train } else { &mut held }.push((user, item));
        }
    }
    let mut all = inputs([60, 120], &train);
    all.holdout = Some(log(&held));
    all
}

fn run(stage: &Ials, inputs: Inputs) -> Result<Outputs> {
    let folder = tempfile::tempdir().unwrap();
    stage.run(inputs, &Context::detached(folder.path()))
}

fn last(curves: &Curves, series: &str) -> f64 {
    curves.0.iter().rfind(|point| point.series == series).unwrap().value
}

#[test]
fn held_out_items_of_the_cluster_rank_first_and_pay_more() {
    let held = clusters().holdout.unwrap();
    let found = run(&stage(), clusters()).unwrap();
    // Eight items of the cluster are left for each user, three of them held out.
    assert!(last(&found.curves, "recall_at_20.holdout") > 0.99, "{:?}", found.curves);
    let ndcg = last(&found.curves, "ndcg_at_10.holdout");
    assert!(ndcg > 0.4, "a random order of the eight has 0.49: {ndcg}");
    for row in 0..held.len() {
        let rewards = found.world.rewards_of(held.user[row]);
        let others = rewards.iter().sum::<f32>() / 120.0;
        assert!(rewards[held.item[row] as usize] > others && rewards.iter().all(|r| (0.0..=1.0).contains(r)));
    }
    let losses: Vec<f64> =
        found.curves.0.iter().filter(|point| point.series == "loss.train").map(|point| point.value).collect();
    assert!(losses.len() == 5 && losses.windows(2).all(|pair| pair[1] <= pair[0]), "{losses:?}");
}

#[test]
fn ranks_are_counted_by_hand_and_a_tie_is_no_success() {
    let stage = Ials { n_factors: 1, ..stage() };
    let observed = ImplicitFeedback::of(&log(&[(0, 0)]), [2, 40], "").unwrap();
    let items = (0..40).map(|k| 1.0 / f64::from(1 + k)).collect();
    let factors = ImplicitFactors { users: vec![1.0, 0.0], items };
    let of = |pairs: &[(u32, u32)]| stage.score(&factors, &observed, &log(pairs)).unwrap();
    // Item 0 was taken, so item 2 has the rank 2; all 40 items score 0 for user 1.
    let second = 1.0 / 3.0_f64.log2();
    assert_eq!(of(&[(0, 2)]), [("recall_at_20.holdout", 1.0), ("ndcg_at_10.holdout", second)]);
    assert_eq!(of(&[(0, 20)]), [("recall_at_20.holdout", 1.0), ("ndcg_at_10.holdout", 0.0)]);
    assert_eq!(of(&[(0, 21), (0, 2)]), [("recall_at_20.holdout", 0.5), ("ndcg_at_10.holdout", second / 2.0)]);
    assert_eq!(of(&[(1, 0)]), [("recall_at_20.holdout", 0.0), ("ndcg_at_10.holdout", 0.0)]);
    assert_eq!(of(&[]), []);
}

#[test]
fn a_world_of_factors_pays_what_a_stored_one_pays() {
    let [stored, factored] =
        [WorldForm::Dense, WorldForm::Factored].map(|form| run(&Ials { form, ..stage() }, clusters()).unwrap().world);
    assert!(matches!(factored.rewards(), Rewards::Factored(_)) && matches!(stored.rewards(), Rewards::Dense(_)));
    for user in 0..60 {
        assert_eq!(stored.rewards_of(user), factored.rewards_of(user), "user {user}");
    }
}

#[test]
fn interrupted_after_every_iteration_it_ends_the_same_on_any_number_of_threads() {
    let short = Ials { n_iterations: 3, ..stage() };
    assert_resumes_exactly(&short, clusters, |outputs| (outputs.world, outputs.curves), 3);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let outputs = pool.install(|| run(&short, clusters())).unwrap();
        (outputs.world, outputs.curves)
    };
    let alone = on(1);
    assert!(on(2) == alone && on(16) == alone);
}

#[test]
fn confidence_and_repeats_count() {
    // User 0 took item 0 four times and item 1 once; the others took neither.
    let all = |alpha: f64| {
        let pairs = [(0, 0), (0, 0), (0, 0), (0, 0), (0, 1), (1, 2), (2, 2), (1, 3), (2, 3)];
        let stage = Ials { alpha, n_factors: 2, regularization: 0.5, ..stage() };
        let world = run(&stage, inputs([3, 5], &pairs)).unwrap().world;
        world.rewards_of(0).into_owned()
    };
    let (alike, confident) = (all(0.0), all(5.0));
    assert!((alike[0] - alike[1]).abs() < 1e-5, "{alike:?}");
    assert!(confident[0] > confident[1] + 0.01, "{confident:?}");
    assert!(alike[4] < 0.01, "an item that nobody took");
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let refused = |change: fn(&mut Ials)| {
        let mut stage = stage();
        change(&mut stage);
        stage.check().unwrap_err().0
    };
    assert_eq!(refused(|stage| stage.n_factors = 0), "n_factors");
    assert_eq!(refused(|stage| stage.n_iterations = 0), "n_iterations");
    assert_eq!(refused(|stage| stage.unobserved_weight = 0.0), "unobserved_weight");
    assert_eq!(refused(|stage| stage.alpha = -1.0), "alpha");
    assert_eq!(refused(|stage| stage.regularization = f64::NAN), "regularization");
    assert_eq!(refused(|stage| stage.frequency_exponent = 3.0), "frequency_exponent");
    let error = |stage: &Ials, inputs| run(stage, inputs).err().unwrap().to_string();
    assert_eq!(error(&stage(), inputs([2, 2], &[])), "no interaction to fit a world on");
    let strict = Ials { min_rating: Some(4.0), ..stage() };
    assert_eq!(error(&strict, clusters()), "none of 720 interactions is rated 4 or more\nhelp: lower `min_rating`");
    let mut negative = clusters();
    negative.interactions.rating[3] = -1.0;
    assert!(error(&stage(), negative).ends_with("or take `world.mf`, which fits ratings of any scale"));
    assert!(error(&stage(), inputs([2, 2], &[(0, 2)])).contains("but there are 2 users and 2 items"));
}

#[test]
fn a_rating_of_0_was_not_taken_in_the_hold_out_either() {
    let series = ["recall_at_20.holdout", "ndcg_at_10.holdout"];
    let scores = |inputs| {
        let curves = run(&stage(), inputs).unwrap().curves;
        series.map(|series| last(&curves, series))
    };
    let mut with_zeros = clusters();
    let holdout = with_zeros.holdout.as_mut().unwrap();
    for item in 100..120 {
        holdout.user.push(0);
        holdout.item.push(item);
        holdout.rating.push(0.0);
        holdout.timestamp.push(0);
    }
    assert_eq!(scores(with_zeros), scores(clusters()));
}
