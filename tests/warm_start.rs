//! Trainings that begin from a policy or are held near one.

use std::fs;

use crate::project::Project;

const DEPLOYED: &str = "\
name: deployed
assets: { toy: { from: [{ generate: toy-log }] } }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title } }
  split: { use: split, inputs: { interactions: log.interactions } }
  world:
    use: world.mf
    inputs: { interactions: split.train, items: log.items, users: log.users }
    with: &small { n_factors: 4, n_epochs: 3, simulator: { horizon: 10, quit_window: 3, embedding_dim: 6 } }
  evaluation:
    use: world.mf
    inputs: { interactions: log.interactions, items: log.items, users: log.users, distances: world.world }
    with: *small
  shown: { use: demonstrate.from_log, inputs: { interactions: split.train }, with: { max_episode_length: 10 } }
  bc: { use: rl.bc, inputs: { world: world.world, demonstrations: shown.demonstrations }, with: { n_epochs: 3 } }
  tuned:
    use: rl.a2c
    inputs: { world: world.world, init: bc.policy }
    with: { n_iterations: 3, episodes_per_update: 8, bc_coef: 0.0 }
  mixed: { use: rl.mixture, inputs: { world: world.world, init: bc.policy }, with: { n_iterations: 3, episodes_per_update: 8 } }
  held:
    use: rl.sac
    inputs: { world: world.world, reference: bc.policy }
    with: { n_iterations: 3, episodes_per_update: 4, kl: { coef: 1.0 } }
  score:
    use: evaluate
    inputs:
      world: evaluation.world
      train: split.train
      training_world: world.world
      policies: { bc: bc.policy, tuned: tuned.policy, mixed: mixed.policy, held: held.policy }
    with: { n_resamples: 200, baselines: { seeds: 1, n_iterations: 2 } }
  report:
    use: report
    inputs: { metrics: score.metrics, curves: { tuned: tuned.curves, mixed: mixed.curves, held: held.curves } }
";

#[test]
fn a_policy_is_deployed_learns_on_and_its_early_regret_is_shown() {
    let project = Project::new().config(DEPLOYED);
    project.ok(&["run", "x.yaml"]);
    let page = fs::read_to_string(project.path("artifacts/deployed/report/page.html")).unwrap();
    for part in ["While learning", "early regret", "<th scope=\"row\">mixed</th>", "frozen_share", "reference_kl"] {
        assert!(page.contains(part), "no {part:?} on the page");
    }
    let header = |stage: &str| {
        let file = fs::read(project.path(&format!("artifacts/deployed/{stage}/policy.safetensors"))).unwrap();
        String::from_utf8_lossy(&file).contains("learned_in_before")
    };
    let told = ["bc", "tuned", "mixed", "held"].map(header);
    assert_eq!(told, [false, true, true, true], "a policy names the worlds of those behind it, and only then");
    let asked = ["recommend", "mixed", "--user", "3", "--history", "7", "-n", "4"];
    project.ok(&asked).prints(&["1.", "4."]);
    let bytes = project.objects();
    let other = Project::new().config(DEPLOYED);
    other.ok(&["run", "x.yaml", "--threads", "1"]);
    assert_eq!(other.objects(), bytes, "the number of threads changes nothing");
}

#[test]
fn what_does_not_fit_is_said_before_anything_runs() {
    let plan = |from: &str, to: &str| {
        assert!(DEPLOYED.contains(from));
        Project::new().config(&DEPLOYED.replace(from, to)).run(&["plan", "x.yaml"]).ends_with(2)
    };
    plan(", reference: bc.policy", "")
        .says(&["`held` has no input `reference`, which `kl.coef` requires", "help: connect a policy"]);
    plan(", kl: { coef: 1.0 }", "").says(&[
        "`held` has an input `reference`, which `kl.coef` leaves unused",
        "it is 0",
        "or remove the input",
    ]);
    plan("kl: { coef: 1.0 }", "kl: { coef: 1.0, floor: 0.0 }").says(&["kl.floor", "above 0"]);
    plan(
        ", init: bc.policy }\n    with: { n_iterations: 3, episodes_per_update: 8, bc",
        ", initial: bc.policy }\n    with: { n_iterations: 3, episodes_per_update: 8, bc",
    )
    .says(&["no input `initial`", "did you mean `init`?"]);
    plan("kl: { coef: 1.0 }", "kl: { coef: 1.0, final_coef: 2.0 }").says(&["kl.final_coef", "at most `coef`"]);
    // Values are no policy to begin from, and the experiment says so.
    let values =
        DEPLOYED.replace("bc: { use: rl.bc, ", "bc: { use: rl.cql, ").replace(", with: { n_epochs: 3 } }", " }");
    assert!(values.contains("rl.cql") && !values.contains("n_epochs: 3 } }\n  tuned"));
    Project::new().config(&values).run(&["plan", "x.yaml"]).ends_with(2).says(&[
        "`bc.policy` is made by rl.cql and has no place at `tuned.init`",
        "help: connect a policy of the same kind of learner",
    ]);
    // What a policy began from counts as what it learned from.
    let began = DEPLOYED
        .replace("{ use: rl.bc, inputs: { world: world.world,", "{ use: rl.bc, inputs: { world: evaluation.world,")
        .replace("bc: bc.policy, tuned: tuned.policy, mixed: mixed.policy, held: held.policy", "tuned: tuned.policy");
    Project::new()
        .config(&began)
        .run(&["plan", "x.yaml"])
        .ends_with(2)
        .says(&["`tuned.policy` was made with `evaluation.world`", "no policy may learn from the"]);
    let project = Project::new().config(DEPLOYED);
    let wide = "stages.tuned.with.network={ hidden_size: 32 }";
    project
        .run(&["run", "x.yaml", "tuned", "-q", "--set", wide])
        .ends_with(1)
        .says(&["has `hidden_size: 64`", "help: set `network: { hidden_size: 64 }`"]);
}
