use std::path::Path;

use pipeline::Named;
use serde::Deserialize;

use super::*;
use crate::artifact::{Candidates, Items, PolicyFile, RankingMetric, Users};
use crate::env::cluster_world;
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::{ActorCritic, Encoder};

fn log(rows: &[(u32, u32)]) -> Interactions {
    Interactions {
        user: rows.iter().map(|row| row.0).collect(),
        item: rows.iter().map(|row| row.1).collect(),
        rating: vec![1.0; rows.len()],
        timestamp: (0..rows.len() as i64).collect(),
    }
}

fn inputs(users: usize, items: usize, train: &[(u32, u32)], test: &[(u32, u32)]) -> RankingInputs {
    let name = |count: usize| (0..count).map(|k| k.to_string()).collect::<Vec<_>>();
    RankingInputs {
        train: log(train),
        test: log(test),
        items: Items {
            id: name(items),
            title: name(items),
            year: vec![None; items],
            genres: vec![Vec::new(); items],
            ..Items::default()
        },
        users: Users { id: name(users), features: Default::default() },
        policies: vec![],
        candidates: vec![],
        worlds: vec![],
    }
}

fn named<A>(name: &str, cell: &str, value: A) -> Named<A> {
    Named { name: name.into(), cell: cell.into(), value }
}

fn run(stage: &EvaluateRanking, inputs: RankingInputs) -> Result<RankingOutputs> {
    stage.run(inputs, &Context::detached(Path::new("unused")))
}

fn find<'a>(found: &'a RankingOutputs, system: &str, metric: &str, k: u32) -> &'a RankingMetric {
    found.metrics.find(system, metric, k).unwrap_or_else(|| panic!("{system} {metric}@{k}"))
}

#[derive(Deserialize)]
struct Recorded {
    items: usize,
    train: Vec<Vec<u32>>,
    test: Vec<Vec<u32>>,
    scores: Vec<Vec<f32>>,
    metrics: std::collections::BTreeMap<String, Vec<f64>>,
}

/// What ranx says of the same scores (`tests/data/record_ranx.py`).
#[test]
fn metrics_are_those_of_ranx_on_the_same_scores() {
    let recorded: Recorded = serde_json::from_str(include_str!("../../../../tests/data/ranx.json")).unwrap();
    let pairs = |lists: &[Vec<u32>]| -> Vec<(u32, u32)> {
        (0..).zip(lists).flat_map(|(user, items)| items.iter().map(move |&item| (user, item))).collect()
    };
    let mut inputs = inputs(recorded.scores.len(), recorded.items, &pairs(&recorded.train), &pairs(&recorded.test));
    let ranked = |scores: &Vec<f32>| {
        crate::nn::top_items(scores, scores.len()).into_iter().unzip::<u32, f32, Vec<u32>, Vec<f32>>()
    };
    let (items, scores) = recorded.scores.iter().map(ranked).unzip();
    inputs.candidates = vec![named("ours", "", Candidates { items, scores, filter_quit_items: false })];
    let mut world = cluster_world(&vec![0.0; recorded.items], 1, 1, 9, recorded.scores.len());
    world.rewards_mut().data = recorded.scores.concat();
    inputs.worlds = vec![named("world", "", world)];
    let found = run(&EvaluateRanking { top_k: vec![1, 5, 10], ..Default::default() }, inputs).unwrap();
    for (name, values) in &recorded.metrics {
        let (metric, k) = name.split_once('@').unwrap();
        let wanted = values.iter().sum::<f64>() / values.len() as f64;
        for system in ["ours", "world"] {
            let found = find(&found, system, metric, k.parse().unwrap()).mean;
            assert!((found - wanted).abs() < 1e-6, "{name} of {system}: {found} for {wanted}");
        }
    }
    assert_eq!(recorded.metrics.len(), 18);
}

#[test]
fn popular_and_random_rankings_leave_out_what_was_trained_on() {
    // Item 0 is the most popular, but user 0 has it; user 2 has no held-out row.
    let train = [(0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 2)];
    let found = run(
        &EvaluateRanking { top_k: vec![1, 2], n_repeats: 400, ..Default::default() },
        inputs(3, 4, &train, &[(0, 1), (0, 0), (1, 3)]),
    )
    .unwrap();
    let popular = |metric, k| find(&found, "popular", metric, k).mean;
    // User 0 is shown 1, 2, of which 1 is relevant; user 1 is shown 2, 3.
    assert_eq!((popular("recall", 1), popular("recall", 2)), (0.5, 1.0));
    assert_eq!((popular("mrr", 2), popular("coverage", 1), popular("coverage", 2)), (0.75, 0.5, 0.75));
    let hits: Vec<_> = found.hits.0.iter().filter(|hit| hit.system == "popular").collect();
    assert_eq!((hits.len(), hits[0].user, hits[0].relevant, &hits[0].ranks[..]), (2, 0, 1, &[1][..]));
    assert_eq!((hits[1].user, &hits[1].ranks[..]), (1, &[2][..]));
    // One of three items, and one of two.
    let random = find(&found, "random", "recall", 1);
    assert!((random.mean - (1.0 / 3.0 + 0.5) / 2.0).abs() < 0.05, "{}", random.mean);
    assert_eq!((random.seeds, random.users, random.baseline), (400, 2, true));
    // With what was trained on, popular shows 0 and 1 to everybody.
    let again = EvaluateRanking { exclude_train: false, top_k: vec![1], ..Default::default() };
    let found = run(&again, inputs(3, 4, &train, &[(0, 1), (0, 0), (1, 3)])).unwrap();
    assert_eq!(find(&found, "popular", "recall", 1).mean, 0.25);
}

#[test]
fn equal_scores_go_to_the_lowest_item_and_ratings_decide_what_is_relevant() {
    let mut inputs = inputs(2, 5, &[(0, 4)], &[(0, 0), (0, 1), (1, 1)]);
    inputs.test.rating = vec![2.0, 4.0, 5.0];
    inputs.worlds = vec![named("flat", "", cluster_world(&[3.0; 5], 1, 1, 9, 2))];
    let stage = EvaluateRanking { top_k: vec![1, 2], min_rating: Some(4.0), ..Default::default() };
    let found = run(&stage, inputs).unwrap();
    assert_eq!(find(&found, "flat", "recall", 1).mean, 0.0);
    assert_eq!((find(&found, "flat", "recall", 2).mean, find(&found, "flat", "mrr", 2).mean), (1.0, 0.5));
}

#[test]
fn a_system_is_compared_with_the_best_baseline_over_the_same_users() {
    let test: Vec<(u32, u32)> = (0..12).map(|user| (user, user % 3)).collect();
    let mut inputs = inputs(12, 6, &[(0, 5), (1, 5), (2, 4)], &test);
    let list = |items: &[u32]| Candidates {
        items: vec![items.to_vec(); 12],
        scores: vec![(0..items.len()).map(|k| -(k as f32)).collect(); 12],
        filter_quit_items: false,
    };
    inputs.candidates = vec![named("good", "", list(&[0, 1])), named("popular", "", list(&[3, 4]))];
    let mut world = cluster_world(&[0.0; 6], 1, 1, 9, 12);
    for user in 0..12 {
        world.rewards_mut().data[user * 6 + user % 3] = 1.0;
    }
    inputs.worlds = vec![named("oracle", "a", world.clone()), named("oracle", "b", world)];
    let found = run(&EvaluateRanking { top_k: vec![2], n_repeats: 1, ..Default::default() }, inputs).unwrap();
    let oracle = find(&found, "oracle", "recall", 2);
    assert_eq!((oracle.mean, oracle.low, oracle.seeds, oracle.baseline), (1.0, None, 2, false), "nothing varies");
    assert_eq!((&*oracle.best_baseline, oracle.difference), ("good", Some(1.0 / 3.0)));
    // Differences 0, 0, 1 over and over: mean 1/3, standard error √(1/3·2/3·12/11/12).
    let error = (2.0 / 9.0 / 11.0_f64).sqrt();
    let t = 2.200_985_160_091_64; // 11 degrees of freedom
    assert!((oracle.difference_low.unwrap() - (1.0 / 3.0 - t * error)).abs() < 1e-9, "{:?}", oracle.difference_low);
    assert!(oracle.p.unwrap() > 0.03 && oracle.p.unwrap() < 0.2, "of four differences, corrected: {:?}", oracle.p);
    let good = find(&found, "good", "recall", 2);
    assert_eq!((good.difference, good.p), (None, None), "it is the best");
    assert!(found.metrics.find("popular (candidates)", "ndcg", 2).is_some());
    assert_eq!(find(&found, "good", "coverage", 2).p, None);
}

#[test]
fn a_list_that_ends_early_misses_the_rest() {
    let mut inputs = inputs(2, 5, &[(0, 0)], &[(0, 1), (1, 2)]);
    let lists = vec![vec![0, 1], vec![2, 3, 4]];
    let scores = vec![vec![2.0, 1.0], vec![3.0, 2.0, 1.0]];
    inputs.candidates = vec![named("short", "", Candidates { items: lists, scores, filter_quit_items: false })];
    let found = run(&EvaluateRanking { top_k: vec![3], ..Default::default() }, inputs).unwrap();
    assert_eq!((find(&found, "short", "recall", 3).mean, find(&found, "short", "recall", 3).missing), (1.0, 1.0));
}

fn policy(users: usize, items: usize, seed: u64) -> PolicyFile {
    let world = cluster_world(&vec![1.0; items], 1, 1, 4, users);
    let config = ActorCriticConfig {
        users,
        items,
        width: world.user_vectors.shape[1],
        window: 2,
        hidden_size: 4,
        prior_scale: 1.0,
        similarity_penalty: 0.0,
        similar_fraction: 0.5,
        encoder: Encoder::Window,
    };
    let network = ActorCritic::new(config, &world.user_vectors, &world.item_vectors, seed).unwrap();
    PolicyFile::new(network.export().unwrap(), "rl.bc", &world).unwrap()
}

/// The last of so many users is asked about in a batch of its own.
const MANY: usize = systems::BATCH + 1;

fn with_policies() -> RankingInputs {
    let train: Vec<(u32, u32)> = (0..MANY as u32).map(|user| (user, user % 7)).collect();
    let test: Vec<(u32, u32)> = (0..MANY as u32).map(|user| (user, (user + 1) % 7)).collect();
    let mut inputs = inputs(MANY, 7, &train, &test);
    inputs.policies = (0..2).map(|seed| named("bc", &format!("seed={seed}"), policy(MANY, 7, seed))).collect();
    inputs
}

#[test]
fn policies_rank_what_they_score_highest_on_any_number_of_threads() {
    let of = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run(&EvaluateRanking { top_k: vec![1, 7], ..Default::default() }, with_policies()).unwrap())
    };
    let found = of(1);
    assert!([2, 16].map(of).iter().all(|other| other.metrics == found.metrics && other.hits == found.hits));
    let row = find(&found, "bc", "recall", 7);
    assert_eq!((row.seeds, row.users, row.mean), (2, MANY as u32, 1.0));
    assert_eq!(row.missing, 1.0, "one item of seven was trained on");
    // The ranks by the policy's own scores.
    let inputs = with_policies();
    let network = crate::nn::policy_io::load(&inputs.policies[0].value.0).unwrap();
    let mut state = crate::env::Observation { masking: true, ..crate::env::Observation::unmasked(2) };
    state.push(3, &[], &[], 4, 7);
    state.mask_also(&[3]);
    let scores = network.logits(&crate::env::states(network.as_ref(), &state).unwrap()).unwrap();
    let order: Vec<u32> =
        crate::nn::top_items(&scores.flatten_all().unwrap().to_vec1().unwrap(), 7).iter().map(|pair| pair.0).collect();
    let hit = found.hits.0.iter().find(|hit| hit.system == "bc" && hit.cell == "seed=0" && hit.user == 3).unwrap();
    assert_eq!(order[hit.ranks[0] as usize - 1], 4);
    // What came before changes the state.
    let told = EvaluateRanking { top_k: vec![1, 7], history_length: 3, ..Default::default() };
    assert!(run(&told, with_policies()).unwrap().hits != found.hits);
}

#[test]
fn what_cannot_be_ranked_is_refused_with_what_to_do() {
    let error = |inputs| run(&EvaluateRanking::default(), inputs).err().map(|error| format!("{error:#}")).unwrap();
    assert!(error(inputs(2, 3, &[(0, 1)], &[(0, 1)])).contains("no held-out interaction is left"));
    assert!(error(inputs(2, 3, &[(0, 3)], &[(0, 1)])).contains("row 0 of the log at `train`"));
    let mut other = inputs(2, 3, &[(0, 1)], &[(0, 2)]);
    other.worlds = vec![named("w", "", cluster_world(&[0.0; 4], 1, 1, 9, 2))];
    assert!(error(other).contains("`w` ranks 4 items for 2 users, but there are 3 items and 2 users\nhelp: "));
    let mut other = inputs(2, 3, &[(0, 1)], &[(0, 2)]);
    other.policies = vec![named("p", "seed=0", policy(3, 3, 1))];
    assert!(error(other).contains("ranks 3 items for 3 users, but there are 3 items and 2 users"));
    let refused = |stage: EvaluateRanking| stage.check().unwrap_err().0;
    for top_k in [vec![], vec![0], vec![5, 5]] {
        assert_eq!(refused(EvaluateRanking { top_k, ..Default::default() }), "top_k");
    }
    assert_eq!(refused(EvaluateRanking { n_repeats: 0, ..Default::default() }), "n_repeats");
    assert_eq!(refused(EvaluateRanking { min_rating: Some(f64::NAN), ..Default::default() }), "min_rating");
}
