//! A memory of good sessions, from a log to a page: what `inspect` shows of it, what a learner says, and what is refused.

use crate::project::Project;

const EXPERIMENT: &str = "name: memory
assets: { toy-log: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy-log, title: movie_title, year: release_year, genres: class } }
  world:
    use: world.mf
    inputs: { interactions: log.interactions, items: log.items, users: log.users }
    with: { n_factors: 4, n_epochs: 3, batch_size: 64, simulator: { horizon: 10, quit_window: 3, training_reward: session_end } }
  recorded: { use: demonstrate.from_log, inputs: { interactions: log.interactions }, with: { max_episode_length: 10 } }
  sessions: { use: demonstrate.replay, inputs: { world: world.world, demonstrations: recorded.demonstrations } }
  memory:
    use: memory_graph
    inputs: { demonstrations: sessions.demonstrations, world: world.world, items: log.items }
    with: { capacity: 50, gamma: 1.0 }
  policy:
    use: rl.ppo
    inputs: { world: world.world, memory: memory.memory }
    with: { n_iterations: 6, episodes_per_update: 8, bc_coef: 0.0, entropy_by: advantage, shaping: { capacity: 60 } }
  score:
    use: evaluate
    inputs: { world: world.world, train: log.interactions, policies: { ppo: policy.policy } }
    with: { n_resamples: 200, leakage_check: label, baselines: { seeds: 1, n_iterations: 2 } }
  report: { use: report, inputs: { metrics: score.metrics, curves: [policy.curves] } }
";

#[test]
fn a_memory_is_shown_by_titles_and_its_weight_is_drawn() {
    let project = Project::new().config(EXPERIMENT);
    project.ok(&["run", "x.yaml"]);
    let rows = |filter: &str| {
        let found = project.ok(&["inspect", "memory.memory", "--filter", filter, "--format", "ndjson"]).stdout;
        found.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let counts = ["kind = 'subgoal'", "kind = 'trajectory'", "kind = 'item'"].map(|filter| rows(filter).len());
    assert_eq!(counts, [3, 50, 60]);
    let nodes = rows("kind = 'trajectory' and source = 'demonstrations' and value > 0");
    assert_eq!(nodes.len(), 50, "the best are kept");
    let node: serde_json::Value = serde_json::from_str(&nodes[0]).unwrap();
    let (name, genre) = (node["name"].as_str().unwrap(), node["tags"][0].as_str().unwrap());
    assert!(name.starts_with(genre), "a title of the toy log begins with its genre: {node}");
    let page = std::fs::read_to_string(project.path("artifacts/memory/report/page.html")).unwrap();
    for part in [
        "policy · shaping_ratio",
        "Learning curve: policy · memory_nodes",
        "what a memory adds to the advantage",
        "policy · entropy_bonus",
    ] {
        assert!(page.contains(part), "`{part}` is missing");
    }
}

#[test]
fn a_memory_that_is_missing_or_of_another_world_is_refused_with_what_to_do() {
    let without = EXPERIMENT.replace("world: world.world, memory: memory.memory", "world: world.world");
    Project::new()
        .config(&without)
        .run(&["plan", "x.yaml"])
        .says(&["no input `memory`, which `shaping` requires", "connect the memory of a `memory_graph` stage"]);
    let typo = EXPERIMENT.replace("capacity: 60", "capasity: 60");
    Project::new().config(&typo).run(&["plan", "x.yaml"]).says(&["capasity", "capacity"]);
    let small = EXPERIMENT.replace("capacity: 60", "capacity: 40");
    Project::new()
        .config(&small)
        .run(&["run", "x.yaml", "policy"])
        .says(&["the memory has 50 nodes, and `shaping.capacity` is 40", "help:"]);
}
