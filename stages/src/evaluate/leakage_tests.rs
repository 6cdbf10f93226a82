use super::tests::{elsewhere, get, inputs, quick, run, world};
use super::*;
use crate::artifact::{Array, DistancesFrom, Factored, Factors, Metrics, PolicyFile, QuitRules, Repeats, World};

#[test]
fn nobody_is_judged_by_what_it_learned_from() {
    let judged = |judge, world: World| {
        let config = Evaluate { leakage_check: judge, ..quick() };
        run(&config, Inputs { world, teacher: Vec::new(), ..inputs() })
    };
    let error = format!("{:#}", judged(LeakageCheck::Refuse, elsewhere()).err().unwrap());
    assert!(
        error.starts_with("policy `a2c` of seed=0 learned from the rewards of the evaluation world\nhelp: evaluate in"),
        "{error}"
    );
    let metrics = judged(LeakageCheck::Label, elsewhere()).unwrap().metrics;
    let found = get(&metrics, "a2c", "return_inclusive");
    assert!(found.privileged && found.remark.contains("learned in the world that evaluates it"), "{found:?}");
    assert!(!get(&metrics, table_rows::POPULAR_CYCLE, "return_inclusive").privileged);
    let inputs = Inputs { training_world: Some(world()), ..inputs() };
    let error = format!("{:#}", run(&quick(), inputs).err().unwrap());
    assert!(
        error.starts_with("the world at `training_world` has the rewards of the evaluation world\nhelp: "),
        "{error}"
    );
    // The same distances: a privilege where they are the evaluation world's own, and to be known where it borrowed them.
    let rules = Stage::no_leakage(&Evaluate::default());
    assert!(rules.iter().all(|rule| rule.port == "world" && rule.except.contains(&"distances")) && rules.len() == 6);
}

/// A teacher that searches has learned where it searched, and what learns from it as well.
#[test]
fn a_teacher_that_searched_where_it_is_evaluated_is_an_oracle() {
    let of = |judge, model: &World| {
        let mut inputs = inputs();
        for teacher in &mut inputs.teacher {
            teacher.value = teacher.value.clone().searched("demonstrate.search", model);
        }
        run(&Evaluate { leakage_check: judge, ..quick() }, inputs)
    };
    let row = |metrics: &Metrics| {
        let found =
            metrics.rows.iter().find(|row| row.policy.starts_with("teacher") && row.metric == "return_inclusive");
        let found = found.unwrap();
        (found.privileged, found.remark.clone())
    };
    let error = format!("{:#}", of(LeakageCheck::Refuse, &world()).err().unwrap());
    assert!(error.contains("searched in a world with the rewards of the evaluation world\nhelp: let it"), "{error}");
    let (privileged, remark) = row(&of(LeakageCheck::Label, &world()).unwrap().metrics);
    assert!(privileged && remark.contains("privileged: learned in the world that evaluates it"), "{remark}");
    let (privileged, remark) = row(&of(LeakageCheck::Refuse, &elsewhere()).unwrap().metrics);
    assert!(!privileged && remark.contains("searched for its recommendations in a world of its own"), "{remark}");
    let unsearched = row(&run(&quick(), inputs()).unwrap().metrics);
    assert!(!unsearched.0 && !unsearched.1.contains("search"), "{}", unsearched.1);

    let shown = inputs().teacher.remove(0).value.searched("demonstrate.search", &world());
    let error = run(&quick(), Inputs { demonstrations: Some(shown), ..inputs() }).err().unwrap().to_string();
    assert!(error.starts_with("the `demonstrations` were searched for in a world with the rewards of"), "{error}");
}

#[test]
fn a_judge_that_is_the_training_world_chooses_no_checkpoint_and_labels_what_learned() {
    let same = Evaluate { leakage_check: LeakageCheck::Label, ..quick() };
    let kept: Vec<&str> = Stage::no_leakage(&same).iter().map(|rule| rule.from).collect();
    assert_eq!(kept, ["validation"]);
    let error = format!("{:#}", run(&same, Inputs { validation: Some(world()), ..inputs() }).err().unwrap());
    assert!(error.starts_with("the world at `validation` has the rewards of the evaluation world\nhelp: "), "{error}");
    // A policy of another world: what it learned from besides no user looked into.
    let metrics = run(&same, inputs()).unwrap().metrics;
    let found = get(&metrics, "a2c", "return_inclusive");
    assert!(
        found.privileged && found.remark.contains("its training data may include the evaluation world"),
        "{found:?}"
    );
    assert!(!get(&metrics, table_rows::POPULAR_CYCLE, "return_inclusive").privileged);
}

/// Equal distances are a privilege or not by whose they are: the evaluation world's, the training world's, a third one's.
#[test]
fn whose_distances_are_known_decides_what_is_privileged() {
    let digest = elsewhere().distances_digest();
    let shared = || DistancesFrom::Shared { digest: digest.clone() };
    let told = |judge: DistancesFrom, learned: Option<DistancesFrom>, training: Option<World>, rules: QuitRules| {
        let mut inputs = Inputs { teacher: Vec::new(), candidates: None, training_world: training, ..inputs() };
        *inputs.world.distances_mut() = elsewhere().item_distances().table().unwrap().clone();
        (inputs.world.distances, inputs.world.rules) = (judge, rules);
        for policy in &mut inputs.policies {
            let mut about: serde_json::Map<String, serde_json::Value> = policy.value.0.about().unwrap();
            about.remove("distances");
            about.extend(learned.iter().map(|from| ("distances".to_owned(), serde_json::to_value(from).unwrap())));
            policy.value.0.about = serde_json::to_string(&about).unwrap();
        }
        let config = Evaluate {
            baselines: Baselines { constant_reward: false, behaviour_cloning: false, ..Baselines::default() },
            ..quick()
        };
        let metrics = run(&config, inputs).unwrap().metrics;
        let found = get(&metrics, "a2c", "return_inclusive");
        (found.privileged, found.remark.clone())
    };
    use DistancesFrom::{Catalogue, Own};
    let usual = || world().rules;
    let cases = [
        (
            told(Own, Some(shared()), None, usual()),
            true,
            "privileged: trained with the distances of the evaluation world",
        ),
        (
            told(shared(), Some(Own), None, usual()),
            false,
            "the evaluation world has the distances of its training world",
        ),
        (
            told(shared(), Some(shared()), None, usual()),
            true,
            "privileged: its training world and the evaluation world have",
        ),
        (
            told(Catalogue, Some(Catalogue), None, usual()),
            false,
            "its training world and the evaluation world have the distances of",
        ),
        (told(shared(), None, None, usual()), true, "privileged as far as is known"),
        (
            told(shared(), None, Some(elsewhere()), usual()),
            false,
            "the evaluation world has the distances of its training world",
        ),
    ];
    for ((privileged, remark), expected, begins) in cases {
        assert!(privileged == expected && remark.starts_with(begins), "{remark}");
    }
    // Where no user leaves because of them, distances tell nothing.
    let exact = QuitRules { repeats: Repeats::MaskedFixedLength, ..usual() };
    assert_eq!(told(Own, Some(shared()), None, exact), (false, String::new()));
    assert_eq!(
        told(Own, Some(shared()), None, QuitRules { distance_threshold: None, ..usual() }),
        (false, String::new())
    );
}

#[test]
fn a_policy_of_values_draws_nothing() {
    let of_values = |act| {
        let mut inputs = inputs();
        let network = inputs.policies[1].value.0.clone();
        inputs.policies[1].value = PolicyFile::new(network, "rl.dqn", &elsewhere()).unwrap();
        run(&Evaluate { action_selection: act, ..quick() }, inputs)
    };
    assert!(of_values(ActionSelection::Greedy).is_ok());
    let error = format!("{:#}", of_values(ActionSelection::Sample).err().unwrap());
    assert!(error.starts_with("policy `bc` of seed=0 is value-based"), "{error}");
    assert!(error.contains("help: set `action_selection: greedy`"), "{error}");
}

/// A world in two forms has two digests of its rewards, and is still one world.
#[test]
fn the_same_rewards_in_another_form_are_found() {
    let dense = world();
    let (users, items) = (dense.users(), dense.items());
    // r_ui = e_u · r_i: a factor a user.
    let unit = |row: usize, column: usize| if row == column { 1.0 } else { 0.0 };
    let of_users = (0..users * users).map(|k| unit(k / users, k % users)).collect();
    let of_items = (0..items * users).map(|k| dense.reward((k % users) as u32, (k / users) as u32)).collect();
    let factors = Factors::of_product(Array::new(&[users, users], of_users), Array::new(&[items, users], of_items));
    let mut factored = dense.clone();
    factored.set_rewards(Factored { members: vec![factors], range: (-1e3, 1e3), penalty: None });
    assert_ne!(factored.rewards_digest(), dense.rewards_digest());
    assert!(leakage::same_rewards(&factored, &dense) && leakage::same_rewards(&dense, &factored));
    let mut other = dense.clone();
    other.rewards_mut().data.iter_mut().for_each(|reward| *reward += 0.01);
    assert!(!leakage::same_rewards(&factored, &other));
    let inputs = Inputs { world: factored.clone(), training_world: Some(dense.clone()), ..inputs() };
    let error = format!("{:#}", run(&quick(), inputs).err().unwrap());
    assert!(error.starts_with("the world at `training_world` has the rewards of the evaluation world"), "{error}");
}
