//! A policy is a file that others can serve: `tests/data/load_policy.py` reads it in NumPy and answers as this program does.
//!
//! NumPy and safetensors come from pip, once, into the build folder. Without a network the test says so and is skipped, unless
//! `APPRENTICE_REQUIRE_NETWORK` is set.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pipeline::Artifact as _;
use pipeline::recommend::{RecommendBatch, RecommendQuery};
use serde_json::{Value, json};
use stages::artifact::{Array, FeatureColumn, Ids, ItemFeatures, PolicyFile, QuitRules, WindowRule, World};
use stages::nn::actor_critic::ActorCriticConfig;
use stages::nn::bcq_policy::BcqPolicy;
use stages::nn::categorical::{Categorical, Support};
use stages::nn::decision_transformer::{DecisionTransformer, Returns};
use stages::nn::mixture_policy::MixturePolicy;
use stages::nn::{ActorCritic, Average, Caser, Encoder, GruEncoder, SasRec, Transformer};
use stages::recommend::load;

use crate::project::{repository, text};

const USERS: usize = 3;
const ITEMS: usize = 9;
const WIDTH: usize = 4;

/// The folder of that name with these packages, if pip gives them; each is imported by its own name.
pub fn packages(folder: &str, names: &[&str]) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let works = || {
        let mut python = Command::new("python3");
        python.args(["-c", &format!("import {}", names.join(", "))]).env("PYTHONPATH", &folder);
        python.output().is_ok_and(|output| output.status.success())
    };
    if works() {
        return Some(folder);
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"]).arg(&folder).args(names);
    let said = match pip.output() {
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => error.to_string(),
    };
    if works() {
        return Some(folder);
    }
    let names = names.join(" and ");
    assert!(std::env::var_os("APPRENTICE_REQUIRE_NETWORK").is_none(), "pip gives no {names}: {said}");
    println!("skipped: pip gives no {names}: {said}");
    None
}

/// Numbers without a pattern, in [−1, 1].
fn numbers(shape: &[usize], start: usize) -> Array {
    let value = |k: usize| ((k + start) as f32 * 1.7 + 0.3).sin();
    Array::new(shape, (0..shape.iter().product()).map(value).collect())
}

fn world() -> World {
    let rules = QuitRules {
        horizon: 10,
        quit_window: 3,
        window_rule: WindowRule::Last,
        distance_threshold: None,
        quit_below: None,
        ..QuitRules::default()
    };
    let distance = Array::new(&[ITEMS, ITEMS], vec![0.0; ITEMS * ITEMS]);
    let vectors = [numbers(&[USERS, WIDTH], 5), numbers(&[ITEMS, WIDTH], 11)];
    // Each id reads like the row number of another.
    let ids = Ids { users: backwards(USERS), items: backwards(ITEMS), titles: backwards(ITEMS) };
    let mut world = World::new(numbers(&[USERS, ITEMS], 0), distance, vectors, rules);
    world.ids = ids;
    world
}

/// The same with two columns of the items: one of a value, one of up to two.
fn with_columns(mut world: World) -> World {
    let column = |name: &str, width, table_rows| FeatureColumn { name: name.to_owned(), width, table_rows };
    let ids = (0..ITEMS).flat_map(|item| [(item % 2) as f32, (2 + item % 3) as f32, 4.0]).collect();
    let weights = (0..ITEMS).flat_map(|item| [0.5 - item as f32 / 4.0, 0.5, if item % 2 == 0 { 0.5 } else { 0.0 }]);
    world.item_features = Some(ItemFeatures {
        columns: vec![column("brand", 1, 2), column("tags", 2, 3)],
        ids: Array::new(&[ITEMS, 3], ids),
        weights: Array::new(&[ITEMS, 3], weights.collect()),
    });
    world
}

fn backwards(count: usize) -> Vec<String> {
    (0..count).rev().map(|k| k.to_string()).collect()
}

/// How a policy's scores come about.
#[derive(Clone, Copy, Debug)]
enum Form {
    Logits,
    Bcq,
    Categorical,
    /// Whether it asks for returns by turn, or for the critic's.
    Decision(bool),
    Mixture,
}

/// A policy with that encoder, in which no parameter has its first value.
fn policy(world: &World, encoder: Encoder, form: Form) -> PolicyFile {
    let config = ActorCriticConfig {
        users: USERS,
        items: ITEMS,
        width: WIDTH,
        window: 4,
        hidden_size: 6,
        encoder,
        prior_scale: 1.0,
        similarity_penalty: 1.0,
        similar_fraction: 0.2,
    };
    let network = |seed| {
        let vectors = [&world.user_vectors, &world.item_vectors];
        let (device, features) = (candle_core::Device::Cpu, world.item_features.as_ref());
        ActorCritic::with_item_features(&device, config.clone(), vectors, seed, features).unwrap()
    };
    let mut file = match form {
        Form::Logits => network(1).export(),
        Form::Bcq => BcqPolicy::export(&network(1), &network(2), 0.3),
        Form::Mixture => {
            let file = network(1).export().unwrap();
            MixturePolicy::from_policy(&file, 0.3, &candle_core::Device::Cpu).and_then(|mixture| mixture.export())
        }
        Form::Categorical => {
            let support = Support { low: -2.0, high: 5.0, atoms: 7 };
            Categorical::new(network(1), support, 3).and_then(|network| network.export())
        }
        Form::Decision(by_turn) => {
            let by_turn = by_turn.then(|| (0..10).map(|turn| 30.0 - 2.5 * turn as f32).collect());
            DecisionTransformer::new(network(1), Returns { unit: 12.0, by_turn }, 3)
                .and_then(|network| network.export())
        }
    }
    .unwrap();
    for (start, (_, array)) in file.arrays.iter_mut().filter(|(name, _)| !name.starts_with("table.")).enumerate() {
        let change = numbers(&array.shape, 13 * start);
        array.data.iter_mut().zip(change.data).for_each(|(x, change)| *x += 0.2 * change);
    }
    PolicyFile::new(file, "rl.a2c", world).unwrap()
}

#[test]
fn a_policy_answers_the_same_in_numpy() {
    let Some(packages) = packages("numpy-and-safetensors", &["numpy", "safetensors"]) else { return };
    let (world, with_columns) = (world(), with_columns(world()));
    let histories: [(Option<&str>, &[&str], &[f32]); 5] = [
        (Some("2"), &[], &[]),
        (Some("1"), &["4"], &[2.5]),
        (Some("0"), &["0", "8", "0"], &[1.0, -0.5, 3.0]),
        (Some("2"), &["7", "6", "5", "4", "3", "2"], &[1.0, 2.0, 3.0, 4.0, 5.0, 0.5]),
        // Somebody who is not in the log.
        (None, &["3", "1"], &[2.0, 4.0]),
    ];
    let query = |&(user, items, rewards): &(Option<&str>, &[&str], &[f32])| RecommendQuery {
        user: user.map(str::to_owned),
        history: items.iter().map(|&item| item.to_owned()).collect(),
        rewards: rewards.to_vec(),
        ..RecommendQuery::default()
    };
    let folder = tempfile::tempdir().unwrap();
    for (k, (encoder, form)) in [
        (Encoder::Window, Form::Logits),
        (Encoder::Average(Average { n_recent: 3 }), Form::Logits),
        (Encoder::Gru(GruEncoder { hidden_size: 5 }), Form::Logits),
        (Encoder::Transformer(Transformer { n_layers: 2, hidden_size: 6, n_heads: 2 }), Form::Logits),
        (Encoder::Sasrec(SasRec { n_layers: 2, hidden_size: 6, n_heads: 2 }), Form::Logits),
        (Encoder::Caser(Caser { n_horizontal: 3, n_vertical: 2, hidden_size: 5 }), Form::Logits),
        (Encoder::Sasrec(SasRec { n_layers: 1, hidden_size: 4, n_heads: 1 }), Form::Bcq),
        (Encoder::Gru(GruEncoder { hidden_size: 5 }), Form::Categorical),
        (Encoder::Transformer(Transformer { n_layers: 2, hidden_size: 6, n_heads: 2 }), Form::Decision(true)),
        (Encoder::Transformer(Transformer { n_layers: 1, hidden_size: 6, n_heads: 3 }), Form::Decision(false)),
        (Encoder::Caser(Caser { n_horizontal: 3, n_vertical: 2, hidden_size: 5 }), Form::Mixture),
    ]
    .into_iter()
    .enumerate()
    {
        // Every other policy reads columns of the items.
        let policy = policy(if k % 2 == 0 { &world } else { &with_columns }, encoder.clone(), form);
        let file = folder.path().join(format!("{k}.safetensors"));
        policy.write(&file).unwrap();
        for exclude_history in [false, true] {
            let batch = RecommendBatch {
                queries: histories.iter().map(query).collect(),
                count: ITEMS,
                exclude_history,
                ..RecommendBatch::default()
            };
            let line = |(user, history, rewards): &(Option<&str>, &[&str], &[f32])| {
                json!({ "user": user, "history": history, "rewards": rewards, "exclude_history": exclude_history })
                    .to_string()
                    + "\n"
            };
            let found = in_python(&packages, &file, &histories.iter().map(line).collect::<String>());
            let wanted = load(&file).unwrap().answer(&batch).unwrap().answers;
            assert_eq!(found.len(), wanted.len());
            for (found, wanted) in found.iter().zip(wanted) {
                let ids = |items: &[Value]| items.iter().map(|item| text(&item["id"])).collect::<Vec<_>>();
                let found = found["items"].as_array().unwrap();
                let wanted_ids: Vec<&str> = wanted.items.iter().map(|item| item.id.as_str()).collect();
                assert_eq!(ids(found), wanted_ids, "{encoder:?}, {form:?}, {exclude_history}");
                for (found, wanted) in found.iter().zip(&wanted.items) {
                    let (score, title) = (found["score"].as_f64().unwrap(), text(&found["title"]));
                    let error = (score - f64::from(wanted.score)).abs() / f64::from(wanted.score).abs().max(1.0);
                    assert!(error < 1e-5, "{score} in NumPy, {} here, with {encoder:?}, {form:?}", wanted.score);
                    assert_eq!(Some(title), wanted.title);
                }
            }
        }
    }
}

/// What the script answers to these lines.
fn in_python(packages: &Path, file: &Path, lines: &str) -> Vec<Value> {
    let mut python = Command::new("python3")
        .arg(repository().join("tests/data/load_policy.py"))
        .arg(file)
        .arg(ITEMS.to_string())
        .env("PYTHONPATH", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "python failed for {}", file.display());
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
