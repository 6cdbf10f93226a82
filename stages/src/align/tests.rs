use std::path::Path;

use pipeline::{Context, Stage};
use serde_json::{Value, json};

use super::{AlignDpo, AlignSft, AlignVirtualTokens, Inputs, Outputs};
use crate::artifact::{Interactions, Items};
use crate::llm::gguf::toy;

const ITEMS: usize = 12;

/// Everybody goes through the catalogue in its order.
fn inputs() -> Inputs {
    let items = Items {
        id: (0..ITEMS).map(|item| item.to_string()).collect(),
        title: (0..ITEMS).map(|item| format!("the {}", char::from(b'a' + item as u8))).collect(),
        year: vec![None; ITEMS],
        genres: vec![vec![]; ITEMS],
        ..Items::default()
    };
    let rows: Vec<(u32, u32)> = (0..8).flat_map(|user| (0..6).map(move |row| (user, row))).collect();
    let train = Interactions {
        user: rows.iter().map(|(user, _)| *user).collect(),
        item: rows.iter().map(|(user, row)| (user + row) % ITEMS as u32).collect(),
        rating: vec![4.0; rows.len()],
        timestamp: rows.iter().map(|(_, row)| i64::from(*row)).collect(),
    };
    Inputs { items, train }
}

fn settings(with: &Value) -> Value {
    let mut all = json!({
        "asset": "toy",
        "questions": {
            "count": 8, "held_out": 4, "min_history": 2, "log_history": { "length": 2 }, "instructions": "Go on."
        },
        "passes": { "n_epochs": 3, "batch_size": 4 },
        "optimizer": { "learning_rate": 0.05 },
        "checkpoint_every": 2,
    });
    for (name, value) in with.as_object().unwrap() {
        match (&mut all[name], value) {
            (Value::Object(block), Value::Object(more)) => block.extend(more.clone()),
            (setting, value) => *setting = value.clone(),
        }
    }
    all
}

fn context(folder: &Path) -> Context {
    let path = folder.join("toy.gguf");
    toy::write_toy(&path).unwrap();
    let mut cx = Context::detached(folder);
    cx.add_asset("toy", &path);
    cx
}

fn run<S: Stage<Inputs = Inputs, Outputs = Outputs>>(with: &Value) -> Outputs {
    let folder = tempfile::tempdir().unwrap();
    let stage: S = serde_json::from_value(settings(with)).unwrap();
    stage.check().unwrap();
    stage.run(inputs(), &context(folder.path())).unwrap()
}

fn series(outputs: &Outputs, name: &str) -> Vec<f64> {
    outputs.curves.0.iter().filter(|point| point.series == name).map(|point| point.value).collect()
}

#[test]
fn held_out_titles_become_likelier() {
    let everywhere = json!({ "low_rank": { "projections": ["queries", "values", "attention_out", "gate", "down"] } });
    for outputs in [run::<AlignSft>(&everywhere), run::<AlignVirtualTokens>(&json!({ "n_tokens": 3 }))] {
        let held_out = series(&outputs, "nll.held_out");
        assert_eq!((held_out.len(), series(&outputs, "loss").len()), (4, 6));
        assert!(held_out[3] < held_out[0] - 0.01, "{held_out:?}");
    }
}

#[test]
fn pairs_begin_at_the_reference_and_come_apart() {
    let outputs = run::<AlignDpo>(&json!({ "beta": 1.0 }));
    let (held_out, accuracy) = (series(&outputs, "loss.held_out"), series(&outputs, "accuracy.held_out"));
    assert!((held_out[0] - 2.0_f64.ln()).abs() < 1e-6 && accuracy[0] == 0.5, "{held_out:?} {accuracy:?}");
    let loss = series(&outputs, "loss");
    assert!((loss[0] - 2.0_f64.ln()).abs() < 1e-6 && loss[4] + loss[5] < 2.0 * 2.0_f64.ln(), "{loss:?}");
}

#[test]
fn the_controls_learn_something_else() {
    let plain = run::<AlignSft>(&json!({}));
    let control = |name: &str| run::<AlignSft>(&json!({ "questions": { (name): true } }));
    let shuffled = control("shuffle_targets");
    let [first, other] = [&plain, &shuffled].map(|outputs| series(outputs, "nll.held_out"));
    assert_eq!(first[0].to_bits(), other[0].to_bits(), "the questions that are predicted keep their answers");
    assert_ne!(first[3].to_bits(), other[3].to_bits());
    let alone = series(&control("without_context"), "nll.held_out");
    assert_ne!(first[0].to_bits(), alone[0].to_bits());
}

#[test]
fn an_interrupted_tuning_ends_as_an_uninterrupted_one() {
    let with = json!({ "n_tokens": 3 });
    let whole = run::<AlignVirtualTokens>(&with);
    let stage: AlignVirtualTokens = serde_json::from_value(settings(&with)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut stops = 0;
    let resumed = loop {
        let cx = context(folder.path());
        cx.interrupt();
        match stage.run(inputs(), &cx) {
            Ok(outputs) => break outputs,
            Err(error) => assert!(error.is::<pipeline::Interrupted>(), "{error:#}"),
        }
        stops += 1;
        assert!(stops <= 12, "no way ahead");
    };
    assert!(stops > 3, "it was stopped {stops} times");
    assert!(resumed.adapter == whole.adapter && resumed.curves == whole.curves);
}

#[test]
fn any_number_of_threads_learns_the_same() {
    let learnt = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run::<AlignSft>(&json!({ "passes": { "n_epochs": 1 } })).adapter.digest())
    };
    assert_eq!(learnt(1), learnt(2));
}

#[test]
fn impossible_settings_are_named() {
    let refused = |with: Value| {
        let stage: AlignSft = serde_json::from_value(settings(&with)).unwrap();
        stage.check().unwrap_err().0
    };
    assert_eq!(refused(json!({ "low_rank": { "projections": ["queries", "queries"] } })), "low_rank.projections");
    assert_eq!(refused(json!({ "low_rank": { "rank": 0 } })), "low_rank.rank");
    assert_eq!(refused(json!({ "low_rank": { "alpha": 0.0 } })), "low_rank.alpha");
    assert_eq!(refused(json!({ "passes": { "warmup": 2.0 } })), "passes.warmup");
    assert_eq!(refused(json!({ "questions": { "strategy": "item_only" } })), "questions.strategy");
}
