//! Where stages train: said in the file or for once, recorded, and no part of a key. The toy's machine has one GPU.

use serde_json::Value;

use crate::project::Project;

const TRAINED: &str = "\
name: trained
stages:
  one: { use: toy.train, device: cuda, with: { value: 1 } }
  two: { use: toy.train, with: { value: 2 } }
  sum: { use: toy.add, inputs: { a: one.value, b: two.value } }
";

/// The nodes of the newest run by name.
fn node(project: &Project, name: &str) -> Value {
    let shown: Value = serde_json::from_str(&project.ok("runs last --json")).unwrap();
    let nodes = shown["run"]["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["stage"] == name).unwrap().clone()
}

#[test]
fn a_stage_trains_where_the_file_says_and_the_record_tells_where() {
    let project = Project::new(TRAINED);
    assert_eq!(project.ran(""), ["one", "sum", "two"]);
    assert_eq!(
        (&node(&project, "one")["device"], &node(&project, "one")["notes"]["device"]),
        (&"cuda:0".into(), &"cuda:0".into())
    );
    assert_eq!(
        (&node(&project, "two")["device"], &node(&project, "two")["notes"]["device"]),
        (&"cpu".into(), &"cpu".into())
    );
    assert_eq!(node(&project, "sum")["device"], Value::Null, "it trains nothing");
    let lineage = project.ok("inspect sum.value --lineage");
    assert_eq!(lineage.matches(", on cuda:0\n").count(), 1, "{lineage}");
}

#[test]
fn another_device_makes_nothing_anew_and_the_command_goes_before_the_file() {
    let project = Project::new(TRAINED);
    project.ok("run x.yaml --device cpu");
    assert_eq!(node(&project, "one")["device"], "cpu");
    assert!(project.ran("--device cuda").is_empty(), "no key knows of devices");
    assert_eq!(node(&project, "one")["device"], Value::Null, "it did not train in this run");
    assert_eq!(project.ran("--device cuda --force two"), ["two"]);
    assert_eq!(
        (&node(&project, "two")["device"], &node(&project, "two")["notes"]["device"]),
        (&"cuda:0".into(), &"cuda:0".into())
    );
}

#[test]
fn a_card_that_is_not_there_is_told_before_anything_runs() {
    let project = Project::new(TRAINED);
    let ended = project.run("run x.yaml --device cuda:3");
    assert_eq!(ended.code, 2);
    let output = "error: stage `one` is to train on `cuda:3`: there is no GPU 3\nhelp: there is one, `cuda:0`\n";
    assert_eq!(ended.stderr, output);
    assert!(project.runs().is_empty());
    // What is made already asks for no GPU.
    project.ok("run x.yaml");
    project.ok("run x.yaml --device cuda:3");
}

#[test]
fn a_device_that_is_none_is_refused_where_it_stands() {
    let wrong = TRAINED.replace("device: cuda", "device: gpu").replace("use: toy.add,", "use: toy.add, device: cuda,");
    let ended = Project::new(&wrong).run("plan x.yaml");
    assert_eq!(ended.code, 2);
    for part in [
        "there is no device `gpu`; it is `cpu`, `cuda` (the first GPU) or `cuda:1` (the second)",
        "toy.add trains nothing, so it has no device",
        "leave it out here; the stage kinds that train: `toy.train`",
        "x.yaml:3:34",
    ] {
        assert!(ended.stderr.contains(part), "`{part}` is missing in\n{}", ended.stderr);
    }
    let ended = Project::new(TRAINED).run("plan x.yaml --device gpu");
    assert!(ended.code == 2 && ended.stderr.contains("there is no device `gpu`"), "{}", ended.stderr);
}
