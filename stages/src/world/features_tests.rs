//! Declared columns of items and users in worlds.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use pipeline::{Context, Stage};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::deepfm_factors::factors;
use super::deepfm_model::Model;
use super::fields::Fields;
use super::lookups::assert_lookups_are_predictions;
use super::rated_log::Ratings;
use super::side_features::{Declarations, Undeclared};
use super::{DeepFm, EmbeddingUpdates, Inputs, MatrixFactorisation, Outputs, TwoTower, UserSimulator, WorldForm, mf};
use crate::artifact::{Factored, Interactions, ItemVectors, Items, Rewards, Users};
use crate::features::{FeatureKind, Features};
use crate::nn::gradient_check::{assert_every_parameter_learns, assert_parameters_are_exact};
use crate::nn::training::assert_resumes_exactly;
use crate::nn::{Params, rng};
use crate::world::rating_model::RatingModel;

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

fn declared(columns: &[(&str, FeatureKind)]) -> BTreeMap<String, FeatureKind> {
    columns.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone())).collect()
}

/// Two users and four items; the last item is in no rating, and has a brand and a tag that no other has.
fn toy() -> (Users, Items, Interactions) {
    let users = Users { id: texts(&["a", "b"]), features: [("age".to_owned(), texts(&["20", "40"]))].into() };
    let items = Items {
        id: texts(&["w", "x", "y", "z"]),
        title: texts(&["W", "X", "Y", "Z"]),
        year: vec![None; 4],
        genres: vec![vec![]; 4],
        features: [
            ("price".to_owned(), texts(&["1", "3", "", "9"])),
            ("brand".to_owned(), texts(&["Acme", "Best", "Acme", "New"])),
            ("tags".to_owned(), texts(&["red|big", "red", "", "big|odd"])),
            ("same".to_owned(), texts(&["1", "1", "1", "2"])),
        ]
        .into(),
    };
    let log = Interactions { user: vec![0, 1, 0], item: vec![0, 1, 2], rating: vec![1.0; 3], timestamp: vec![0; 3] };
    (users, items, log)
}

fn each_kind() -> Features {
    Features {
        items: declared(&[
            ("price", FeatureKind::Numeric),
            ("brand", FeatureKind::Categorical),
            ("tags", FeatureKind::MultiValued("|".into())),
            ("same", FeatureKind::Categorical),
        ]),
        users: declared(&[("age", FeatureKind::Numeric)]),
        ..Features::default()
    }
}

fn encoded(features: &Features) -> Declarations {
    let ((users, items, log), folder) = (toy(), tempfile::tempdir().unwrap());
    let cx = Context::detached(folder.path());
    Declarations::of(features, (&users, &items), &log, None, Undeclared::LeftOut, &cx).unwrap()
}

fn ids(ids: &[u32]) -> Tensor {
    Tensor::new(ids, &Device::Cpu).unwrap()
}

#[test]
fn a_rating_with_each_kind_by_hand_from_pairs_lookups_and_factors() {
    let (users, items, log) = toy();
    let declared = encoded(&each_kind());
    let fields = Fields::new(&users, &items, 10, &declared).unwrap();
    // Users, age; items, two brands, price and its missing value, two tags (`odd` is in no rated item). `same` says nothing.
    assert_eq!(fields.rows, 2 + 1 + 4 + 2 + 2 + 2);
    let mut params = Params::default();
    let config = DeepFm { embedding: 3, hidden: vec![4], ..DeepFm::default() };
    let model = Model::new(&mut params, &config, &fields, None, 3.0, 1).unwrap();
    let table = model.table.to_vec2::<f32>().unwrap();
    let row = |weights: &[(usize, f32)]| -> Vec<f32> {
        (0..4).map(|k| weights.iter().map(|(row, weight)| weight * table[*row][k]).sum()).collect()
    };
    // Ages 20 and 40 are ∓1; prices 1 and 3 are ∓1, and 9 is seven deviations above their mean.
    let of_item = |item: usize| -> [Vec<f32>; 4] {
        let brand = [&[(7, 1.0)][..], &[(8, 1.0)], &[(7, 1.0)], &[]][item];
        let price = [(9, -1.0), (9, 1.0), (10, 1.0), (9, 5.0)][item];
        let tags = [&[(11, 0.5), (12, 0.5)][..], &[(12, 1.0)], &[], &[(11, 1.0)]][item];
        [row(&[(3 + item, 1.0)]), row(brand), row(&[price]), row(tags)]
    };
    for (user, item) in (0..2).flat_map(|user| (0..4).map(move |item| (user, item))) {
        let rows = [&[row(&[(user, 1.0)]), row(&[(2, [-1.0, 1.0][user])])][..], &of_item(item)].concat();
        let mut by_hand = 3.0;
        for (f, row) in rows.iter().enumerate() {
            by_hand += row[0];
            let product = |other: &Vec<f32>| row[1..].iter().zip(&other[1..]).map(|(a, b)| a * b).sum::<f32>();
            by_hand += rows[..f].iter().map(product).sum::<f32>();
        }
        let flat: Vec<f32> = rows.iter().flat_map(|row| row[1..].to_vec()).collect();
        let deep = candle_nn::Module::forward(&model.network, &Tensor::from_vec(flat, (1, 18), &Device::Cpu).unwrap());
        by_hand += deep.unwrap().to_vec2::<f32>().unwrap()[0][0];
        let found =
            model.predict(&ids(&[user as u32]), &ids(&[item as u32])).unwrap().rating.to_vec1::<f32>().unwrap()[0];
        assert!((found - by_hand).abs() < 1e-5, "{user} {item}: {found} {by_hand}");
        let factored = Factored { members: vec![factors(&model).unwrap()], range: (-9.0, 9.0), penalty: None };
        let factored = Rewards::from(factored).row(user as u32)[item];
        assert!((factored - by_hand).abs() < 1e-5, "{user} {item}: {factored} {by_hand}");
    }
    let ratings = Ratings { log: &log, shape: [2, 4], weights: None, negatives: None, holdout: None };
    assert_lookups_are_predictions(&params, &model, &ratings);
    let mut params = Params::default();
    let config = MatrixFactorisation { n_factors: 3, ..MatrixFactorisation::default() };
    let model = mf::Model::new(&mut params, &config, (2, 4), (None, &declared), 3.0, 1).unwrap();
    assert_lookups_are_predictions(&params, &model, &ratings);
    let factored = Factored { members: vec![model.factors().unwrap().unwrap()], range: (-9.0, 9.0), penalty: None };
    let row = Rewards::from(factored).row(1).to_vec();
    let found = model.predict(&ids(&[1; 4]), &ids(&[0, 1, 2, 3])).unwrap().rating.to_vec1::<f32>().unwrap();
    assert!(found.iter().zip(&row).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {row:?}");
}

#[test]
fn gradients_of_each_kind_are_those_of_finite_differences() {
    let (users, items, _) = toy();
    let declared = encoded(&each_kind());
    let fields = Fields::new(&users, &items, 10, &declared).unwrap();
    let (user, item) = (ids(&[0, 1, 0, 1]), ids(&[0, 1, 2, 3]));
    let mut params = Params::in_f64();
    let config = DeepFm { embedding: 2, hidden: vec![2], ..DeepFm::default() };
    let model = Model::new(&mut params, &config, &fields, None, 3.0, 1).unwrap();
    let loss = || model.predict(&user, &item).unwrap().rating.sqr()?.sum_all();
    assert_every_parameter_learns(&params, loss);
    assert_parameters_are_exact(&params, loss);
    let mut params = Params::in_f64();
    let config = MatrixFactorisation { n_factors: 2, ..MatrixFactorisation::default() };
    let model = mf::Model::new(&mut params, &config, (2, 4), (None, &declared), 3.0, 1).unwrap();
    let loss = || model.predict(&user, &item).unwrap().rating.sqr()?.sum_all();
    assert_every_parameter_learns(&params, loss);
    assert_parameters_are_exact(&params, loss);
}

/// Thirty users rate sixty items around means that their columns tell: a price, a brand and tags; the last fifteen items are only held out.
/// With `shuffled` columns they are those of other items.
fn planted(shuffled: bool) -> Inputs {
    let (users, items) = (30_u32, 60_usize);
    let mut draw = rng(&[3, 0xfea7]);
    let price: Vec<f32> = (0..items).map(|_| draw.random::<f32>()).collect();
    let brand: Vec<usize> = (0..items).map(|_| draw.random_range(0..4)).collect();
    let tags: Vec<Vec<usize>> = (0..items).map(|_| (0..5).filter(|_| draw.random::<f32>() < 0.4).collect()).collect();
    let truth = |item: usize| {
        let of_tags = tags[item].iter().map(|tag| [0.8, -0.8, 0.4, -0.4, 0.0][*tag]).sum::<f32>();
        3.0 + 1.5 * (price[item] - 0.5) + [0.6, -0.6, 0.2, -0.2][brand[item]] + of_tags / tags[item].len().max(1) as f32
    };
    let (mut train, mut holdout) = (Interactions::default(), Interactions::default());
    for (user, item) in (0..users).flat_map(|user| (0..items).map(move |item| (user, item))) {
        let log = if item >= 45 { &mut holdout } else { &mut train };
        log.user.push(user);
        log.item.push(item as u32);
        log.rating.push(truth(item) + 0.6 * (draw.random::<f32>() - 0.5));
        log.timestamp.push(0);
    }
    let mut order: Vec<usize> = (0..items).collect();
    if shuffled {
        order.shuffle(&mut rng(&[8]));
    }
    let column = |of: &dyn Fn(usize) -> String| order.iter().map(|&item| of(item)).collect::<Vec<String>>();
    let features = [
        ("price", column(&|item| format!("{:.4}", 100.0 * price[item]))),
        ("brand", column(&|item| format!("b{}", brand[item]))),
        ("tags", column(&|item| tags[item].iter().map(|tag| format!("t{tag}")).collect::<Vec<_>>().join(";"))),
    ];
    let names = |letter: char, count: usize| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
    Inputs {
        interactions: train,
        holdout: Some(holdout),
        items: Items {
            id: names('i', items),
            title: names('i', items),
            year: vec![None; items],
            genres: vec![vec![]; items],
            features: features.map(|(name, values)| (name.to_owned(), values)).into(),
        },
        users: Users { id: names('u', users as usize), ..Users::default() },
        item_vectors: None,
        propensities: None,
        distances: None,
        item_scores: None,
    }
}

fn of_planted() -> Features {
    let items = declared(&[
        ("price", FeatureKind::Numeric),
        ("brand", FeatureKind::Categorical),
        ("tags", FeatureKind::MultiValued(";".into())),
    ]);
    Features { items, ..Features::default() }
}

fn simulator() -> UserSimulator {
    UserSimulator { embedding_dim: 2, ..UserSimulator::default() }
}

fn run<S: Stage<Inputs = Inputs, Outputs = Outputs>>(stage: &S, inputs: Inputs) -> Outputs {
    let folder = tempfile::tempdir().unwrap();
    stage.run(inputs, &Context::detached(folder.path())).unwrap()
}

/// The error on items that nobody rated.
fn error<S: Stage<Inputs = Inputs, Outputs = Outputs>>(stage: &S, inputs: Inputs) -> f64 {
    let curves = run(stage, inputs).curves;
    curves.0.iter().rfind(|point| point.series == "rmse.holdout.world").unwrap().value
}

#[test]
fn columns_tell_the_means_of_items_that_nobody_rated_and_those_of_others_do_not() {
    let with = DeepFm {
        ensemble_size: 1,
        n_epochs: 25,
        batch_size: 128,
        l2: 1.0,
        simulator: simulator(),
        features: of_planted(),
        ..DeepFm::default()
    };
    let without = DeepFm { features: Features::default(), max_cardinality: 0, ..with.clone() };
    let found = [error(&with, planted(false)), error(&with, planted(true)), error(&without, planted(false))];
    assert!(found[0] < 0.6 * found[2] && found[1] > 0.9 * found[2], "DeepFM: {found:?}");
    let with = MatrixFactorisation {
        n_factors: 4,
        n_epochs: 60,
        batch_size: 128,
        l2: 1.0,
        simulator: simulator(),
        features: of_planted(),
        ..MatrixFactorisation::default()
    };
    let without = MatrixFactorisation { features: Features::default(), ..with.clone() };
    let found = [error(&with, planted(false)), error(&with, planted(true)), error(&without, planted(false))];
    assert!(found[0] < 0.6 * found[2] && found[1] > 0.9 * found[2], "MF: {found:?}");
}

#[test]
fn a_two_tower_ranks_items_that_nobody_chose_by_their_columns() {
    // Users of two kinds choose items of one brand each; the last six items are held out.
    let inputs = |shuffled: bool| {
        let (mut train, mut holdout) = (Interactions::default(), Interactions::default());
        for (user, item) in (0..24_u32).flat_map(|user| (0..36_u32).map(move |item| (user, item))) {
            let log = if item >= 30 { &mut holdout } else { &mut train };
            if user % 2 == item % 2 {
                log.user.push(user);
                log.item.push(item);
                log.rating.push(1.0);
                log.timestamp.push(0);
            }
        }
        let shift = |item: u32| if shuffled { item / 3 } else { item };
        let names = |letter: char, count: u32| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
        let brand = (0..36).map(|item| ["even", "odd"][shift(item) as usize % 2].to_owned()).collect();
        let items = Items {
            id: names('i', 36),
            title: names('i', 36),
            year: vec![None; 36],
            genres: vec![vec![]; 36],
            features: [("brand".to_owned(), brand)].into(),
        };
        let users = Users { id: names('u', 24), ..Users::default() };
        let (distances, item_vectors) = (None, None);
        super::two_tower::Inputs { interactions: train, items, users, holdout: Some(holdout), distances, item_vectors }
    };
    let stage = |features: bool| TwoTower {
        embedding: 4,
        n_epochs: 15,
        batch_size: 64,
        n_uniform_negatives: 16,
        simulator: simulator(),
        features: Features {
            items: if features { declared(&[("brand", FeatureKind::Categorical)]) } else { BTreeMap::new() },
            ..Features::default()
        },
        optimizer: crate::nn::Optimizer::with_learning_rate(0.05),
        ..TwoTower::default()
    };
    let nll = |stage: &TwoTower, inputs| {
        let folder = tempfile::tempdir().unwrap();
        let curves = stage.run(inputs, &Context::detached(folder.path())).unwrap().curves;
        curves.0.iter().rfind(|point| point.series == "nll.holdout").unwrap().value
    };
    let found = [nll(&stage(true), inputs(false)), nll(&stage(true), inputs(true)), nll(&stage(false), inputs(false))];
    assert!(found[0] + 0.3 < found[2].min(found[1]), "{found:?}");
}

#[test]
fn equal_bytes_on_any_number_of_threads_and_after_interruptions_and_a_world_keeps_the_columns() {
    let deepfm = DeepFm {
        n_epochs: 2,
        batch_size: 50,
        ensemble_size: 2,
        simulator: simulator(),
        features: of_planted(),
        ..DeepFm::default()
    };
    let lazy = DeepFm { embedding_updates: EmbeddingUpdates::Lazy, form: WorldForm::Factored, ..deepfm.clone() };
    let compared = |outputs: Outputs| (outputs.world, outputs.curves);
    for stage in [&deepfm, &lazy] {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| compared(run(stage, planted(false))))
        };
        let alone = on(1);
        assert!(on(2) == alone && on(16) == alone);
        let columns = alone.0.item_features.as_ref().unwrap();
        assert_eq!(columns.columns.iter().map(|column| &*column.name).collect::<Vec<_>>(), ["brand", "price", "tags"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world");
        pipeline::Artifact::write(&alone.0, &path).unwrap();
        assert!(<crate::artifact::World as pipeline::Artifact>::read(&path).unwrap() == alone.0);
    }
    assert_resumes_exactly(&lazy, || planted(false), compared, 4);
}

#[test]
fn what_cannot_be_read_is_refused_and_what_is_left_out_has_its_reason() {
    let error = |name: &str, kind: FeatureKind, vectors: Option<&ItemVectors>| {
        let ((users, items, log), folder) = (toy(), tempfile::tempdir().unwrap());
        let features = Features { items: declared(&[(name, kind)]), ..Features::default() };
        let cx = Context::detached(folder.path());
        let found = Declarations::of(&features, (&users, &items), &log, vectors, Undeclared::LeftOut, &cx);
        found.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let unknown = error("prise", FeatureKind::Numeric, None);
    assert!(
        unknown.starts_with(
            "the table of items has no column `prise`\nhelp: did you mean `price`? it has brand, price, same, tags; `items.features`"
        ),
        "{unknown}"
    );
    let words = error("brand", FeatureKind::Numeric, None);
    assert!(
        words.starts_with(
            "the column `brand` of items is declared numeric, and 4 of 4 values are no numbers (the first: \"Acme\" of \"w\")\nhelp: "
        ),
        "{words}"
    );
    let vectors = |template: &str| ItemVectors {
        vectors: crate::artifact::Array::new(&[4, 1], vec![0.0; 4]),
        space: format!(r#"{{"template":"{template}"}}"#),
        columns: Vec::new(),
    };
    assert!(
        error("tags", FeatureKind::Text, None)
            .contains("`item_vectors` is not connected\nhelp: add `texts: { use: embed")
    );
    let other = error("tags", FeatureKind::Text, Some(&vectors("{{ name }}")));
    assert!(other.contains("the vectors at `item_vectors` do not tell of it"), "{other}");
    assert_eq!(error("tags", FeatureKind::Text, Some(&vectors("{{ features.tags }}"))), "");

    let all = encoded(&Features { max_cardinality: 2, ..each_kind() });
    let items = all.items.unwrap();
    assert_eq!(items.left_out, ["same (the same in all rows that are fitted)"]);
    assert_eq!(
        items.said().unwrap(),
        "brand (categorical, 2 values; 1 rows that are not fitted hold unseen values), price (numeric, mean 2.000, standard deviation 1.000, 1 \
         missing), tags (multi_valued, 2 values; 1 rows that are not fitted hold unseen values)"
    );
    // Of three brands two would be too many: the most frequent one stays.
    let (mut users, mut items, log) = toy();
    items.features.insert("brand".to_owned(), texts(&["Acme", "Best", "Cosy", "New"]));
    let mut log = log;
    log.item = vec![0, 2, 2, 1];
    (log.user, log.rating, log.timestamp) = (vec![0, 1, 0, 1], vec![1.0; 4], vec![0; 4]);
    users.features.clear();
    let (folder, mut features) = (tempfile::tempdir().unwrap(), each_kind());
    (features.max_cardinality, features.users) = (2, BTreeMap::new());
    let cx = Context::detached(folder.path());
    let found = Declarations::of(&features, (&users, &items), &log, None, Undeclared::LeftOut, &cx).unwrap();
    let brand = &found.items.unwrap().columns[0];
    assert_eq!(
        (&*brand.ids, &*brand.weights),
        (&[1, 1, 0, 1][..], &[1.0; 4][..]),
        "what nobody has seen is one of the others"
    );
    assert_eq!(
        brand.said,
        "brand (categorical, 1 values and 2 rarer ones as one; 1 rows that are not fitted hold unseen values)"
    );
}
