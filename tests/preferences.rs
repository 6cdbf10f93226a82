//! Learning from good and bad sessions: recorded or played, in groups and in pairs, with the control.

use std::fs;

use crate::project::Project;

const EXPERIMENT: &str = "\
name: sessions
assets:
  toy: { from: [{ generate: toy-log }] }
stages:
  log: { use: ingest.recbole, with: { asset: toy, title: movie_title, genres: class, year: release_year } }
  world:
    use: world.bias
    inputs: { interactions: log.interactions, items: log.items, users: log.users }
    with: { simulator: { horizon: 6, quit_window: 2 } }
  sessions: { use: demonstrate.from_log, inputs: { interactions: log.interactions }, with: { max_episode_length: 4 } }
  permuted: { use: demonstrate.permute_returns, inputs: { demonstrations: sessions.demonstrations } }
  copied:
    use: rl.bc
    inputs: { world: world.world, demonstrations: sessions.demonstrations }
    with: { n_epochs: 3 }
  compared:
    use: rl.group
    sweep: { loss: [grpo, nft] }
    inputs: { world: world.world, demonstrations: sessions.demonstrations, reference: copied.policy }
    with: { from: demonstrations, n_iterations: 5 }
  preferred:
    use: rl.dpo
    inputs: { world: world.world, demonstrations: permuted.demonstrations, reference: copied.policy }
    with: { n_gradient_steps: 30, batch_size: 4 }
  played: { use: rl.group, inputs: { world: world.world, init: copied.policy }, with: { n_iterations: 3, users_per_update: 4, group_size: 4 } }
";

#[test]
fn sessions_are_compared_and_the_policies_are_served() {
    let project = Project::new().config(EXPERIMENT);
    let told = project.ok(&["run", "x.yaml"]).stderr;
    for note in ["sessions with another return", "groups without a better session", "held out"] {
        assert!(told.contains(note), "no `{note}` in\n{told}");
    }
    for policy in ["compared@loss=grpo", "compared@loss=nft", "preferred", "played"] {
        let served = project.ok(&["recommend", policy, "--user", "1", "--count", "3"]).stdout;
        assert!(served.lines().count() >= 3, "{policy}: {served}");
        let origin = project.ok(&["inspect", &format!("{policy}.policy")]).stdout;
        assert!(!origin.contains("untrained"), "{policy} learned something\n{origin}");
    }
    let series = |output: &str| project.ok(&["inspect", output, "--format", "csv", "--columns", "series"]).stdout;
    assert!(
        series("played.curves").contains("groups_dropped")
            && series("preferred.curves").contains("heldout_pair_accuracy")
    );
    // The control keeps everything but the rewards, and another seed is another permutation.
    let column =
        |output: &str, column: &str| project.ok(&["inspect", output, "--format", "csv", "--columns", column]).stdout;
    let both = ["sessions.demonstrations", "permuted.demonstrations"];
    assert_eq!(column(both[0], "user,item,end"), column(both[1], "user,item,end"));
    assert_ne!(column(both[0], "reward"), column(both[1], "reward"));
    let bytes = || fs::read(project.path("artifacts/sessions/permuted/demonstrations.arrow")).unwrap();
    let before = bytes();
    project.ok(&["run", "x.yaml", "permuted", "--set", "stages.permuted.with.seed=1"]);
    assert_ne!(bytes(), before);
}

#[test]
fn wrong_wirings_are_refused_before_anything_runs() {
    let refused = |from: &str, to: &str, says: &[&str]| {
        assert!(EXPERIMENT.contains(from), "{from}");
        Project::new().config(&EXPERIMENT.replace(from, to)).run(&["run", "x.yaml"]).ends_with(2).says(says);
    };
    let compared =
        "demonstrations: sessions.demonstrations, reference: copied.policy }\n    with: { from: demonstrations,";
    refused(
        compared,
        "demonstrations: sessions.demonstrations }\n    with: { from: demonstrations,",
        &["reference", "π_old"],
    );
    refused(compared, "reference: copied.policy }\n    with: { from: demonstrations,", &["demonstrations", "help: "]);
    refused("from: demonstrations, n_it", "n_it", &["sessions are played in the world", "set `from: demonstrations`"]);
    refused("init: copied.policy", "reference: copied.policy", &["kl.coef"]);
    refused("loss: [grpo, nft]", "loss: [grpo, ntf]", &["`ntf`", "nft"]);
    refused("n_gradient_steps: 30, batch_size: 4", "beta: 0", &["beta", "above 0"]);
}
