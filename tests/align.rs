//! A model tuned on a log: its adapter goes where the model is asked, and nowhere else.

use crate::project::Project;

const EXPERIMENT: &str = "name: align
assets: { toy-log: { from: [{ generate: toy-log }] }, toy-llm: { from: [{ generate: toy-llm }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy-log, title: movie_title, year: release_year, genres: class } }
  tuned:
    use: align.sft
    inputs: &log { items: log.items, train: log.interactions }
    with: &with
      asset: toy-llm
      questions: { count: 12, held_out: 4, item_noun: movie, log_history: { length: 2 }, instructions: Go on. }
      passes: { n_epochs: 1, batch_size: 2 }
      optimizer: { learning_rate: 0.01 }
      checkpoint_every: 1
  spring: { use: align.virtual_tokens, inputs: *log, with: *with }
  pairs: { use: align.dpo, inputs: *log, with: *with }
  plain: &asked
    use: evaluate.prompts
    inputs: { items: log.items, train: log.interactions }
    with: &prompts
      llm: { gguf: { asset: toy-llm } }
      sessions: 4
      n_candidates: 4
      n_resamples: 100
      strategies: [recent]
      aggregates: []
  asked:
    use: evaluate.prompts
    inputs: { items: log.items, train: log.interactions, adapter: tuned.adapter }
    with: *prompts
  virtual:
    use: evaluate.prompts
    inputs: { items: log.items, train: log.interactions, adapter: spring.adapter }
    with: *prompts
  rated:
    use: rate
    inputs: { items: log.items, adapter: pairs.adapter }
    with: { llm: { gguf: { asset: toy-llm } }, item_noun: movie }
";

fn rows(project: &Project, output: &str) -> String {
    project.ok(&["inspect", output, "--format", "csv"]).stdout
}

#[test]
fn an_adapter_changes_what_the_model_says_and_is_made_again_after_a_kill() {
    let project = Project::new().config(EXPERIMENT);
    project.ok(&["run", "x.yaml"]);
    let calls = ["plain.calls", "asked.calls", "virtual.calls"].map(|output| rows(&project, output));
    assert!(calls[0] != calls[1] && calls[0] != calls[2] && calls[1] != calls[2], "three models, three answers");
    project.ok(&["verify"]);

    let killed = Project::new().config(EXPERIMENT);
    let saved = || killed.files("scratch").iter().any(|path| path.extension().is_some_and(|end| end == "checkpoint"));
    assert!(killed.kill_when(&["run", "x.yaml", "tuned"], saved), "the kill came too late");
    killed.ok(&["run", "x.yaml", "--threads", "1"]);
    assert!(killed.objects() == project.objects());
}

#[test]
fn an_adapter_is_refused_for_another_model_and_for_a_server() {
    let experiment = EXPERIMENT.replacen("toy-llm: {", "other: { from: [{ path: other.gguf }] }, toy-llm: {", 1);
    let project = Project::new().config(&experiment);
    project.ok(&["run", "x.yaml", "tuned"]);
    // The same model under another name in its metadata: another file.
    let toy = stages::llm::gguf::toy::write_toy;
    let path = project.path("other.gguf");
    toy(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let name = bytes.windows(3).position(|part| part == b"toy").unwrap();
    bytes[name..name + 3].copy_from_slice(b"joy");
    std::fs::write(&path, bytes).unwrap();
    project.run(&["run", "x.yaml", "asked", "--set", "stages.asked.with.llm.gguf.asset=other"]).ends_with(1).says(&[
        "the adapter was trained for the model toy",
        "this is joy",
        "help:",
    ]);
    let server = "stages.asked.with.llm={ openai: { base_url: \"http://127.0.0.1:1\", model: m, logprobs: true } }";
    project
        .run(&["plan", "x.yaml", "asked", "--set", server])
        .ends_with(2)
        .says(&["adapter", "an adapter tunes a model inside this process"]);
}
