use std::path::Path;

use super::*;
use crate::env::cluster_world;
use crate::nn::actor_critic::ActorCriticConfig;
use crate::nn::{ActorCritic, Encoder};
use crate::rl::{Cql, Dqn};

const ROWS: [(u32, usize, f64, f64, f64, f64); 4] = [
    // user, turn, weight, rating, r̂, q
    (0, 0, 2.0, 5.0, 4.0, 3.0),
    (0, 1, 0.5, 3.0, 3.0, 2.0),
    (0, 0, 1.0, 1.0, 2.0, 2.0),
    (1, 0, 4.0, 2.0, 1.0, 1.0),
];

fn logged() -> Vec<LoggedRow> {
    let row =
        |&(user, turn, weight, rating, expected, value)| LoggedRow { user, turn, weight, rating, expected, value };
    ROWS.iter().map(row).collect()
}

#[test]
fn estimates_and_effective_samples_by_hand() {
    // w·r: 10, 1.5, 1 | 8. Products of weights: 2, 1, 1 | 4. q + w(r − r̂): 5, 2, 1 | 5.
    let users = by_user(&logged());
    assert_eq!(users[0], [[12.5, 3.0], [12.5, 3.5], [14.0, 3.0], [8.0, 3.0], [7.0, 3.0]]);
    assert_eq!(users[1], [[8.0, 1.0], [8.0, 4.0], [8.0, 1.0], [5.0, 1.0], [1.0, 1.0]]);
    let single = 7.5 * 7.5 / (4.0 + 0.25 + 1.0 + 16.0);
    assert_eq!(effective(&logged()), [single, single, 64.0 / 22.0, single, 4.0]);
    let policy = Named { name: "p".into(), cell: String::new(), value: policy(&world()) };
    let found = OffPolicy { min_effective_sample_size: 2.7, ..OffPolicy::default() }.estimates(
        &policy,
        ActionSelection::Sample,
        &logged(),
    );
    let values: Vec<f64> = found.iter().map(|estimate| estimate.value).collect();
    assert_eq!(values, [20.5 / 4.0, 20.5 / 7.5, 22.0 / 4.0, 13.0 / 4.0, 8.0 / 4.0]);
    // 64/22 = 2.9 is enough, 2.65 is not, and the model alone never is.
    let conclusive: Vec<bool> = found.iter().map(|estimate| estimate.conclusive).collect();
    assert_eq!(conclusive, [false, false, true, false, false]);
    assert!(found[0].remark.contains("not conclusive") && !found[2].remark.contains("not conclusive"));
    // Two users: each interval runs from the one to the other.
    assert_eq!((found[0].low, found[0].high), (12.5 / 3.0, 8.0));
}

fn world() -> World {
    let mut world = cluster_world(&[5.0, 4.0, 3.0], 2, 1, 4, 2);
    world.rewards_mut().data.iter_mut().enumerate().for_each(|(k, reward)| *reward += k as f32 / 10.0);
    world
}

fn policy(world: &World) -> PolicyFile {
    let config = ActorCriticConfig {
        users: 2,
        items: 6,
        width: 3,
        window: 2,
        hidden_size: 4,
        prior_scale: 2.0,
        similarity_penalty: 0.0,
        similar_fraction: 0.5,
        encoder: Encoder::Window,
    };
    let mut vectors = world.user_vectors.clone();
    vectors.data = vec![0.5, 0.25, 0.0, 0.0, 0.5, 1.0];
    let network = ActorCritic::new(config, &vectors, &world.item_vectors, 7).unwrap();
    PolicyFile::new(network.export().unwrap(), "rl.a2c", world).unwrap()
}

/// Every item once, with the rating that the world expects: then each estimator is the policy's expected rating.
fn whole_log(world: &World) -> Interactions {
    let (user, item): (Vec<u32>, Vec<u32>) = (0..12).map(|k| (k / 6, k % 6)).unzip();
    Interactions { user, item, rating: world.stored_rewards().to_vec(), timestamp: (0..12).collect() }
}

fn run(stage: &OffPolicy, log: Interactions, train: Option<Interactions>) -> Result<Vec<Estimate>> {
    let (world, propensities, logged_propensities) = (world(), None, None);
    let policies = vec![Named { name: "p".into(), cell: "seed=0".into(), value: policy(&world) }];
    let inputs = Inputs { world, log, train, propensities, logged_propensities, policies };
    Ok(stage.run(inputs, &Context::detached(Path::new("unused")))?.estimates.0)
}

#[test]
fn the_log_that_the_rows_were_kept_back_from_is_out_of_sight_too() {
    let rules = OffPolicy::default().no_leakage();
    assert!(rules.iter().all(|rule| rule.port == "log" && rule.drawn_from == Some("interactions")));
}

#[test]
fn on_a_log_that_shows_everything_all_estimators_agree() {
    let stage = OffPolicy { horizon: 1, ..OffPolicy::default() };
    let found = run(&stage, whole_log(&world()), None).unwrap();
    assert_eq!(found.len(), 5);
    for estimate in &found {
        assert!((estimate.value - found[4].value).abs() < 1e-6, "{estimate:?}");
        assert!(estimate.value > 3.0 && estimate.value < 6.2);
        assert_eq!((estimate.rows, estimate.cell.as_str()), (12, "seed=0"));
    }
    // The policy is not uniform, or the test would say little.
    assert!(found[0].effective_sample_size < 11.9, "{}", found[0].effective_sample_size);
    // Weights of at most ½: of 12 rows of mean weight 1 that is a smaller estimate.
    let cut = run(&OffPolicy { max_importance_weight: Some(0.5), ..stage.clone() }, whole_log(&world()), None).unwrap();
    assert!(cut[0].value < found[0].value && cut[0].remark.contains("importance weights clipped at 0.5"));
}

#[derive(Deserialize)]
struct Recorded {
    item_id: Vec<usize>,
    click: Vec<f64>,
    propensity_score: Vec<f64>,
    policy: Vec<Vec<f64>>,
    expected: Vec<Vec<f64>>,
    estimates: std::collections::BTreeMap<String, f64>,
}

/// What obp says of the same log (`tests/data/record_obp.py`).
#[test]
fn estimates_are_those_of_the_open_bandit_pipeline_on_the_same_rows() {
    let recorded: Recorded = serde_json::from_str(include_str!("../../../../tests/data/obp.json")).unwrap();
    let row = |row: usize| {
        let (item, chances) = (recorded.item_id[row], &recorded.policy[row]);
        LoggedRow {
            user: row as u32,
            turn: 0,
            weight: chances[item] / recorded.propensity_score[row],
            rating: recorded.click[row],
            expected: recorded.expected[row][item],
            value: chances.iter().zip(&recorded.expected[row]).map(|(p, r)| p * r).sum(),
        }
    };
    let users = by_user(&(0..recorded.item_id.len()).map(row).collect::<Vec<_>>());
    for (name, wanted) in &recorded.estimates {
        let k = ESTIMATORS.iter().position(|known| known == name).unwrap();
        let [top, bottom] = [0, 1].map(|end| users.iter().map(|sums| sums[k][end]).sum::<f64>());
        assert!((top / bottom - wanted).abs() < 1e-9, "{name}: {} for {wanted}", top / bottom);
    }
    assert_eq!(recorded.estimates.len(), 4);
}

#[test]
fn returns_of_whole_episodes_are_estimated_where_they_are_asked_for() {
    let stage = OffPolicy { horizon: 2, estimate_returns: true, gamma: 0.5, ..OffPolicy::default() };
    let found = run(&stage, whole_log(&world()), None).unwrap();
    assert_eq!(found.len(), 10);
    assert_eq!(
        (found[5].estimator.as_str(), found[9].estimator.as_str(), found[5].rows),
        ("trajectory_is", "fitted_q", 6)
    );
    assert!(found[5].remark.starts_with("discounted return of an episode, γ = 0.5; samples its actions"));
    assert!(!found[9].conclusive && found[9].remark.contains("a linear Q"));
    // Two steps of 3 to 6 points, the second of half the weight.
    assert!(found[8..].iter().all(|estimate| (3.0..9.5).contains(&estimate.value)), "{found:?}");
    // Episodes of one step: returns are rewards, and a world that knows them leaves nothing to correct.
    let single = OffPolicy { horizon: 1, estimate_returns: true, q_regularization: 1e-6, ..OffPolicy::default() };
    let found = run(&single, whole_log(&world()), None).unwrap();
    assert!((found[5].value - found[0].value).abs() < 1e-9 && (found[6].value - found[1].value).abs() < 1e-9);
    assert!((found[9].value - found[4].value).abs() < 1e-3 && (found[8].value - found[3].value).abs() < 1e-3);
    // The others are as without them, and so is the key.
    let without = OffPolicy { horizon: 1, ..OffPolicy::default() };
    assert_eq!(found[..5], run(&without, whole_log(&world()), None).unwrap());
    let key = serde_json::to_value(&without).unwrap();
    assert!(
        key.get("gamma").is_none() && key.get("estimate_returns").is_none() && key.get("q_regularization").is_none()
    );
    let refused = |stage: OffPolicy| stage.check().unwrap_err().0;
    assert_eq!(refused(OffPolicy { gamma: 0.9, ..OffPolicy::default() }), "gamma");
    assert_eq!(refused(OffPolicy { gamma: 0.0, ..stage.clone() }), "gamma");
    assert_eq!(refused(OffPolicy { q_regularization: 0.0, ..stage }), "q_regularization");
}

#[test]
fn a_greedy_policy_is_estimated_by_the_rows_that_show_its_items() {
    // Of each user's six rows one shows the likeliest item, with a weight of 6.
    let log = || whole_log(&world());
    let greedy = OffPolicy { action_selection: ActionSelection::Greedy, horizon: 1, ..OffPolicy::default() };
    let found = run(&greedy, log(), None).unwrap();
    assert_eq!(found[0].effective_sample_size, 2.0);
    assert!(found[0].remark.starts_with("selects its most likely item; logging policy"), "{}", found[0].remark);
    assert!(found.iter().all(|estimate| (estimate.value - found[4].value).abs() < 1e-6), "{found:?}");
    let drawn = run(&OffPolicy { action_selection: ActionSelection::Sample, ..greedy }, log(), None).unwrap();
    assert!(drawn[0].remark.starts_with("samples its actions; ") && drawn[0].effective_sample_size > 2.0);
    // Values are no logits: who learned them is greedy whatever is set.
    let network = policy(&world()).0;
    for (learner, expected) in [
        (Dqn::KIND, ActionSelection::Greedy),
        (Cql::KIND, ActionSelection::Greedy),
        ("rl.a2c", ActionSelection::Sample),
    ] {
        let value = PolicyFile::new(network.clone(), learner, &world()).unwrap();
        let policy = Named { name: "p".into(), cell: String::new(), value };
        assert_eq!(OffPolicy::default().acts(&policy).unwrap(), expected);
    }
    assert_eq!(super::greedy(&[1.0, 3.0, 3.0]), [0.0, 1.0, 0.0]);
}

#[test]
fn episodes_are_runs_of_one_user_in_time() {
    let log = Interactions {
        user: vec![1, 0, 1, 1, 1],
        item: vec![3, 0, 2, 1, 0],
        rating: vec![3.0, 9.0, 2.0, 1.0, 0.0],
        timestamp: vec![30, 5, 20, 10, 40],
    };
    let episodes = Episodes::of(&log, &world(), 3).unwrap();
    assert_eq!(episodes.log.item, [0, 1, 2, 3, 0]);
    assert_eq!(episodes.turn, [0, 0, 1, 2, 0]);
}

#[test]
fn propensities_are_shared_among_the_ratings_of_a_user() {
    let log = Interactions { user: vec![0, 0, 1], item: vec![2, 1, 3], rating: vec![1.0; 3], timestamp: vec![1, 2, 3] };
    let world = world();
    let episodes = Episodes::of(&log, &world, 5).unwrap();
    let stage = OffPolicy { logging_policy: LoggingPolicy::Propensities, ..OffPolicy::default() };
    let found = |pairs: Option<Vec<(u32, u32, f64)>>| {
        let propensities = pairs.map(|pairs| Propensities::new(pairs).unwrap());
        let (world, log) = (world.clone(), log.clone());
        let inputs = Inputs { world, log, train: None, propensities, logged_propensities: None, policies: Vec::new() };
        stage.propensity(&inputs, &episodes)
    };
    let pairs = vec![(0, 2, 0.5), (0, 1, 0.25), (1, 3, 0.125)];
    assert_eq!(found(Some(pairs.clone())).unwrap(), [0.25, 0.125, 0.125]);
    // What else user 0 rated was not held out: the log is half of it, and its items are no likelier for that.
    let whole = [pairs.clone(), vec![(0, 3, 0.5), (0, 4, 0.5)]].concat();
    assert_eq!(found(Some(whole)).unwrap(), [0.125, 0.0625, 0.125]);
    assert!(found(None).unwrap_err().to_string().contains("help: connect `world.propensities`"));
    let error = found(Some(pairs[1..].to_vec())).unwrap_err().to_string();
    assert!(error.starts_with("user 0 rated item 2, but there is no propensity of that\nhelp: "), "{error}");
}

#[test]
fn each_row_has_the_probability_of_the_log() {
    let log = Interactions { user: vec![1, 0, 0], item: vec![2, 1, 3], rating: vec![1.0; 3], timestamp: vec![1, 3, 2] };
    let world = world();
    let episodes = Episodes::of(&log, &world, 5).unwrap();
    let stage = OffPolicy { logging_policy: LoggingPolicy::Logged, ..OffPolicy::default() };
    let found = |logged_propensities| {
        let (world, log) = (world.clone(), log.clone());
        let inputs = Inputs { world, log, train: None, propensities: None, logged_propensities, policies: Vec::new() };
        stage.propensity(&inputs, &episodes)
    };
    let logged = LoggedPropensities::new(&log, &[0.5, 0.25, 0.125]).unwrap();
    // In the order of the episodes: user 0 at 2 and 3 seconds, then user 1.
    assert_eq!(found(Some(logged)).unwrap(), [0.125, 0.25, 0.5]);
    assert!(
        found(None).unwrap_err().to_string().contains("help: connect `propensities` of the log's `ingest.impressions`")
    );
}

#[test]
fn popularity_is_a_share_and_what_cannot_be_estimated_is_named() {
    let stage = OffPolicy { logging_policy: LoggingPolicy::Popularity, ..OffPolicy::default() };
    // Counts 1 + [2, 0, 0, 0, 0, 1] of 9.
    let train = Interactions { user: vec![0; 3], item: vec![0, 0, 5], rating: vec![1.0; 3], timestamp: vec![0; 3] };
    assert_eq!(shares(&train, 6).unwrap(), [3.0, 1.0, 1.0, 1.0, 1.0, 2.0].map(|count| count / 9.0));
    assert!(shares(&train, 5).unwrap_err().to_string().contains("item 5"));
    assert!(run(&stage, whole_log(&world()), Some(train)).unwrap()[0].remark.contains("an estimate"));
    let error = |log, stage| format!("{:#}", run(stage, log, None).unwrap_err());
    assert!(error(whole_log(&world()), &stage).contains("help: connect the train part"));
    let uniform = OffPolicy::default();
    assert!(error(Interactions::default(), &uniform).contains("help: connect held-out interactions"));
    let mut strange = whole_log(&world());
    strange.item[3] = 6;
    assert!(error(strange, &uniform).starts_with("row 3 of the log is of user 0 and item 6"));
}
