//! A planted log: a teacher that knows 500 further ratings is worth 500 ratings, and nothing once its verdicts are shuffled.

use std::collections::BTreeSet;

use pipeline::{Context, Named, Stage as _};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::arms::{BEST, SHUFFLED, SHUFFLED_WITHIN};
use super::returns::{EvaluateReturns, Inputs};
use super::statistics::{EstimateWorth, Inputs as Study};
use crate::artifact::{Array, Interactions, ItemScores, ItemVectors, Items, Repeats, Returns, Users, World, Worth};
use crate::env::cluster_world;
use crate::nn::rng;
use crate::ratings::{Design, HoldOut, Knowledge, Learner, Validation, WeightedLog};

const USERS: usize = 60;
const ITEMS: usize = 50;

/// What an item is worth to everybody: a normal of mean 3.5 and deviation 0.5.
fn quality() -> Vec<f64> {
    let mut draw = rng(&[11]);
    (0..ITEMS).map(|_| 3.5 + 0.5 * normal(&mut draw)).collect()
}

fn normal(draw: &mut impl RngExt) -> f64 {
    (0..12).map(|_| draw.random_range(0.0..1.0)).sum::<f64>() - 6.0
}

/// `rows` ratings of random pairs: quality plus a normal of deviation 1.
fn ratings(rows: usize, seed: u64) -> Interactions {
    let (quality, mut draw) = (quality(), rng(&[seed, 12]));
    let mut log = Interactions::default();
    for _ in 0..rows {
        let item = draw.random_range(0..ITEMS);
        log.user.push(draw.random_range(0..USERS) as u32);
        log.item.push(item as u32);
        log.rating.push((quality[item] + normal(&mut draw)) as f32);
        log.timestamp.push(0);
    }
    log
}

/// The true world: the mean rating, masked repeats, ten turns, nobody leaves.
fn world() -> World {
    let mut world = cluster_world(&[0.0; ITEMS], 1, 1, 10, USERS);
    let row: Vec<f32> = quality().iter().map(|&x| x as f32).collect();
    world.rewards_mut().data = (0..USERS).flat_map(|_| row.clone()).collect();
    world.rules.distance_threshold = None;
    world.rules.repeats = Repeats::Masked;
    world
}

fn catalogue() -> (Items, Users) {
    let names = |letter: char, count: usize| (0..count).map(|k| format!("{letter}{k}")).collect::<Vec<_>>();
    let items = Items {
        id: names('i', ITEMS),
        title: names('i', ITEMS),
        year: vec![None; ITEMS],
        genres: vec![vec![]; ITEMS],
        ..Items::default()
    };
    (items, Users { id: names('u', USERS), ..Users::default() })
}

/// The scores of a teacher that has seen `rows` ratings nobody else sees; another teacher for each draw.
fn teacher(rows: usize, draw: u64) -> ItemScores {
    let design = Design::of_genres_and_years(&catalogue().0);
    let knowledge = Knowledge { design: &design, scores: None };
    let validation = Validation { hold_out: HoldOut::Ratings, seed: draw };
    let log = WeightedLog::equal(ratings(rows, 1000 + draw));
    let seen = Learner::Biases.fit(&log, [USERS, ITEMS], knowledge, validation);
    ItemScores { score: seen.biases.item.into_iter().map(Some).collect(), questions: vec![] }
}

fn returns(draw: u64, sizes: &[usize], scores: Vec<Named<ItemScores>>) -> Returns {
    let (items, users) = catalogue();
    let folder = tempfile::tempdir().unwrap();
    let stage = EvaluateReturns { sizes: sizes.to_vec(), draw, ..EvaluateReturns::default() };
    let inputs = Inputs {
        interactions: ratings(4000, 1),
        items,
        users,
        worlds: vec![named("truth", world())],
        item_scores: scores,
        item_vectors: None,
        evaluation_log: None,
        offered: None,
    };
    stage.run(inputs, &Context::detached(folder.path())).unwrap().returns
}

/// Where fifteen of the items are offered, other ones in each draw, and nobody rated them: returns with vectors that hold the quality in one of six numbers, and
/// with a teacher that knows it to within a deviation of 0.5.
fn cold(draw: u64, sizes: &[usize]) -> Returns {
    let (items, users) = catalogue();
    let (quality, mut noise) = (quality(), rng(&[draw, 13]));
    let data = quality.iter().flat_map(|&x| {
        let others: [f64; 5] = std::array::from_fn(|_| 0.5 * normal(&mut noise));
        [others[0], others[1], x, others[2], others[3], others[4]].map(|x| x as f32)
    });
    let data: Vec<f32> = data.collect();
    let scores = quality.iter().map(|&x| Some(x + 0.5 * normal(&mut noise))).collect();
    let folder = tempfile::tempdir().unwrap();
    let stage = EvaluateReturns { sizes: sizes.to_vec(), draw, unrated: Some(0.3), ..EvaluateReturns::default() };
    let inputs = Inputs {
        interactions: ratings(4000, 1),
        items,
        users,
        worlds: vec![named("truth", world())],
        item_scores: vec![named("teacher", ItemScores { score: scores, questions: vec![] })],
        item_vectors: Some(ItemVectors {
            vectors: Array::new(&[ITEMS, 6], data),
            space: "toy".into(),
            columns: vec![],
        }),
        evaluation_log: None,
        offered: None,
    };
    stage.run(inputs, &Context::detached(folder.path())).unwrap().returns
}

#[test]
fn a_shelf_of_a_log_is_the_same_as_items_that_are_held_out() {
    let (items, users) = catalogue();
    let log = ratings(2000, 1);
    let run = |interactions: Interactions, offered: Option<Interactions>, unrated| {
        let folder = tempfile::tempdir().unwrap();
        let (items, users) = (items.clone(), users.clone());
        let (worlds, item_scores) = (vec![named("truth", world())], vec![named("teacher", teacher(500, 3))]);
        let stage = EvaluateReturns { sizes: vec![100], draw: 3, unrated, ..EvaluateReturns::default() };
        let inputs = Inputs {
            interactions,
            items,
            users,
            worlds,
            item_scores,
            item_vectors: None,
            evaluation_log: None,
            offered,
        };
        stage.run(inputs, &Context::detached(folder.path())).unwrap().returns
    };
    let mut all: Vec<u32> = (0..ITEMS as u32).collect();
    all.shuffle(&mut rng(&[3, 0x5e1f]));
    let (held, kept): (Vec<usize>, Vec<usize>) = (0..log.len()).partition(|&row| all[..15].contains(&log.item[row]));
    let given = run(log.take(&kept), Some(log.take(&held)), None);
    assert_eq!(run(log, None, Some(0.3)), given);
}

#[test]
fn on_a_cold_shelf_vectors_and_scores_help_and_others_do_not() {
    let study = Study { returns: (0..10).map(|draw| named("a", cold(draw, &[100, 1000]))).collect(), rollouts: vec![] };
    let folder = tempfile::tempdir().unwrap();
    let stage = EstimateWorth { n_resamples: 200, ..EstimateWorth::default() };
    let worth = stage.run(study, &Context::detached(folder.path())).unwrap().worth;
    let find = |scores: &str, learner: &str, quantity: &str, n| {
        worth.find(scores, learner, "all", quantity, n).unwrap_or_else(|| panic!("{learner} {quantity} {n}"))
    };
    for n in [100, 1000] {
        // No genre, no year: the mean rating of an unrated item is nothing, and each user gets an order of their own.
        assert!(find("", "text", "lead", n).low > 0.0, "{:?}", find("", "text", "lead", n));
        let others = find("", "text of other items", "lead", n);
        assert!(others.value < 0.3 * find("", "text", "lead", n).value && others.low < 0.0, "{others:?}");
        let random = find("", "random", "return", 0);
        let mean = find("", "popular by mean", "return", n);
        assert!((mean.value - random.value).abs() < 0.5, "{mean:?} {random:?}");
        assert!(find("teacher", "popular by mean", "gain", n).low > 0.0);
        let shuffled = find("teacher shuffled", "popular by mean", "gain", n);
        assert!(shuffled.low < 0.0 && shuffled.value < 0.5, "{shuffled:?}");
    }
    let best = find("", BEST, "return", 1000).value;
    assert!((best - find("", "text", "return", 1000).value).abs() < 0.1, "validation finds it");
    assert!(worth.find("", "factorization", "all", "return", 100).is_none());
    assert!(worth.answer.iter().any(|line| line.starts_with("Vectors of the items beside 100 ratings add +")));
}

fn named<A>(name: &str, value: A) -> Named<A> {
    Named { name: name.into(), cell: String::new(), value }
}

fn worth(draws: u64, sizes: &[usize]) -> Worth {
    let of_draw = |draw| named("a", returns(draw, sizes, vec![named("teacher", teacher(500, draw))]));
    let folder = tempfile::tempdir().unwrap();
    let study = Study { returns: (0..draws).map(of_draw).collect(), rollouts: vec![] };
    let stage = EstimateWorth { n_resamples: 400, ..EstimateWorth::default() };
    stage.run(study, &Context::detached(folder.path())).unwrap().worth
}

#[test]
fn a_teacher_that_knows_500_ratings_is_worth_500_and_a_shuffled_one_nothing() {
    let sizes = [100, 200, 400, 800, 1600];
    let worth = worth(12, &sizes);
    let find = |scores: &str, quantity: &str, n| worth.find(scores, "popular by mean", "all", quantity, n).unwrap();
    for n in [100, 200, 400] {
        let found = find("teacher", "marginal_worth", n);
        assert!(found.low <= 500.0 && found.high >= 500.0 && found.high < 1500.0, "{found:?}");
        assert!(find("teacher", "gain", n).low > 0.0);
        for control in [SHUFFLED, SHUFFLED_WITHIN] {
            let control = find(&format!("teacher{control}"), "marginal_worth", n);
            assert!(control.value < 150.0 && control.low == 0.0, "{control:?}");
        }
    }
    let alone = worth.find("teacher", "", "all", "standalone_worth", 0).unwrap();
    // Validation errs in its choice at times; the teacher, who has the right model, is worth somewhat more than that.
    assert!(alone.low <= 750.0 && alone.high >= 500.0, "{alone:?}");
    let (gain, smallest) = (find("teacher", "gain", 100), find("teacher", "detectable_gain", 100));
    assert!(smallest.value > 0.0 && smallest.value < gain.value, "the study could see it: {gain:?} {smallest:?}");
    assert!(worth.find("teacher", BEST, "all", "end", 0).is_some());
    assert!(worth.answer[0].starts_with("teacher alone returns "), "{:?}", worth.answer);
}

/// `rows` distinct choices: a user, and an item by its share of all choices.
fn choices(rows: usize, seed: u64) -> Interactions {
    let (share, mut draw) = (shares(), rng(&[seed, 14]));
    let mut seen = BTreeSet::new();
    while seen.len() < rows {
        let user = draw.random_range(0..USERS as u32);
        let mut place = draw.random_range(0.0..1.0);
        let item = share.iter().position(|share| {
            place -= share;
            place < 0.0
        });
        seen.insert((user, item.unwrap_or(0) as u32));
    }
    let (user, item) = seen.into_iter().unzip();
    Interactions { user, item, rating: vec![1.0; rows], timestamp: vec![0; rows] }
}

/// Shares of the items between a tenth and ten times the mean.
fn shares() -> Vec<f64> {
    let raw: Vec<f64> = quality().iter().map(|x| (1.5 * (x - 3.5)).exp()).collect();
    let total: f64 = raw.iter().sum();
    raw.into_iter().map(|x| x / total).collect()
}

/// Draws of positives, and a teacher that saw 500 further ones: its scores are their logarithms.
fn chosen(draw: u64, sizes: &[usize]) -> Returns {
    let (items, users) = catalogue();
    let mut seen = [1.0; ITEMS];
    choices(500, 2000 + draw).item.iter().for_each(|&item| seen[item as usize] += 1.0);
    let scores = ItemScores { score: seen.iter().map(|x: &f64| Some(x.ln())).collect(), questions: vec![] };
    let mut truth = world();
    let row: Vec<f32> = shares().iter().map(|&x| x as f32).collect();
    truth.rewards_mut().data = (0..USERS).flat_map(|_| row.clone()).collect();
    let folder = tempfile::tempdir().unwrap();
    let stage = EvaluateReturns { sizes: sizes.to_vec(), draw, sample_negatives: true, ..EvaluateReturns::default() };
    let inputs = Inputs {
        interactions: choices(1200, 1),
        items,
        users,
        worlds: vec![named("truth", truth)],
        item_scores: vec![named("teacher", scores)],
        item_vectors: None,
        evaluation_log: None,
        offered: None,
    };
    stage.run(inputs, &Context::detached(folder.path())).unwrap().returns
}

#[test]
fn of_choices_popularity_is_learned_and_a_teacher_that_knows_it_helps() {
    let sizes = [50, 200, 800];
    let study = Study { returns: (0..10).map(|draw| named("a", chosen(draw, &sizes))).collect(), rollouts: vec![] };
    let folder = tempfile::tempdir().unwrap();
    let stage = EstimateWorth { n_resamples: 200, ..EstimateWorth::default() };
    let worth = stage.run(study, &Context::detached(folder.path())).unwrap().worth;
    let find = |scores: &str, learner: &str, quantity: &str, n| {
        worth.find(scores, learner, "all", quantity, n).unwrap_or_else(|| panic!("{learner} {quantity} {n}"))
    };
    // With as many negatives as are expected of each item, the share of positives ranks as their number does. (Of 50, most are alike.)
    for n in [200, 800] {
        let [mean, count] = ["popular by mean", "popular by count"].map(|learner| find("", learner, "return", n).value);
        assert!((mean - count).abs() < 0.05 * count, "{n}: {mean} {count}");
    }
    let random = find("", "random", "return", 0).value;
    assert!(find("", "popular by mean", "return", 800).value > 1.8 * random);
    let (gain, worth_at_50) =
        (find("teacher", "popular by mean", "gain", 50), find("teacher", "popular by mean", "marginal_worth", 50));
    assert!(gain.low > 0.0 && worth_at_50.low > 50.0, "{gain:?} {worth_at_50:?}");
    for n in [50, 200] {
        let shuffled = find("teacher shuffled", "popular by mean", "gain", n);
        assert!(shuffled.low <= 0.0 && shuffled.value < 0.3 * gain.value, "{shuffled:?}");
    }
}

#[test]
fn equal_draws_equal_bytes_on_any_thread_count() {
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| returns(3, &[50, 200], vec![named("teacher", teacher(500, 3))]))
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn what_cannot_be_evaluated_is_refused_with_what_helps() {
    let (items, users) = catalogue();
    let refused = |stage: EvaluateReturns, change: &dyn Fn(&mut Inputs)| {
        let mut inputs = Inputs {
            interactions: ratings(90, 1),
            items: items.clone(),
            users: users.clone(),
            worlds: vec![named("truth", world())],
            item_scores: vec![named("teacher", teacher(500, 0))],
            item_vectors: None,
            evaluation_log: Some(ratings(4000, 2)),
            offered: None,
        };
        change(&mut inputs);
        let folder = tempfile::tempdir().unwrap();
        stage.run(inputs, &Context::detached(folder.path())).err().unwrap().to_string()
    };
    let plain = EvaluateReturns::default;
    let said = refused(plain(), &|_| ());
    assert!(said.starts_with("the log has 90 ratings, fewer than the smallest size, 100\nhelp: "), "{said}");
    let said = refused(EvaluateReturns { min_item_ratings: 9000, ..plain() }, &|_| ());
    assert!(
        said.starts_with(
            "no item is offered: none of 50 has 9000 ratings in the half that fits the evaluation worlds\nhelp: "
        ),
        "{said}"
    );
    let said = refused(EvaluateReturns { terciles: true, sizes: vec![50], ..plain() }, &|i| i.evaluation_log = None);
    assert!(said.contains("`terciles` are by the number of ratings"), "{said}");
    let said = refused(EvaluateReturns { sizes: vec![50], ..plain() }, &|i| i.item_scores[0].value.score.truncate(9));
    assert!(said.starts_with("the scores at `item_scores` are of 9 items, wanted 50"), "{said}");
    let of_one = |i: &mut Inputs| i.offered = Some(Interactions { item: vec![7; 3], ..ratings(3, 1) });
    let said = refused(EvaluateReturns { sizes: vec![50], ..plain() }, &of_one);
    assert!(said.starts_with("`oracle` of") || said.contains("offered items were shown"), "{said}");
    let said = refused(plain(), &|i| i.interactions.rating.fill(1.0));
    assert!(said.starts_with("all 90 ratings at `interactions` are 1: ") && said.contains("\nhelp: "), "{said}");
    assert_eq!(EvaluateReturns { unrated: Some(1.0), ..plain() }.check().unwrap_err().0, "unrated");
    assert!(said.ends_with("or set `sample_negatives: true` where it only says what people chose"), "{said}");
    let said = refused(EvaluateReturns { sample_negatives: true, ..plain() }, &|i| i.interactions.rating.fill(0.0));
    assert!(said.starts_with("all 90 ratings at `interactions` are 0: "), "{said}");
    for sizes in [vec![], vec![0, 5], vec![9, 9]] {
        assert_eq!(EvaluateReturns { sizes, ..plain() }.check().unwrap_err().0, "sizes");
    }
}
