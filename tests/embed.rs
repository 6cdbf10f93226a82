//! Vectors of items by a sentence encoder inside the process.

use std::fs;

use crate::project::Project;

const EMBED: &str = "\
name: embed
assets:
  toy: { from: [{ generate: toy-log }] }
  encoder: { from: [{ generate: toy-sentence-encoder }] }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title, genres: class, year: release_year } }
  vectors:
    use: embed
    inputs: { items: log.items }
    with: { embedder: { sentence_encoder: { asset: encoder } } }
";

#[test]
fn a_catalogue_becomes_vectors_and_each_text_is_embedded_once() {
    let project = Project::new().config(EMBED);
    let told = project.ok(&["run", "x.yaml"]).stderr;
    assert!(told.contains("60 distinct ones of 60 items, 32 numbers each"), "{told}");
    let of = |project: &Project| fs::read(project.path("artifacts/embed/vectors/item_vectors.safetensors")).unwrap();
    let bytes = of(&project);
    let told = project.ok(&["inspect", "vectors.item_vectors"]).stdout;
    assert!(
        ["item-vectors", "[60, 32]", "made by     vectors.item_vectors"].iter().all(|part| told.contains(part)),
        "{told}"
    );
    // The vectors are in the store of calls: a stage that runs again computes none.
    let told = project.ok(&["run", "x.yaml", "--force", "vectors"]).stderr;
    assert!(told.contains("all vectors were stored already"), "{told}");
    // Neither the store nor the number of threads changes a byte.
    let other = Project::new().config(EMBED);
    other.ok(&["run", "x.yaml", "--threads", "1"]);
    assert!(of(&other) == bytes && of(&project) == bytes);
}

#[test]
fn a_wrong_model_and_a_wrong_template_are_refused_with_a_next_step() {
    let project = Project::new().config(EMBED);
    let set = |setting: &str| project.run(&["run", "x.yaml", "--set", setting]);
    set("stages.vectors.with.template='{{ titel }}'").ends_with(2).says(&[
        "template",
        "`titel` is not a variable of this template",
        "line 1 of the template: {{ titel }}",
    ]);
    set("stages.vectors.with.template='{{ features.colour }}'")
        .ends_with(1)
        .says(&["`template` names the feature `colour`, which no item has", "help: the catalogue has: "]);
    set("assets.encoder.from=[{ generate: toy-llm }]")
        .ends_with(1)
        .says(&[" is no folder", "help: name the folder of a BERT sentence encoder such as all-MiniLM-L6-v2"]);
    set("stages.vectors.with.embedder={ sentence_encodr: { asset: encoder } }")
        .ends_with(2)
        .says(&["sentence_encodr", "sentence_encoder"]);
}

const FEATURES: &str = "
  world:
    use: world.deepfm
    inputs: { interactions: log.interactions, items: log.items, users: log.users, item_vectors: vectors.item_vectors }
    with: { ensemble_size: 1, n_epochs: 2, simulator: { embedding_dim: 4, horizon: 20, distance: item_vectors } }
  demos: { use: demonstrate.from_log, inputs: { interactions: log.interactions } }
  reward:
    use: irl.gail
    inputs: { world: world.world, demonstrations: demos.demonstrations, item_vectors: vectors.item_vectors }
    with: { rounds: 1, generator_updates: 1, policy: { episodes_per_update: 4 } }
";

#[test]
fn worlds_and_discriminators_read_vectors_and_say_where_they_are_missing() {
    let project = Project::new().config(&format!("{EMBED}{FEATURES}"));
    project.ok(&["run", "x.yaml"]).prints(&["5 stages: 5 ran"]);
    // A distance by vectors needs some, and a world that learns from none of them says so.
    let without = FEATURES.replace("users: log.users, item_vectors: vectors.item_vectors", "users: log.users");
    Project::new()
        .config(&format!("{EMBED}{without}"))
        .run(&["plan", "x.yaml"])
        .ends_with(2)
        .says(&["simulator.distance", "connect the `item_vectors` of an `embed` stage"]);
    let bias = FEATURES
        .replace("world.deepfm", "world.bias")
        .replace("ensemble_size: 1, n_epochs: 2, ", "")
        .replace(", distance: item_vectors", "");
    Project::new()
        .config(&format!("{EMBED}{bias}"))
        .run(&["plan", "x.yaml"])
        .ends_with(2)
        .says(&["item_vectors", "set `simulator.distance: item_vectors`, or leave the input out"]);
}
