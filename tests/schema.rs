//! `configs/schema.json`, which editors use, is what this program prints.

use std::fs;

use crate::project::{Project, repository};

#[test]
fn the_committed_schema_is_current() {
    let printed = Project::new().ok(&["schema"]).stdout;
    let committed = fs::read_to_string(repository().join("configs/schema.json")).unwrap_or_default();
    assert!(
        printed == committed,
        "configs/schema.json is out of date; write it with\n  cargo run --release --locked -- schema > configs/schema.json"
    );
}

#[test]
fn every_committed_experiment_and_the_starter_can_be_planned() {
    let configs = fs::read_dir(repository().join("configs")).unwrap().map(|entry| entry.unwrap().path());
    let experiments: Vec<_> = configs.filter(|path| path.extension().is_some_and(|found| found == "yaml")).collect();
    assert!(experiments.len() >= 2);
    let project = Project::new();
    for path in experiments {
        project.ok(&["plan", path.to_str().unwrap()]).prints(&["stages: "]);
    }
    project.ok(&["init", "mine.yaml"]).says(&["wrote `mine.yaml`; run it with `apprentice run mine.yaml`"]);
    project.ok(&["plan", "mine.yaml", "--json"]).prints(&["\"experiment\": \"mine\""]);
    let text = fs::read_to_string(project.path("mine.yaml")).unwrap();
    // What is about MovieLens is marked: the asset, its columns and counts, the order of its rows, two nouns, the title.
    assert!(text.contains("the lines marked with `←`") && text.matches('←').count() == 11, "{text}");
    project.run(&["init", "mine.yaml"]).ends_with(2).says(&["mine.yaml"]);
}
