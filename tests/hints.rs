//! Hints from a log to the episodes of an agent that is told them: tables, policies, memories, and what is refused.

use serde_json::Value;

use crate::project::Project;

const EXPERIMENT: &str = "name: hints
assets: { toy-log: { from: [{ generate: toy-log }] }, toy-llm: { from: [{ generate: toy-llm }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy-log, title: movie_title, year: release_year, genres: class } }
  split: { use: split, inputs: { interactions: log.interactions } }
  templates: { use: hints, inputs: { train: split.train, items: log.items }, with: { count: 3, item_noun: movie } }
  reflected:
    use: hints
    inputs: { train: split.train, items: log.items }
    with:
      kind: reflective
      llm: { gguf: { asset: toy-llm } }
      reflective: { sessions: 3, n_candidates: 6, top: 2, max_explanation_tokens: 8, max_hint_tokens: 24 }
  table:
    use: evaluate.prompts
    inputs: { items: log.items, train: split.train, test: split.test, hints: templates.hints }
    with:
      llm: { gguf: { asset: toy-llm } }
      sessions: 12
      n_candidates: 5
      n_resamples: 100
      strategies: [recent]
      aggregates: []
  bandit:
    use: hint_policy
    inputs: &measured { prompts: table.table, items: log.items, hints: templates.hints }
    with: { folds: 3, n_resamples: 100 }
  ppo:
    use: hint_policy
    inputs: *measured
    with: { algorithm: { ppo: { n_iterations: 3, sessions_per_update: 16, hidden_size: 8 } }, n_resamples: 100 }
  world:
    use: world.mf
    inputs: { interactions: log.interactions, items: log.items, users: log.users }
    with: { n_factors: 4, n_epochs: 3, batch_size: 64, simulator: { horizon: 4, quit_window: 3 } }
  offers: { use: retrieve, inputs: { interactions: split.train, items: log.items, users: log.users } }
  demos:
    use: demonstrate
    inputs:
      world: world.world
      items: log.items
      train: split.train
      candidates: offers.candidates
      memories: bandit.memories
    with: { llm: { gguf: { asset: toy-llm } }, users: 40, n_candidates: 3 }
";

fn rows(project: &Project, output: &str) -> Vec<Value> {
    let found = project.ok(&["inspect", output, "--format", "ndjson"]).stdout;
    found.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn hints_are_asked_chosen_and_told_to_their_users_alone() {
    let project = Project::new().config(EXPERIMENT);
    project.ok(&["run", "x.yaml"]);
    let table = rows(&project, "table.table");
    let prompts = |name: &str| table.iter().filter(|row| row["prompt"] == name).count();
    for hint in ["recent + h01", "recent + h02", "recent + h03"] {
        assert_eq!(prompts(hint), 12, "{hint}");
    }
    for algorithm in ["bandit", "ppo"] {
        let metrics = rows(&project, &format!("{algorithm}.metrics"));
        let find = |policy: &str, metric: &str| {
            let row = metrics.iter().find(|row| row["policy"] == policy && row["metric"] == metric);
            row.unwrap_or_else(|| panic!("no {metric} of {policy}: {metrics:?}"))["mean"].as_f64().unwrap()
        };
        assert!(find("oracle", "gain") >= find(algorithm, "gain") && find("oracle", "gain") >= 0.0);
        assert!((find(algorithm, "ndcg") - find("recent", "ndcg") - find(algorithm, "gain")).abs() < 1e-9);
    }
    // Who has a memory is told that hint, and nobody else is told any.
    let memories = rows(&project, "bandit.memories");
    let calls = rows(&project, "demos.calls");
    let hint = |call: &Value| {
        let request: Value = serde_json::from_str(call["request"].as_str().unwrap()).unwrap();
        let lines = request["context"].as_array().unwrap().clone();
        lines.iter().filter_map(|line| line.as_str()?.strip_prefix("Hint: ").map(str::to_owned)).next()
    };
    let told: Vec<String> = calls.iter().filter_map(hint).collect();
    for memory in &memories {
        let text = format!("{}\n", memory["text"].as_str().unwrap());
        assert!(told.contains(&text), "{text} of {told:?}");
    }
    assert_eq!(told.is_empty(), memories.is_empty());
    // Nothing runs again, and the proposals of a model of random weights are all explained.
    let again = project.ok(&["run", "x.yaml", "--json"]);
    assert!(again.stages("ran").is_empty(), "{:?}", again.stages("ran"));
    for hint in rows(&project, "reflected.hints") {
        assert!(hint["verdict"].is_string() && hint["session"].is_number(), "{hint}");
    }
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let refused = |from: &str, to: &str, parts: &[&str]| {
        assert!(EXPERIMENT.contains(from), "{from}");
        Project::new().config(&EXPERIMENT.replace(from, to)).run(&["plan", "x.yaml"]).ends_with(2).says(parts);
    };
    refused("kind: reflective", "kind: reflectiv", &["reflectiv", "reflective"]);
    refused("with: { count: 3,", "with: { count: 0,", &["count", "at least one hint"]);
    refused("top: 2", "top: 9", &["more candidates than `top`"]);
    refused("folds: 3", "folds: 1", &["folds", "at least 2"]);
    refused(
        "with: { llm: { gguf: { asset: toy-llm } }, users: 40,",
        "with: { actor: { rate: {} }, llm: { gguf: { asset: toy-llm } }, users: 40,",
        &["cannot be set where `demos` has an input `memories`", "nothing in an episode", "leave the input out"],
    );
    let reference = EXPERIMENT.replace("with: { folds: 3,", "with: { reference: resent, folds: 3,");
    Project::new()
        .config(&reference)
        .run(&["run", "x.yaml", "bandit"])
        .ends_with(1)
        .says(&["no prompt `resent` in the table", "help: the table has"]);
}
