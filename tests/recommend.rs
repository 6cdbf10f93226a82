//! A trained policy answers, by name and in batches.

use std::fs;

use serde_json::Value;

use crate::project::{Project, text};

#[test]
fn a_policy_answers_one_user_and_many_alike() {
    let project = Project::smoke();
    project.ok(&["run", "x.yaml", "-q"]);
    let asked = ["recommend", "policy@seed=0", "--user", "3", "--history", "7", "--history", "Drama 2", "-n", "4"];
    let asked = [&asked[..], &["--exclude-history"]].concat();
    let answer = project.ok(&[&asked[..], &["--json"]].concat()).json()["answer"].clone();
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items.len(), 4);
    assert!(items.iter().all(|item| item["id"] != "7" && item["id"] != "2"), "what was shown is not shown again");
    let scores: Vec<f64> = items.iter().map(|item| item["score"].as_f64().unwrap()).collect();
    assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]), "{scores:?}");
    project.ok(&asked).prints(&["1.", &text(&items[0]["title"]), "4.", &text(&items[3]["title"])]);

    let view = "artifacts/smoke/policy@seed=0/policy.safetensors";
    let lines = "\u{feff}{\"user\": 3, \"history\": [7, \"2\"]}\n\n{\"user\": \"4\"}\n";
    let project = project.file("people.ndjson", lines);
    let batch = project.ok(&["recommend", view, "--batch", "people.ndjson", "-n", "4", "--exclude-history"]);
    let batch = batch.says(&["2 answers in", "µs each"]);
    let first: Value = serde_json::from_str(batch.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(first, answer, "a batch says what one question says");
    assert_eq!(batch.stdout.lines().count(), 2);
}

#[test]
fn it_is_said_once_that_a_newer_run_has_no_such_policy() {
    let project = Project::smoke();
    project.ok(&["run", "x.yaml", "policy@seed=0", "-q"]);
    let other = fs::read_to_string(project.path("x.yaml")).unwrap().replace("name: smoke", "name: other");
    let project = project.file("other.yaml", &other);
    project.ok(&["run", "other.yaml", "log", "-q"]);
    let answer = project.ok(&["recommend", "policy@seed=0", "--user", "3"]);
    assert_eq!(answer.stderr.matches("is the newest that has it").count(), 1, "{}", answer.stderr);
}

#[test]
fn what_cannot_be_answered_is_named() {
    let project = Project::smoke()
        .file("bad.ndjson", "{\"user\": \"3\"}\n{\"usr\": \"3\"}\n")
        .file("who.ndjson", "{\"user\": \"3\"}\n\n{\"user\": \"x\"}\n")
        .file("text.ndjson", "\"3\"\n")
        .file("what.ndjson", "{\"user\": \"3\", \"history\": [\"Heat\"]}\n")
        .file("earned.ndjson", "{\"user\": \"3\", \"history\": [\"7\"], \"rewards\": [1e39]}\n");
    project.ok(&["run", "x.yaml", "-q"]);
    let policy = "policy@seed=0.policy";
    let wrong = |args: &[&str], parts: &[&str]| {
        project.run(&[&["recommend"], args].concat()).ends_with(2).says(parts);
    };
    wrong(&[policy, "--user", "x"], &["no user \"x\"", "help: it knows the 40 users"]);
    wrong(&[policy, "--user", "3", "--history", "Heat"], &["no item \"Heat\"", "help: "]);
    wrong(&[policy, "--batch", "bad.ndjson"], &["bad.ndjson:2: unknown field `usr`", "help: each line is an object"]);
    wrong(
        &[policy, "--batch", "text.ndjson"],
        &["text.ndjson:1: ", "expected an object", "help: each line is an object"],
    );
    wrong(&[policy, "--batch", "who.ndjson"], &["who.ndjson:3: the policy knows no user \"x\"", "help: it knows"]);
    wrong(&[policy, "--batch", "what.ndjson"], &["what.ndjson:1: the policy's catalogue has no item \"Heat\""]);
    wrong(&[policy, "--batch", "earned.ndjson"], &["earned.ndjson:1: a reward is not a finite number"]);
    wrong(&[policy, "--user", "3", "-n", "0"], &["wanted a whole number from 1"]);
    wrong(&[policy, "--user", "3", "--history", "7", "--reward", "nan"], &["wanted a finite number"]);
    wrong(&[policy, "--batch", "none.ndjson"], &["cannot read `none.ndjson`"]);
    wrong(&["policy", "--user", "3"], &["`policy` was swept", "policy@seed=0"]);
    wrong(&["score.metrics", "--user", "3"], &["is of kind `metrics`, not a policy"]);
    wrong(&["last", "--user", "3"], &["is a run, not a policy"]);
    wrong(&[policy], &["--user", "--batch"]);
    wrong(&[policy, "--user", "x"], &["`--new-user` answers anybody"]);
    wrong(&[policy, "--user", "3", "--exclude", "Heat"], &["no item \"Heat\""]);
    wrong(&[policy, "--user", "3", "--batch", "bad.ndjson"], &["cannot be used with"]);
}

#[test]
fn somebody_new_is_answered_from_the_history() {
    let lines = "{\"history\": [7]}\n{\"user\": \"x\", \"history\": [7], \"candidates\": [1, 2], \"top_k\": 1}\n";
    let project = Project::smoke().file("new.ndjson", lines);
    project.ok(&["run", "x.yaml", "-q"]);
    let policy = "policy@seed=0.policy";
    let asked = ["recommend", policy, "--new-user", "--history", "7", "-n", "4"];
    project.ok(&asked).says(&["a new user: answered from the history alone"]);
    let answer = project.ok(&[&asked[..], &["--json"]].concat()).json()["answer"].clone();
    assert_eq!((&answer["new_user"], &answer["user"]), (&Value::Bool(true), &Value::Null));
    let unknown =
        project.ok(&["recommend", policy, "--new-user", "--user", "x", "--history", "7", "-n", "4", "--json"]);
    assert_eq!(unknown.json()["answer"]["items"], answer["items"]);
    let batch = project.ok(&["recommend", policy, "--batch", "new.ndjson", "--new-user", "-n", "4"]);
    let answers: Vec<Value> = batch.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers[0], answer);
    assert_eq!(answers[1]["items"].as_array().unwrap().len(), 1);
    let known = project.ok(&["recommend", policy, "--user", "3", "--json"]).json();
    assert_eq!(known["answer"]["new_user"], Value::Null, "who is in the log is not marked");
}
