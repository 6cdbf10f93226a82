//! A world that holds factors is the one that stores its rewards, to rounding.

use std::sync::Arc;

use pipeline::{Artifact, Context, Stage};

use super::pessimistic::{By, Dorl, Inputs as ToLower, Mopo, Pessimistic};
use super::reference_users;
use super::threshold::{PairDistances, similar_pairs};
use super::{Bias, DeepFm, Inputs, MatrixFactorisation, Outputs, UserSimulator, WorldForm, small_log, weighted};
use crate::artifact::{
    Array, ColumnDistances, Distances, Factored, Factors, Interactions, ItemScores, ItemVectors, Items, QuitRules,
    Rewards, World,
};
use crate::env::{GreedyOracle, Random, play};
use crate::nn::ItemSimilarity;

/// Sums of some twenty products of numbers up to 5, in another order.
const ROUNDING: f32 = 1e-5;

fn simulator() -> UserSimulator {
    UserSimulator { embedding_dim: 2, horizon: 6, ..UserSimulator::default() }
}

fn mf(form: WorldForm) -> MatrixFactorisation {
    let simulator = simulator();
    MatrixFactorisation {
        n_epochs: 6,
        batch_size: 8,
        ensemble_size: 3,
        n_factors: 9,
        form,
        simulator,
        ..Default::default()
    }
}

fn deepfm(form: WorldForm) -> DeepFm {
    let simulator = simulator();
    DeepFm {
        n_epochs: 6,
        batch_size: 8,
        ensemble_size: 2,
        embedding: 3,
        hidden: vec![5, 4],
        form,
        simulator,
        ..Default::default()
    }
}

fn run<S: Stage<Inputs = Inputs, Outputs = Outputs>>(stage: &S, inputs: Inputs) -> Outputs {
    stage.check().unwrap();
    let folder = tempfile::tempdir().unwrap();
    stage.run(inputs, &Context::detached(folder.path())).unwrap()
}

/// Scores and vectors of the items beside the log, of which some ratings are held out.
fn with_all() -> Inputs {
    let mut inputs = weighted(small_log());
    inputs.item_scores =
        Some(ItemScores { score: (0..8).map(|k| Some(f64::from(k % 3))).collect(), questions: vec![] });
    let data = (0..16).map(|k| (k as f32 * 0.7).sin()).collect();
    let vectors = crate::artifact::Array::new(&[8, 2], data);
    inputs.item_vectors = Some(ItemVectors { vectors, space: "toy".into(), columns: vec![] });
    inputs
}

fn assert_close(one: &World, other: &World) {
    for (user, item) in (0..6).flat_map(|user| (0..8).map(move |item| (user, item))) {
        let (a, b) = (one.reward(user, item), other.reward(user, item));
        assert!((a - b).abs() < ROUNDING, "({user}, {item}): {a} {b}");
        assert_eq!(one.rewards_of(user)[item as usize], a);
    }
    assert!((one.rewards().mean_abs() - other.rewards().mean_abs()).abs() < 1e-5);
    let items: Vec<u32> = (0..6).collect();
    for agent in [&GreedyOracle as &dyn crate::env::Agent, &Random { quit_aware: true }] {
        let [one, other] = [one, other].map(|world| play(world, &items, agent, 3).unwrap());
        (0..6).for_each(|e| assert_eq!((one.items(e), one.end(e)), (other.items(e), other.end(e))));
    }
}

/// In both forms: the rewards and what is played in them, errors, calibration; and the file of the one that holds factors.
fn compare(dense: &Outputs, factored: &Outputs) {
    assert!(matches!(dense.world.rewards(), Rewards::Dense(_)));
    let Rewards::Factored(factors) = factored.world.rewards() else { panic!("no factors") };
    assert_close(&factored.world, &dense.world);
    for (one, other) in dense.curves.0.iter().zip(&factored.curves.0) {
        assert_eq!(one.series, other.series);
        assert!((one.value - other.value).abs() < 1e-5, "{one:?} {other:?}");
    }
    for (one, other) in dense.calibration.0.iter().zip(&factored.calibration.0) {
        assert_eq!((&one.model, one.count), (&other.model, other.count));
        assert!((one.deviation - other.deviation).abs() < 1e-4 && (one.error - other.error).abs() < 1e-4, "{other:?}");
    }
    assert_eq!(dense.calibration.0.len(), factored.calibration.0.len());
    if let Some(std) = &dense.world.ensemble_std {
        let cell = |(user, item): (u32, u32)| (std.row(user as usize)[item as usize] - factors.std(user, item)).abs();
        assert!((0..6).flat_map(|user| (0..8).map(move |item| (user, item))).map(cell).all(|apart| apart < ROUNDING));
    }
    let (low, high) = factored.world.rewards().range();
    let all = || (0..6).flat_map(|user| dense.world.rewards_of(user).into_owned());
    assert!(all().all(|reward| (low..=high).contains(&reward)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("world");
    factored.world.write(&path).unwrap();
    assert_eq!(World::read(&path).unwrap(), factored.world);
    assert_eq!(World::read(&path).unwrap().rewards_digest(), factored.world.rewards_digest());
    assert_ne!(dense.world.rewards_digest(), factored.world.rewards_digest());
    let pays = |low| factored.world.rewards().constant(low);
    let world = |rewards: Rewards| {
        let mut world = factored.world.clone();
        world.set_rewards(rewards);
        world
    };
    for low in [None, Some(3.0)] {
        let (one, other) = (world(pays(low)), dense.world.rewards().constant(low));
        assert!((0..6).all(|user| one.rewards_of(user) == other.row(user)), "{low:?}");
        let path = folder.path().join(format!("constant {low:?}"));
        one.write(&path).unwrap();
        assert_eq!(World::read(&path).unwrap(), one);
        assert_ne!(one.rewards_digest(), factored.world.rewards_digest());
    }
}

#[test]
fn factors_say_what_is_stored() {
    compare(&run(&mf(WorldForm::Auto), with_all()), &run(&mf(WorldForm::Factored), with_all()));
    let alone = |form| MatrixFactorisation { ensemble_size: 1, ..mf(form) };
    compare(&run(&alone(WorldForm::Dense), small_log()), &run(&alone(WorldForm::Factored), small_log()));
    let bias = |form| Bias { form, simulator: simulator(), ..Bias::default() };
    let inputs = || Inputs { item_vectors: None, propensities: None, ..with_all() };
    compare(&run(&bias(WorldForm::Auto), inputs()), &run(&bias(WorldForm::Factored), inputs()));
    // The scores alone.
    let empty = || Inputs { interactions: small_log().interactions.take(&[]), ..inputs() };
    compare(&run(&bias(WorldForm::Auto), empty()), &run(&bias(WorldForm::Factored), empty()));
}

#[test]
fn factors_and_a_network_say_what_is_stored() {
    for hidden in [vec![5, 4], vec![6], vec![]] {
        let stage = |form| DeepFm { hidden: hidden.clone(), ..deepfm(form) };
        let (dense, factored) =
            (run(&stage(WorldForm::Auto), with_all()), run(&stage(WorldForm::Factored), with_all()));
        compare(&dense, &factored);
        let Rewards::Factored(factors) = factored.world.rewards() else { panic!("no factors") };
        assert!(factors.has_networks());
        // Of all users and items the vectors are the best that there are, in either form.
        let product = |world: &World, user: usize, item: usize| -> f32 {
            world.user_vectors.row(user).iter().zip(world.item_vectors.row(item)).map(|(a, b)| a * b).sum()
        };
        for (user, item) in (0..6).flat_map(|user| (0..8).map(move |item| (user, item))) {
            let [one, other] = [&dense.world, &factored.world].map(|world| product(world, user, item));
            assert!((one - other).abs() < 1e-3, "{hidden:?} ({user}, {item}): {one} {other}");
        }
    }
    // What its models state of themselves is not kept.
    let stating = |form| DeepFm { predict_variance: true, ensemble_size: 1, ..deepfm(form) };
    let [dense, factored] = [WorldForm::Dense, WorldForm::Factored].map(|form| run(&stating(form), small_log()).world);
    assert_close(&factored, &dense);
    assert!(dense.predicted_std.is_some() && factored.predicted_std.is_none());
}

#[test]
fn pessimism_keeps_the_factors() {
    let folder = tempfile::tempdir().unwrap();
    let lowered = |by: &By, world: World| {
        let stage = Pessimistic { by: by.clone(), ..Pessimistic::default() };
        stage.run(ToLower { world, demonstrations: None }, &Context::detached(folder.path())).map(|found| found.world)
    };
    let world = |form| run(&mf(form), with_all()).world;
    let dorl = By::Dorl(Dorl { uncertainty_coef: 2.0, entropy_coef: 0.0 });
    for by in [By::Mopo(Mopo { uncertainty_coef: 1.5 }), dorl] {
        let (dense, factored) = (lowered(&by, world(WorldForm::Dense)), lowered(&by, world(WorldForm::Factored)));
        let (dense, factored) = (dense.unwrap(), factored.unwrap());
        assert_close(&factored, &dense);
        assert_eq!(factored.item_vectors, world(WorldForm::Factored).item_vectors, "those of what was fitted");
        let path = folder.path().join("lowered");
        factored.write(&path).unwrap();
        assert_eq!(World::read(&path).unwrap(), factored);
        std::fs::remove_file(path).unwrap();
        let error = lowered(&by, factored).unwrap_err().to_string();
        assert!(error.starts_with("the world's rewards are lowered already\nhelp: "), "{error}");
    }
    let by = By::Mopo(Mopo { uncertainty_coef: 1.5 });
    let [dense, factored] = [WorldForm::Dense, WorldForm::Factored].map(|form| run(&deepfm(form), with_all()).world);
    assert_close(&lowered(&by, factored).unwrap(), &lowered(&by, dense).unwrap());
    let alone = MatrixFactorisation { ensemble_size: 1, ..mf(WorldForm::Factored) };
    let error = lowered(&By::default(), run(&alone, small_log()).world).unwrap_err().to_string();
    assert!(error.starts_with("the world has no standard deviation of its models\nhelp: "), "{error}");
}

#[test]
fn threads_change_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let written = |form: WorldForm, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let path = folder.path().join(format!("{form:?}{threads}"));
        pool.install(|| run(&mf(form), with_all()).world.write(&path)).unwrap();
        std::fs::read(path).unwrap()
    };
    for form in [WorldForm::Dense, WorldForm::Factored] {
        let one = written(form, 1);
        assert!([2, 16].into_iter().all(|threads| written(form, threads) == one), "{form:?}");
    }
    let networks = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&deepfm(WorldForm::Factored), with_all()).world)
    };
    assert!(networks(1) == networks(2) && networks(1) == networks(16));
}

#[test]
fn a_catalogue_of_one_item_has_a_world_in_both_forms() {
    let inputs = || {
        let mut inputs = small_log();
        inputs.interactions.item.fill(0);
        inputs.items.id.truncate(1);
        inputs.items.title.truncate(1);
        inputs.items.year.truncate(1);
        inputs.items.genres.truncate(1);
        inputs
    };
    let stage = |form| MatrixFactorisation { simulator: UserSimulator { embedding_dim: 1, ..simulator() }, ..mf(form) };
    let [dense, factored] = [WorldForm::Auto, WorldForm::Factored].map(|form| run(&stage(form), inputs()).world);
    assert!((0..6).all(|user| (dense.reward(user, 0) - factored.reward(user, 0)).abs() < ROUNDING));
    assert_eq!((dense.items(), factored.items()), (1, 1));
}

#[test]
fn twenty_thousand_items_of_which_five_were_rated_are_a_world() {
    let count = 20_000;
    let mut inputs = small_log();
    inputs.interactions.item.iter_mut().for_each(|item| *item = *item % 5 * 4_000);
    let names: Vec<String> = (0..count).map(|k| format!("i{k}")).collect();
    inputs.items = Items {
        title: names.clone(),
        id: names,
        year: vec![None; count],
        genres: vec![vec![]; count],
        ..Items::default()
    };
    let stage = Bias { form: WorldForm::Factored, simulator: simulator(), ..Bias::default() };
    let folder = tempfile::tempdir().unwrap();
    let cx = Context::detached(folder.path());
    let world = stage.run(inputs, &cx).unwrap().world;
    assert!((0..6).all(|user| world.reward(user, 1) == world.reward(user, 19_999)), "nobody knows either");
    assert!(world.reward(0, 4_000) != world.reward(0, 1));
    // What nobody rated is the same to everybody, so it is at 0 from itself and from its like.
    assert_eq!((world.distance(1, 2), world.distance(7, 7)), (0.0, 0.0));
    // The usual quit rule goes on: it ends at a repeat and at what is alike, not at what was rated otherwise.
    let threshold = world.rules.distance_threshold.unwrap();
    assert!(threshold > 0.0 && world.too_similar(7, &[7]) && world.too_similar(1, &[2]));
    assert!((0..5).any(|rated| !world.too_similar(1, &[rated * 4_000])));
    let pairs = PairDistances::of(world.item_distances(), world.rewards(), &cx).unwrap();
    let (similar, said) = similar_pairs(&pairs, threshold).unwrap();
    assert!(similar > 0 && cx.warnings().is_empty(), "{said} {:?}", cx.warnings());
    // So do policies: what nobody rated shares one list of what it is similar to, and is not similar to all.
    let shared = ItemSimilarity::shared(&world.user_vectors, &world.item_vectors, 0.02, None).unwrap();
    let vectors = shared.vectors().unwrap();
    assert!(vectors.bandwidth() > 1e-9, "{}", vectors.bandwidth());
    let lists = vectors.lists(&[1, 2, 19_999, 4_000]).unwrap();
    assert!(Arc::ptr_eq(&lists[0], &lists[1]) && Arc::ptr_eq(&lists[0], &lists[2]), "one list of 120 kB, not three");
    assert!(!Arc::ptr_eq(&lists[0], &lists[3]));
    let played = play(&world, &[0, 5], &GreedyOracle, 1).unwrap();
    assert!((0..2).all(|e| !played.items(e).is_empty()));
}

/// A table of its log would take 1 TB.
#[test]
fn a_world_of_factors_is_refused_before_anything_of_its_size_is_made() {
    let count = 500_000;
    let factors = || Array::new(&[count, 1], vec![1.0; count]);
    let members = vec![Factors::of_product(factors(), factors())];
    let rewards = Factored { members, range: (0.0, 1.0), penalty: None };
    let distances = Distances::Columns(ColumnDistances::new(None));
    let world = World::new(rewards, distances, [factors(), factors()], QuitRules::default());
    let stage = reference_users::ReferenceUsers { indicators: reference_users::Indicators::Log, ..Default::default() };
    let log = Interactions { user: vec![0], item: vec![1], rating: vec![1.0], timestamp: vec![0] };
    let folder = tempfile::tempdir().unwrap();
    let inputs = reference_users::Inputs { world, interactions: Some(log) };
    let error = stage.run(inputs, &Context::detached(folder.path())).err().unwrap().to_string();
    assert!(error.contains("this world holds factors\nhelp: "), "{error}");
}
