//! The experiment behind `apprentice worth x.yaml`: from an experiment with a teacher to a study of what the teacher is worth.
//!
//! ```text
//! the log of x ─▶ halves ─┬─ E ─▶ world.mf, world.deepfm ─┐
//!                         └─ L ──────────────────────────┴▶ returns@draw=0… ─┐ (and with E and L swapped)
//! the teacher of x ─▶ rate ─▶ item scores ────────────────────▲              └▶ worth ─▶ page
//! ```
//!
//! A teacher is a stage that scores items (`rate`, `ingest.item_scores`), or one that lets a language model demonstrate: its model is
//! then asked for a score of each item, once. Everything else of x is left out.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use pipeline::UsageError;
use pipeline::worth::WorthRequest;
use serde_json::{Map, Value, json};

/// Stages that score items.
const SCORERS: [&str; 2] = ["ingest.item_scores", "rate"];
/// Stages that ask a language model for episodes.
const DEMONSTRATORS: [&str; 1] = ["demonstrate"];

/// The experiment of the study of `document`, which is a checked experiment.
///
/// # Errors
/// [`UsageError`] where the experiment has no teacher, or no log that a teacher's items belong to.
pub fn study(document: &Value, request: &WorthRequest) -> Result<Value> {
    let name = document["name"].as_str().unwrap_or("experiment");
    let stages = document["stages"].as_object().context("the experiment has no stages")?;
    let teachers = teachers(stages);
    ensure!(
        !teachers.is_empty(),
        UsageError(
            "the experiment has no teacher: no stage scores items or lets a language model demonstrate\n\
             help: add one, such as `opinion: { use: rate, inputs: { items: log.items }, with: { llm: … } }`"
                .into()
        )
    );
    let mut study = Map::new();
    let mut scores = Map::new();
    let mut source: Option<String> = None;
    for (teacher, stage) in teachers {
        let items = stage["inputs"]["items"].as_str().unwrap_or_default();
        let of = items.strip_suffix(".items").with_context(|| {
            UsageError(format!(
                "the teacher `{teacher}` takes its items from `{items}`, wanted the output `items` of the stage that reads the log"
            ))
        })?;
        match &source {
            Some(other) if other != of => bail!(UsageError(format!(
                "the teachers know two catalogues, those of `{other}` and of `{of}`\nhelp: keep one of them, or write one experiment for each"
            ))),
            _ => source = Some(of.to_owned()),
        }
        let stage = if SCORERS.contains(&kind(stage)) { stage.clone() } else { rating(stage) };
        study.insert(teacher.clone(), stage);
        scores.insert(teacher.clone(), json!(format!("{teacher}.item_scores")));
    }
    let source = source.unwrap_or_default();
    ensure!(
        stages.contains_key(&source) && !source.contains('@'),
        UsageError(format!("the items of the teacher come from `{source}`, which is no stage of one cell"))
    );
    for taken in ["halves", "mf_a", "mf_b", "deepfm_a", "deepfm_b", "returns_a", "returns_b", "worth", "page"] {
        ensure!(
            !study.contains_key(taken) && source != taken,
            UsageError(format!("the stage `{taken}` has the name of a stage of the study\nhelp: rename it"))
        );
    }
    let wanted: BTreeSet<String> = study.keys().cloned().chain([source.clone()]).collect();
    let mut made = ancestors(stages, &study, wanted);
    made.extend(study);
    let catalogue = json!({ "items": format!("{source}.items"), "users": format!("{source}.users") });
    made.insert(
        "halves".into(),
        json!({
            "use": "split",
            "inputs": { "interactions": format!("{source}.interactions") },
            "with": { "by": "global_random", "test_fraction": 0.5 }
        }),
    );
    let settings = world_settings(stages);
    for (half, evaluated, learned) in [("a", "train", "test"), ("b", "test", "train")] {
        let inputs = |more: Value| {
            let mut inputs = catalogue.as_object().cloned().unwrap_or_default();
            inputs.extend(more.as_object().cloned().unwrap_or_default());
            Value::Object(inputs)
        };
        for family in ["mf", "deepfm"] {
            let fitted =
                json!({ "interactions": format!("halves.{evaluated}"), "holdout": format!("halves.{learned}") });
            let stage = json!({ "use": format!("world.{family}"), "inputs": inputs(fitted), "with": settings });
            made.insert(format!("{family}_{half}"), stage);
        }
        let played = json!({
            "interactions": format!("halves.{learned}"),
            "evaluation_log": format!("halves.{evaluated}"),
            "worlds": { "mf": format!("mf_{half}.world"), "deepfm": format!("deepfm_{half}.world") },
            "item_scores": scores,
        });
        made.insert(
            format!("returns_{half}"),
            json!({
                "use": "worth.returns",
                "sweep": { "draw": (0..request.draws).collect::<Vec<u64>>() },
                "inputs": inputs(played),
                "with": returns_settings(request, &settings),
            }),
        );
    }
    made.insert(
        "worth".into(),
        json!({ "use": "worth", "inputs": { "returns": { "a": "returns_a.returns", "b": "returns_b.returns" } } }),
    );
    made.insert("page".into(), json!({ "use": "report.worth", "inputs": { "worth": "worth.worth" } }));
    let mut experiment = Map::new();
    experiment.insert("name".into(), json!(format!("{name}-worth")));
    if let Some(assets) = document.get("assets") {
        experiment.insert("assets".into(), assets.clone());
    }
    experiment.insert("stages".into(), Value::Object(made));
    Ok(Value::Object(experiment))
}

fn kind(stage: &Value) -> &str {
    stage["use"].as_str().unwrap_or_default()
}

/// The stages that score items; where there are none, one for each language model that demonstrates.
fn teachers(stages: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let scorers: Vec<_> = stages.iter().filter(|(_, stage)| SCORERS.contains(&kind(stage))).collect();
    if !scorers.is_empty() {
        return scorers;
    }
    let mut found: Vec<(&String, &Value)> = Vec::new();
    for (name, stage) in stages.iter().filter(|(_, stage)| DEMONSTRATORS.contains(&kind(stage))) {
        let llm = &stage["with"]["llm"];
        // Recorded calls answer no new question.
        let asks = llm.is_object() && llm.get("replay").is_none();
        if asks && found.iter().all(|(_, other)| other["with"]["llm"] != *llm) {
            found.push((name, stage));
        }
    }
    found
}

/// The stage that asks the model of a demonstrating one for scores.
fn rating(demonstrates: &Value) -> Value {
    let mut settings = Map::new();
    for shared in ["llm", "item_noun"] {
        if let Some(value) = demonstrates["with"].get(shared) {
            settings.insert(shared.into(), value.clone());
        }
    }
    // A server may have no log-probabilities of words; a grade it can write in any case.
    if settings.get("llm").is_some_and(|llm| llm.get("openai").is_some()) {
        settings.insert("by".into(), json!({ "grade": {} }));
    }
    json!({ "use": "rate", "inputs": { "items": demonstrates["inputs"]["items"] }, "with": settings })
}

/// The stages `wanted` of the experiment that are not in the `study` already, with all that they need.
fn ancestors(stages: &Map<String, Value>, study: &Map<String, Value>, wanted: BTreeSet<String>) -> Map<String, Value> {
    let mut needed = BTreeSet::new();
    let mut open: Vec<String> = wanted.into_iter().collect();
    while let Some(name) = open.pop() {
        let stage = study.get(&name).or_else(|| stages.get(&name));
        if let (Some(stage), true) = (stage, needed.insert(name)) {
            open.extend(references(&stage["inputs"]));
        }
    }
    let kept = stages.iter().filter(|(name, _)| needed.contains(*name) && !study.contains_key(*name));
    kept.map(|(name, stage)| (name.clone(), stage.clone())).collect()
}

/// The stages that inputs refer to: of `demos@seed=1.demonstrations` that is `demos`.
fn references(inputs: &Value) -> Vec<String> {
    match inputs {
        Value::String(text) => vec![text.split(['@', '.']).next().unwrap_or_default().to_owned()],
        Value::Array(list) => list.iter().flat_map(references).collect(),
        Value::Object(map) => map.values().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// The settings of the evaluation worlds: the simulator of the world in which the experiment evaluates, else of its first world, and
/// whether its logs say only what people chose.
fn world_settings(stages: &Map<String, Value>) -> Value {
    let evaluated =
        stages.values().find(|stage| kind(stage) == "evaluate").map(|stage| references(&stage["inputs"]["world"]));
    let named = evaluated.into_iter().flatten().filter_map(|name| stages.get(&name));
    let all = stages.values().filter(|stage| kind(stage).starts_with("world."));
    let simulator = named.chain(all.clone()).find_map(|stage| stage["with"].get("simulator"));
    let mut settings = Map::new();
    if let Some(simulator) = simulator {
        settings.insert("simulator".into(), simulator.clone());
    }
    if all.clone().any(|stage| stage["with"]["sample_negatives"] == json!(true)) {
        settings.insert("sample_negatives".into(), json!(true));
    }
    Value::Object(settings)
}

/// `worlds`: the settings of the worlds, with which learners share whether they fit drawn negatives.
fn returns_settings(request: &WorthRequest, worlds: &Value) -> Value {
    let mut settings = Map::new();
    let negatives = worlds.get("sample_negatives");
    settings.extend(negatives.map(|negatives| ("sample_negatives".to_owned(), negatives.clone())));
    if !request.sizes.is_empty() {
        settings.insert("sizes".into(), json!(request.sizes));
    }
    if let Some(users) = request.users {
        settings.insert("users".into(), json!(users));
    }
    if let Some(least) = request.min_item_ratings {
        settings.insert("min_item_ratings".into(), json!(least));
    }
    Value::Object(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> WorthRequest {
        WorthRequest { draws: 2, sizes: vec![100, 1000], users: None, min_item_ratings: Some(7) }
    }

    fn experiment(teacher: Value) -> Value {
        json!({
            "name": "films",
            "assets": { "log": { "from": [{ "path": "log/" }] } },
            "stages": {
                "raw": { "use": "ingest.table", "with": { "asset": "log" } },
                "log": { "use": "filter.kcore", "inputs": { "interactions": "raw.interactions", "items": "raw.items", "users": "raw.users" } },
                "world": { "use": "world.deepfm", "inputs": { "interactions": "log.interactions" }, "with": { "simulator": { "horizon": 9 } } },
                "judge": { "use": "world.mf", "inputs": { "interactions": "log.interactions" }, "with": { "simulator": { "horizon": 7 } } },
                "teacher": teacher,
                "score": { "use": "evaluate", "inputs": { "world": "judge.world", "train": "log.interactions" } },
            }
        })
    }

    #[test]
    fn a_demonstrating_model_is_asked_for_scores_and_the_rest_is_left_out() {
        let teacher = json!({
            "use": "demonstrate",
            "inputs": { "world": "world.world", "items": "log.items" },
            "with": { "llm": { "openai": { "api_key": "${env:KEY}" } }, "item_noun": "film", "users": 3 }
        });
        let found = study(&experiment(teacher), &request()).unwrap();
        assert_eq!(found["name"], "films-worth");
        let stages = found["stages"].as_object().unwrap();
        let names: Vec<&str> = stages.keys().map(String::as_str).collect();
        let made = ["halves", "mf_a", "deepfm_a", "returns_a", "mf_b", "deepfm_b", "returns_b", "worth", "page"];
        assert_eq!(names, [&["raw", "log", "teacher"][..], &made].concat());
        assert_eq!(
            stages["teacher"],
            json!({
                "use": "rate",
                "inputs": { "items": "log.items" },
                "with": { "llm": { "openai": { "api_key": "${env:KEY}" } }, "item_noun": "film", "by": { "grade": {} } }
            })
        );
        assert_eq!(stages["mf_a"]["with"]["simulator"]["horizon"], 7, "of the world that evaluates");
        assert_eq!(stages["mf_a"]["inputs"]["interactions"], "halves.train");
        assert_eq!(stages["returns_a"]["inputs"]["interactions"], "halves.test");
        assert_eq!(stages["returns_b"]["inputs"]["interactions"], "halves.train");
        assert_eq!(stages["returns_b"]["sweep"]["draw"], json!([0, 1]));
        assert_eq!(stages["returns_b"]["with"]["sizes"], json!([100, 1000]));
        assert_eq!(stages["returns_b"]["with"]["min_item_ratings"], 7);
    }

    #[test]
    fn what_people_chose_is_fitted_with_negatives_by_worlds_and_learners() {
        let mut chosen =
            experiment(json!({ "use": "rate", "inputs": { "items": "log.items" }, "with": { "llm": {} } }));
        chosen["stages"]["judge"]["with"]["sample_negatives"] = json!(true);
        let found = study(&chosen, &request()).unwrap();
        for stage in ["mf_b", "returns_b"] {
            assert_eq!(found["stages"][stage]["with"]["sample_negatives"], true, "{stage}");
        }
    }

    #[test]
    fn a_scoring_stage_is_taken_as_it_is() {
        let teacher =
            json!({ "use": "rate", "inputs": { "items": "log.items" }, "with": { "llm": {}, "by": "grade" } });
        let found = study(&experiment(teacher.clone()), &request()).unwrap();
        assert_eq!(found["stages"]["teacher"], teacher);
        assert_eq!(found["stages"]["returns_a"]["inputs"]["item_scores"], json!({ "teacher": "teacher.item_scores" }));
    }

    #[test]
    fn what_has_no_teacher_is_told() {
        let none = json!({ "use": "demonstrate.replay", "inputs": {} });
        let error = study(&experiment(none), &request()).unwrap_err();
        assert!(error.is::<UsageError>() && error.to_string().starts_with("the experiment has no teacher: "));
        let replay =
            json!({ "use": "demonstrate", "inputs": { "items": "log.items" }, "with": { "llm": { "replay": {} } } });
        assert!(study(&experiment(replay), &request()).is_err());
        let mut taken = experiment(json!({ "use": "rate", "inputs": { "items": "log.items" } }));
        let stages = taken["stages"].as_object_mut().unwrap();
        let teacher = stages.remove("teacher").unwrap();
        stages.insert("worth".into(), teacher);
        let error = study(&taken, &request()).unwrap_err().to_string();
        assert!(error.starts_with("the stage `worth` has the name of a stage of the study"), "{error}");
    }
}
