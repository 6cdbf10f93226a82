//! Demonstrations are revised, gated and judged, and every revision is told.

use crate::project::Project;

const EXPERIMENT: &str = "\
name: recycled
assets:
  toy: { from: [{ generate: toy-log }] }
  llm: { from: [{ generate: toy-llm }] }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title, genres: class, year: release_year } }
  split: { use: split, inputs: { interactions: log.interactions } }
  world:
    use: world.bias
    inputs: { interactions: split.train, items: log.items, users: log.users }
    with: { simulator: { horizon: 6, quit_window: 2 } }
  gates:
    use: world.mf
    sweep: { seed: [1, 2] }
    inputs: { interactions: split.train, items: log.items, users: log.users, distances: world.world }
    with: { n_factors: 4, n_epochs: 5, batch_size: 64, simulator: { horizon: 6, quit_window: 2 } }
  judge:
    use: world.mf
    inputs: { interactions: split.test, items: log.items, users: log.users, distances: world.world }
    with: { n_factors: 4, n_epochs: 5, batch_size: 64, simulator: { horizon: 6, quit_window: 2 } }
  offers: { use: retrieve, inputs: { interactions: split.train, items: log.items, users: log.users } }
  raw:
    use: demonstrate
    inputs: { world: world.world, items: log.items, train: split.train, candidates: offers.candidates }
    with: { llm: { gguf: { asset: llm } }, users: 8, n_candidates: 5, item_noun: movie }
  gated:
    use: recycle
    inputs: { demonstrations: raw.demonstrations, model: world.world, gates: gates.world }
  random:
    use: recycle
    inputs: { demonstrations: raw.demonstrations, model: world.world, gates: gates.world, revisions: gated.revisions }
    with: { revise: { random: {} }, gate: none }
  second:
    use: recycle
    inputs: { demonstrations: raw.demonstrations, model: world.world, gates: gates.world, prompts: raw.calls }
    with: { revise: { llm: { max_tokens: 6 } }, gate: ifd, llm: { gguf: { asset: llm } }, item_noun: movie }
  copied:
    use: rl.bc
    inputs: { world: world.world, demonstrations: gated.demonstrations }
    with: { n_epochs: 3 }
  raw_there: { use: demonstrate.replay, inputs: { world: judge.world, demonstrations: raw.demonstrations } }
  gated_there: { use: demonstrate.replay, inputs: { world: judge.world, demonstrations: gated.demonstrations } }
  random_there: { use: demonstrate.replay, inputs: { world: judge.world, demonstrations: random.demonstrations } }
  score:
    use: evaluate
    inputs:
      world: judge.world
      train: split.train
      training_world: world.world
      teacher: { raw: raw_there.demonstrations, gated: gated_there.demonstrations, random: random_there.demonstrations }
      policies: { copied: copied.policy }
    with: { baselines: { constant_reward: false, behaviour_cloning: false }, n_resamples: 100 }
";

#[test]
fn every_revision_is_gated_counted_and_told() {
    let project = Project::new().config(EXPERIMENT);
    let told = project.ok(&["run", "x.yaml"]).stderr;
    for note in ["accepted of", "gain of return an episode, gate worlds"] {
        assert!(told.contains(note), "no `{note}` in\n{told}");
    }
    let rows = |stage: &str, filter: &str, columns: &str| {
        let output = format!("{stage}.revisions");
        let shown =
            project.ok(&["inspect", &output, "--format", "csv", "--filter", filter, "--columns", columns]).stdout;
        shown.lines().skip(1).map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let accepted = rows("gated", "accepted = true", "trajectory,step");
    assert!(!accepted.is_empty(), "{told}");
    assert!(rows("gated", "accepted = true and gate_gain < 0", "step").is_empty());
    assert!(rows("random", "accepted = true", "trajectory,step").iter().all(|place| accepted.contains(place)));
    assert!(rows("gated", "accepted = false", "reason").iter().all(|reason| reason.contains("lower bound")));
    // The first accepted revision is told in its episode, with the world's answer to the new item.
    let episode = accepted[0].split(',').next().unwrap();
    project.ok(&["inspect", "gated.demonstrations", "--episode", episode]).prints(&[
        "  revise grounded: ",
        " → ",
        ": accepted",
    ]);
    let json = project.ok(&["inspect", "gated.demonstrations", "--episode", episode, "--json"]).json();
    let turns = json["content"]["turns"].as_array().unwrap();
    assert!(turns.iter().any(|turn| turn["revisions"][0]["accepted"] == true), "{json}");
    // Episodes without revisions beside them are told as before.
    let plain = project.ok(&["inspect", "raw.demonstrations", "--episode", episode, "--json"]).stdout;
    assert!(!plain.contains("revisions"), "{plain}");
    // Nothing is done twice.
    let again = project.ok(&["run", "x.yaml", "--json"]);
    assert!(again.stages("ran").is_empty(), "{}", again.stdout);
}

#[test]
fn what_the_judge_gated_is_not_judged_by_it() {
    let refused = |from: &str, to: &str, says: &[&str]| {
        assert!(EXPERIMENT.contains(from), "{from}");
        Project::new().config(&EXPERIMENT.replacen(from, to, 1)).run(&["run", "x.yaml"]).ends_with(2).says(says);
    };
    let gated = "model: world.world, gates: gates.world }\n  random:";
    refused(gated, "model: world.world, gates: judge.world }\n  random:", &["copied.policy", "no policy may learn"]);
    // Nor as a teacher alone.
    let alone = EXPERIMENT.replace("      policies: { copied: copied.policy }\n", "");
    let judged = alone.replacen(gated, "model: judge.world, gates: gates.world }\n  random:", 1);
    Project::new()
        .config(&judged)
        .run(&["run", "x.yaml", "score"])
        .ends_with(2)
        .says(&["gated_there.demonstrations", "knows what it answers"]);
    refused(gated, "model: world.world }\n  random:", &["gates", "help: connect worlds fitted with other seeds"]);
    refused(", prompts: raw.calls", "", &["prompts", "the language model reads"]);
    refused("gate: ifd, llm: { gguf: { asset: llm } }", "gate: ifd", &["a language model", "ask one"]);
}
