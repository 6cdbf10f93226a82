//! Worlds that are made from a fitted one, to learn in.

use std::fs;

use crate::project::Project;

const PEERS: &str = "\
name: peers
assets: { toy: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title } }
  world:
    use: world.mf
    inputs: { interactions: log.interactions, items: log.items, users: log.users }
    with: { ensemble_size: 2, n_factors: 4, n_epochs: 3, simulator: { horizon: 10, quit_window: 3, embedding_dim: 6 } }
  near: { use: world.reference_users, inputs: { world: world.world }, with: { by: { nearest: { n_users: 5 } } } }
  rated:
    use: world.reference_users
    inputs: { world: world.world, interactions: log.interactions }
    with: { by: { selected: { n_users: 5, rounds: 2 } }, indicators: log, uncertainty: dynamic, uncertainty_coef: 0.5 }
  varied: { use: world.pessimistic, inputs: { world: near.world }, with: { by: { r3s: { local_coef: 1.0 } } } }
  policy:
    use: rl.a2c
    inputs: { world: varied.world }
    with: { n_iterations: 2, episodes_per_update: 8, bc_coef: 0.0 }
";

#[test]
fn a_learner_plays_in_a_world_of_reference_users_with_a_penalty_for_what_is_alike() {
    let project = Project::new().config(PEERS);
    let told = project.ok(&["run", "x.yaml"]).stderr;
    // Stages run side by side, so they tell in any order.
    for part in
        ["5 of 40 each, of similarity ", " on average, times 0.5", ", and 1.500 where it is the first one again"]
    {
        assert!(told.contains(part), "no {part:?} in:\n{told}");
    }
    let bytes = project.objects();
    let other = Project::new().config(PEERS);
    other.ok(&["run", "x.yaml", "--threads", "1"]);
    assert_eq!(other.objects(), bytes, "the number of threads changes nothing");
    let says = |world: &str| {
        let file = fs::read(project.path(&format!("artifacts/peers/{world}/world.safetensors"))).unwrap();
        String::from_utf8_lossy(&file).contains("diversity_penalty")
    };
    assert_eq!(
        ["world", "near", "varied"].map(says),
        [false, false, true],
        "what has no penalty has the bytes of before"
    );
}

#[test]
fn what_a_world_of_reference_users_cannot_be_is_said() {
    let project = Project::new().config(PEERS);
    let set = |setting: &str| project.run(&["plan", "x.yaml", "--set", setting]).ends_with(2);
    set("stages.near.with.indicators=log")
        .says(&["indicators", "help: connect the ratings that the world was fitted on"]);
    set("stages.near.with.by.nearest.n_users=0").says(&["n_users", "there is at least one"]);
    set("stages.varied.with.by.r3s.decay=2").says(&["decay", "from 0 to 1"]);
    let judged = "  score: { use: evaluate, inputs: { world: near.world, train: log.interactions, training_world: world.world } }";
    let project = Project::new().config(&format!("{PEERS}{judged}\n"));
    project.run(&["plan", "x.yaml"]).ends_with(2).says(&[
        "`near.world` is made by world.reference_users and has no place at `score.world`",
        "help: evaluate in the world that it was made from",
    ]);
}
