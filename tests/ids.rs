//! Row numbers mean what the files say: a policy answers by id wherever it lies, is served as it was judged, and two readings
//! of one log in another order do not meet.

use std::fmt::Write as _;

use serde_json::Value;

use crate::project::{Project, text};

/// A log of 12 users and 20 items whose ids read like the row numbers of others; backwards, every id is in another row.
fn log(backwards: bool) -> String {
    let mut rows: Vec<String> = Vec::new();
    for user in 0..12 {
        for turn in 0..10 {
            let item = (user * 7 + turn * 3) % 20;
            let rating = 1 + (user * item + turn) % 5;
            rows.push(format!("{},{},{rating},{}", 11 - user, 19 - item, 1000 + turn));
        }
    }
    if backwards {
        rows.reverse();
    }
    format!("who,what,stars,at\n{}\n", rows.join("\n"))
}

/// A policy that learned of the log `one.csv`, evaluated in a world of the reading `evaluation`.
fn experiment(evaluation: &str) -> String {
    let mut yaml = "name: x\nassets:\n  logs: { from: [{ path: logs/ }] }\nstages:\n".to_owned();
    for (stage, file) in [("log", "one"), ("other", "two")] {
        let columns = "user: who, item: what, rating: stars, timestamp: { column: at }";
        let log = format!("log: {{ file: {file}.csv, {columns} }}");
        writeln!(yaml, "  {stage}: {{ use: ingest.table, with: {{ asset: logs, {log} }} }}").unwrap();
    }
    yaml += "  split: { use: split, inputs: { interactions: log.interactions } }
  world:
    use: world.mf
    inputs: { interactions: split.train, items: log.items, users: log.users }
    with: { n_factors: 2, n_epochs: 3, simulator: { horizon: 6, quit_window: 2, embedding_dim: 2 } }
  evaluation:
    use: world.bias
    inputs: { interactions: LOG.interactions, items: LOG.items, users: LOG.users }
    with: { simulator: { horizon: 6, quit_window: 2, embedding_dim: 2 } }
  policy:
    use: rl.a2c
    inputs: { world: world.world }
    with: { n_iterations: 3, episodes_per_update: 8, bc_coef: 0 }
  score:
    use: evaluate
    inputs: { world: evaluation.world, train: split.train, policies: { a2c: policy.policy }, training_world: world.world }
    with: { n_resamples: 100, exclude_history: true, baselines: { constant_reward: false } }
";
    yaml.replace("LOG", evaluation)
}

fn project(evaluation: &str) -> Project {
    Project::new().config(&experiment(evaluation)).file("logs/one.csv", &log(false)).file("logs/two.csv", &log(true))
}

/// The rows of an output.
fn rows(project: &Project, what: &[&str]) -> Vec<Value> {
    let lines = project.ok(&[&["inspect"], what, &["--format", "ndjson"]].concat()).stdout;
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_policy_file_answers_alike_wherever_it_lies() {
    let project = project("log");
    project.ok(&["run", "x.yaml", "policy", "-q"]);
    let asked = ["--user", "3", "--history", "7", "-n", "5", "--json"];
    let at_home = project.ok(&[&["recommend", "policy"], &asked[..]].concat()).json()["answer"].clone();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("p.safetensors");
    std::fs::copy(project.path("artifacts/x/policy/policy.safetensors"), &file).unwrap();
    let alone = Project::new();
    let ask = |more: &[&str]| {
        let args = [&["recommend", file.to_str().unwrap()], &asked[..], more].concat();
        alone.ok(&args).json()["answer"].clone()
    };
    assert_eq!(ask(&[]), at_home);
    // User `3` is in row 8, item `7` in row 4: asked for by row, the same answer is in rows.
    let ids: Vec<String> = at_home["items"].as_array().unwrap().iter().map(|item| text(&item["id"])).collect();
    let items = rows(&project, &["log.items"]);
    let row_of = |id: &String| {
        let place = items.iter().position(|row| row["id"] == id.as_str());
        place.unwrap_or_else(|| panic!("no {id} in {items:?}")).to_string()
    };
    let (user, item) = ("8", row_of(&"7".to_owned()));
    let args = ["recommend", file.to_str().unwrap(), "--user", user, "--history", &item, "-n", "5", "--rows", "--json"];
    let by_row = alone.ok(&args).json()["answer"].clone();
    let found: Vec<String> = by_row["items"].as_array().unwrap().iter().map(|item| text(&item["id"])).collect();
    assert_eq!(found, ids.iter().map(row_of).collect::<Vec<_>>());
    assert_ne!(found, ids, "or this test says nothing");
    alone.run(&["recommend", file.to_str().unwrap(), "--user", "12"]).ends_with(2).says(&["no user \"12\""]);
}

/// The policy is served greedily by the rule of its world, so an episode of the evaluation can be asked for turn by turn.
#[test]
fn what_is_judged_is_what_is_served() {
    let project = project("log");
    project.ok(&["run", "x.yaml", "-q"]);
    let ids = |port: &str| rows(&project, &[port]).iter().map(|row| text(&row["id"])).collect::<Vec<_>>();
    let (users, items) = (ids("log.users"), ids("log.items"));
    for (row, flag) in [("a2c", None), ("a2c without repeats", Some("--exclude-history"))] {
        let filter = format!("policy = '{row}' and user = 5");
        let played = rows(&project, &["score.steps", "--filter", &filter]);
        assert!(!played.is_empty(), "{row}");
        let mut history: Vec<String> = Vec::new();
        for step in played {
            let mut args = vec!["recommend", "policy", "--user", &users[5], "-n", "1", "--json"];
            history.iter().for_each(|item| args.extend(["--history", item]));
            args.extend(flag);
            let served = text(&project.ok(&args).json()["answer"]["items"][0]["id"]);
            let judged = &items[step["item"].as_u64().unwrap() as usize];
            assert_eq!(&served, judged, "{row} after {history:?}");
            history.push(served);
        }
    }
}

#[test]
fn two_readings_of_one_log_do_not_meet() {
    let project = project("other");
    project.ok(&["run", "x.yaml", "log", "other", "split", "-q"]);
    let parts = [
        "stage `score`: the inputs `world` (of evaluation) and `train` (of split) do not number the same items in the same order",
        "help: take both from one ingest stage",
    ];
    project.run(&["plan", "x.yaml"]).ends_with(2).says(&parts);
    project.run(&["run", "x.yaml"]).ends_with(2).says(&parts);
    assert!(project.files("entries").len() == 3, "nothing was trained for it");

    // Where nothing is made yet, the stage refuses.
    let fresh = self::project("other");
    fresh.run(&["run", "x.yaml"]).ends_with(1).says(&["stage `score` failed", "do not number the same items"]);
    // With the right evaluation world all is well.
    let right = self::project("log");
    right.ok(&["run", "x.yaml", "-q"]);
}
