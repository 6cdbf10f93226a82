//! A policy of every form and encoder in files, with questions, and what this program answers to them: what other programs that read
//! policies, or graphs of them, are compared with.

use std::fs;
use std::path::Path;

use candle_core::Device;
use pipeline::Artifact as _;
use pipeline::recommend::{RecommendBatch, RecommendQuery};
use serde_json::{Value, json};
use stages::artifact::{
    Array, FeatureColumn, Ids, ItemFeatures, PolicyFile, QuitRules, Repeats, TensorFile, WindowRule, World,
};
use stages::nn::actor_critic::ActorCriticConfig;
use stages::nn::bcq_policy::BcqPolicy;
use stages::nn::categorical::Categorical;
use stages::nn::decision_transformer::DecisionTransformer;
use stages::nn::mixture_policy::MixturePolicy;
use stages::nn::policy_output::Returns;
use stages::nn::support::Support;
use stages::nn::{ActorCritic, Average, Caser, Encoder, GruEncoder, SasRec, TABLE_ITEMS, Transformer};
use stages::recommend::load;

const USERS: usize = 5;
const ITEMS: usize = 23;
const WIDTH: usize = 4;
const WINDOW: usize = 4;
/// Questions to each policy.
const QUESTIONS: usize = 200;

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

/// Every form with every encoder that it takes.
fn shelf() -> Vec<(Encoder, Form)> {
    let encoders = [
        Encoder::Window,
        Encoder::Average(Average { n_recent: 3 }),
        Encoder::Gru(GruEncoder { hidden_size: 5 }),
        Encoder::Transformer(Transformer { n_layers: 2, hidden_size: 6, n_heads: 2 }),
        Encoder::Sasrec(SasRec { n_layers: 2, hidden_size: 6, n_heads: 3 }),
        Encoder::Caser(Caser { n_horizontal: 3, n_vertical: 2, hidden_size: 5 }),
    ];
    let forms = [Form::Logits, Form::Bcq, Form::Categorical, Form::Mixture];
    let of_all = forms.into_iter().flat_map(|form| encoders.iter().map(move |encoder| (encoder.clone(), form)));
    let decisions = [Form::Decision(true), Form::Decision(false)].map(|form| (encoders[3].clone(), form));
    of_all.chain(decisions).collect()
}

/// Numbers without a pattern, in [−1, 1].
fn numbers(shape: &[usize], start: usize) -> Array {
    let value = |k: usize| ((k + start) as f32 * 1.7 + 0.3).sin();
    Array::new(shape, (0..shape.iter().product()).map(value).collect())
}

/// A whole number below `below`, without a pattern.
fn draw(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % below
}

fn world(repeats: Repeats, columns: bool) -> World {
    let rules = QuitRules {
        horizon: 10,
        quit_window: 3,
        window_rule: WindowRule::Last,
        distance_threshold: None,
        quit_below: None,
        repeats,
        ..QuitRules::default()
    };
    let distance = Array::new(&[ITEMS, ITEMS], vec![0.0; ITEMS * ITEMS]);
    let vectors = [numbers(&[USERS, WIDTH], 5), numbers(&[ITEMS, WIDTH], 11)];
    let mut world = World::new(numbers(&[USERS, ITEMS], 0), distance, vectors, rules);
    // Each id reads like the row number of another.
    world.ids = ids(USERS, ITEMS);
    if columns {
        // One of a value, one of up to two.
        let column = |name: &str, width, table_rows| FeatureColumn { name: name.to_owned(), width, table_rows };
        let rows = (0..ITEMS).flat_map(|item| [(item % 2) as f32, (2 + item % 3) as f32, 4.0]).collect();
        let weights = |item: usize| [0.5 - item as f32 / 9.0, 0.5, if item.is_multiple_of(2) { 0.5 } else { 0.0 }];
        world.item_features = Some(ItemFeatures {
            columns: vec![column("brand", 1, 2), column("tags", 2, 3)],
            ids: Array::new(&[ITEMS, 3], rows),
            weights: Array::new(&[ITEMS, 3], (0..ITEMS).flat_map(weights).collect()),
        });
    }
    world
}

fn ids(users: usize, items: usize) -> Ids {
    let backwards = |count: usize| (0..count).rev().map(|k| k.to_string()).collect::<Vec<_>>();
    let titles = backwards(items).iter().map(|id| format!("Title {id}")).collect();
    Ids { users: backwards(users), items: backwards(items), titles }
}

fn config(items: usize, encoder: Encoder) -> ActorCriticConfig {
    ActorCriticConfig {
        users: USERS,
        items,
        width: WIDTH,
        window: WINDOW,
        hidden_size: 6,
        encoder,
        prior_scale: 1.0,
        similarity_penalty: 1.0,
        similar_fraction: 0.2,
    }
}

/// Moves every parameter away from its first value.
fn moved(mut file: TensorFile) -> TensorFile {
    for (start, (_, array)) in file.arrays.iter_mut().filter(|(name, _)| !name.starts_with("table.")).enumerate() {
        let change = numbers(&array.shape, 13 * start);
        array.data.iter_mut().zip(change.data).for_each(|(x, change)| *x += 0.2 * change);
    }
    file
}

fn policy(world: &World, encoder: Encoder, form: Form) -> PolicyFile {
    let config = config(ITEMS, encoder);
    let network = |seed| {
        let vectors = [&world.user_vectors, &world.item_vectors];
        let features = world.item_features.as_ref();
        ActorCritic::with_item_features(&Device::Cpu, config.clone(), vectors, seed, features).unwrap()
    };
    let file = match form {
        Form::Logits => network(1).export(),
        Form::Bcq => BcqPolicy::export(&network(1), &network(2), 0.3),
        Form::Mixture => {
            let file = network(1).export().unwrap();
            MixturePolicy::from_policy(&file, 0.3, &Device::Cpu).and_then(|mixture| mixture.export())
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
    };
    PolicyFile::new(moved(file.unwrap()), "rl.a2c", world).unwrap()
}

/// One of a catalogue without a table of similarities, whose scores stream.
fn large() -> PolicyFile {
    let items = TABLE_ITEMS + 50;
    let vectors = [numbers(&[USERS, WIDTH], 5), numbers(&[items, WIDTH], 11)];
    let network = ActorCritic::new(config(items, Encoder::Window), &vectors[0], &vectors[1], 1).unwrap();
    let world = world(Repeats::Allowed, false);
    let mut policy = PolicyFile::new(moved(network.export().unwrap()), "rl.a2c", &world).unwrap();
    let Ids { items, titles, .. } = ids(USERS, items);
    policy.0.texts.extend([("ids.items".to_owned(), items), ("ids.titles".to_owned(), titles)]);
    policy
}

/// Questions in any mixture of what may be asked. The item of row 0 is never shown nor excluded, and always a candidate, so that
/// each has an answer.
fn questions(items: usize, count: usize, state: &mut u64) -> Vec<Value> {
    let some = |state: &mut u64, most: usize| -> Vec<Value> {
        let many = draw(state, most + 1);
        // By id, by number or by title.
        let name = |state: &mut u64| {
            let id = draw(state, items - 1);
            [json!(id.to_string()), json!(id), json!(format!("Title {id}"))][draw(state, 3)].clone()
        };
        (0..many).map(|_| name(state)).collect()
    };
    let question = |_| {
        let history = some(state, 12);
        let rewards: Vec<f64> = history.iter().map(|_| draw(state, 11) as f64 / 2.0).collect();
        let mut question = json!({ "history": history, "rewards": rewards, "exclude": some(state, 3) });
        if draw(state, 4) > 0 {
            // One of them is not in the log.
            question["user"] = json!(draw(state, USERS + 1));
        }
        if draw(state, 3) == 0 {
            question["candidates"] = json!([some(state, 8), vec![json!(items - 1)]].concat());
        }
        if draw(state, 2) == 0 {
            question["top_k"] = json!(1 + draw(state, items));
        }
        question
    };
    (0..count).map(question).collect()
}

/// Writes each policy as `N.safetensors`, and beside it `N.json`: what it is, and questions with answers; `also` may write more.
pub fn write(folder: &Path, also: impl Fn(&Path)) {
    let state = &mut 7;
    let mut add = |name: &str, what: String, policy: &PolicyFile, items: usize, count: usize| {
        let file = folder.join(format!("{name}.safetensors"));
        policy.write(&file).unwrap();
        also(&file);
        let served = load(&file).unwrap();
        let asked = [false, true].map(|exclude_history| {
            let questions = questions(items, count / 2, state);
            let query = |question: &Value| RecommendQuery::from_json(question.to_string().as_bytes()).unwrap();
            let queries = questions.iter().map(query).collect();
            let batch =
                RecommendBatch { queries, count: 10, exclude_history, new_users: true, rows: false, explore: None };
            let answers = served.answer(&batch).unwrap().answers;
            json!({ "exclude_history": exclude_history, "questions": questions, "answers": answers })
        });
        let text = json!({ "what": what, "asked": asked }).to_string();
        fs::write(file.with_extension("json"), text).unwrap();
    };
    for (k, (encoder, form)) in shelf().into_iter().enumerate() {
        // Every other one reads columns of the items, and every third repeats nothing.
        let repeats = if k % 3 == 0 { Repeats::Masked } else { Repeats::Allowed };
        let policy = policy(&world(repeats, k % 2 == 1), encoder.clone(), form);
        add(&format!("{k:02}"), format!("{form:?} of {encoder:?}"), &policy, ITEMS, QUESTIONS);
    }
    add("large", "a large catalogue".to_owned(), &large(), TABLE_ITEMS + 50, 20);
}
