//! The smoke experiment from end to end: run, served again, changed.

use std::fs;

use serde_json::Value;

use crate::project::{Project, text};

#[test]
fn the_whole_route_runs_and_a_second_run_is_served_at_once() {
    let project = Project::smoke();
    let first = project
        .ok(&["run", "x.yaml"])
        .prints(&["13 stages: 13 ran in ", "report: artifacts/smoke/report/page-as-run.html"]);
    assert!(first.stderr.contains("800 interactions, 40 users, 60 items"), "{}", first.stderr);
    assert_eq!(project.files("scratch").len(), 0);

    let page = fs::read_to_string(project.path("artifacts/smoke/report/page.html")).unwrap();
    for row in ["random", "popular", "oracle", "retriever", "a2c", "bc"] {
        assert!(page.contains(row), "no row {row}");
    }
    // Self-contained: nothing is fetched when it is opened.
    for fetching in ["<link rel=\"stylesheet", "<script src", "<img src=\"http", "@import", "url(http"] {
        assert!(!page.contains(fetching), "{fetching}");
    }

    project.ok(&["run", "x.yaml"]).prints(&["13 stages: 13 hits in "]);
    project.ok(&["plan", "x.yaml", "--check"]).prints(&["13 stages: 13 hits"]);
    let seconds = |_| project.ok(&["run", "x.yaml", "--json"]).events().last().unwrap()["seconds"].as_f64().unwrap();
    // The quickest of three: this machine may have other work.
    let quickest = (0..3).map(seconds).fold(f64::INFINITY, f64::min);
    assert!(quickest < 0.3, "{quickest} s");
}

#[test]
fn a_change_runs_its_stage_and_what_depends_on_it_and_says_from_what_to_what() {
    let project = Project::smoke();
    project.ok(&["run", "x.yaml", "-q"]);
    let changed = ["--set", "stages.bc.with.n_epochs=11"];
    let plan = project.run(&["plan", "x.yaml", "--check", changed[0], changed[1]]).ends_with(3);
    let rows = ["policy@seed=1 hit", "score waits for bc, which will run: n_epochs 10 → 11"];
    for row in ["bc will run: n_epochs 10 → 11"].iter().chain(&rows) {
        assert!(
            plan.stdout.lines().any(|line| line.split_whitespace().eq(row.split_whitespace())),
            "{row}\n{}",
            plan.stdout
        );
    }
    project.ok(&["explain", "x.yaml", "bc", changed[0], changed[1]]).prints(&["n_epochs 10 → 11"]);
    let run = project.ok(&["run", "x.yaml", changed[0], changed[1]]);
    run.prints(&["13 stages: 10 hits, 3 ran in "]).says(&[
        "bc runs: n_epochs 10 → 11\n",
        "score runs: input policies changed: bc ",
        "report runs: input metrics changed: ",
    ]);
    // And back: what was made before is still there.
    project.ok(&["run", "x.yaml"]).prints(&["13 stages: 13 hits"]);
}

#[test]
fn what_gives_the_same_bytes_again_makes_nothing_else_run() {
    let project = Project::smoke();
    project.ok(&["run", "x.yaml", "-q"]);
    let again = project.ok(&["run", "x.yaml", "--json", "--force", "world", "--force", "policy"]);
    assert_eq!(again.stages("ran"), ["policy@seed=0", "policy@seed=1", "world"]);
    // How often a state is saved is no part of what comes out.
    let set = ["--set", "stages.policy.with.checkpoint_every=7"];
    project.ok(&["run", "x.yaml", set[0], set[1]]).prints(&["13 stages: 13 hits"]);
}

#[test]
fn the_events_tell_the_whole_run() {
    let project = Project::smoke();
    let run = project.ok(&["run", "x.yaml", "--json"]);
    let events = run.events();
    let is = |name: &'static str| move |event: &&Value| event["event"] == name;
    assert!(events.iter().all(|event| event["schema_version"] == 1));
    assert_eq!((&events[0]["event"], &events[0]["stages"]), (&"run_started".into(), &13.into()));
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["status"], &last["ran"]), (&"run_ended".into(), &"ok".into(), &13.into()));
    let mut started: Vec<String> =
        events.iter().filter(is("stage_started")).map(|event| text(&event["stage"])).collect();
    started.sort();
    assert_eq!(started, run.stages("ran"));
    let read = events.iter().filter(is("note")).find(|event| event["name"] == "read").unwrap();
    assert_eq!(read["value"], "800 interactions, 40 users, 60 items");
    assert!(events.iter().filter(is("progress")).any(|event| event["stage"] == "demos" && event["total"].is_u64()));
    // Nothing that may take minutes is silent, also after the last epoch and the last episode.
    let ends = |stage: &str, label: &str| {
        let mut moved = events.iter().filter(is("progress"));
        let last = moved.rfind(|event| event["stage"] == stage && event["label"] == label);
        last.is_some_and(|event| event["total"].is_u64() && event["done"] == event["total"])
    };
    for label in ["fit", "complete", "distances", "vectors"] {
        assert!(ends("world", label), "the world tells nothing of `{label}`");
    }
    assert!(ends("score", "intervals"), "the evaluation tells nothing of `intervals`");

    // The run's own record holds the same story.
    let id = text(&last["run"]);
    project.ok(&["runs"]).prints(&[&id]);
    let record = fs::read_to_string(project.path("artifacts/store/runs").join(&id).join("events.jsonl")).unwrap();
    let ended = record.lines().filter(|line| serde_json::from_str::<Value>(line).unwrap()["event"] == "stage_ended");
    assert_eq!(ended.count(), 13);
}

/// The experiment leaves out optional inputs, such as `item_scores` and `item_vectors` of the worlds.
#[test]
fn an_optional_input_that_is_not_connected_is_no_part_of_a_key() {
    let project = Project::smoke();
    project.ok(&["run", "x.yaml", "-q"]);
    for (output, connected) in [
        ("world.world", &["interactions", "items", "users", "holdout"][..]),
        ("evaluation.world", &["interactions", "items", "users", "distances"]),
        ("demos.demonstrations", &["world", "items", "train", "candidates"]),
        ("reward.reward", &["world", "demonstrations"]),
        ("policy@seed=0.policy", &["world", "reward", "demonstrations", "weights"]),
    ] {
        let result = project.ok(&["inspect", output, "--json"]).json();
        let ports = result["provenance"]["inputs"].as_array().unwrap().iter().map(|input| text(&input["port"]));
        assert_eq!(ports.collect::<Vec<_>>(), connected, "{output}");
    }
}
