//! The cap on memory.

use crate::project::Project;

/// `first` promises 1,000 rows; `second` needs 8,000 bytes a column, and `first` 4,000.
const FILL: &str = "name: m
stages:
  one: { use: toy.number, with: { value: 500 } }
  first: { use: toy.fill, inputs: { value: one.value }, with: { columns: 20000 } }
  second: { use: toy.fill, inputs: { value: first.value }, with: { columns: 100000 } }
";

#[test]
fn a_plan_says_need_and_cap_where_sizes_are_known() {
    let project = Project::new(FILL);
    let plan = project.ok("plan x.yaml --memory 1GiB");
    let line = |stage: &str| plan.lines().find(|line| line.starts_with(stage)).unwrap().to_owned();
    // What `one` gives is not known before it has run, and what `first` gives is promised.
    assert!(
        !line("first").contains("needs") && line("second").ends_with("; needs 762.9 MiB of at most 1.0 GiB"),
        "{plan}"
    );
    project.ok("run x.yaml one");
    let plan = project.ok("plan x.yaml --memory 1GiB");
    assert!(plan.contains("; needs 76.3 MiB of at most 1.0 GiB"), "{plan}");
    let rows: serde_json::Value = serde_json::from_str(&project.ok("plan x.yaml --memory 1GiB --json")).unwrap();
    assert_eq!(
        rows["stages"][1]["memory"],
        serde_json::json!({ "need": 80_000_000, "cap": 1 << 30, "help": "lower `columns`" })
    );
    assert!(rows["stages"][0].get("memory").is_none());
    let plan = project.ok("plan x.yaml --memory 50MiB");
    assert!(plan.contains("; needs 76.3 MiB, more than the 50.0 MiB: lower `columns`\n"), "{plan}");
}

#[test]
fn a_stage_beyond_the_cap_is_refused_before_anything_runs_with_what_to_lower() {
    let project = Project::new(FILL);
    let ended = project.run("run x.yaml --memory 500MiB");
    assert_eq!(ended.code, 9, "{ended:?}");
    let words = "error: stage `second`: its tables need 762.9 MiB, and the cap is 500.0 MiB (cells: 762.9 MiB)\n\
                 help: lower `columns`\nhelp: or raise the cap, as with `--memory 763MiB`";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    assert_eq!(project.count("entries"), 0);
    // What is known only when its input is there is refused then.
    let ended = project.run("run x.yaml first --memory 30MiB");
    assert_eq!(ended.code, 9, "{ended:?}");
    assert!(
        ended.stderr.contains("stage `first` failed: its tables need 76.3 MiB, and the cap is 30.0 MiB"),
        "{ended:?}"
    );
    assert_eq!(project.count("entries"), 1);
    assert_eq!(project.ran("--memory 1GiB"), ["first", "second"]);
    // A stored result needs no memory.
    project.ok("run x.yaml --memory 30MiB");
    assert!(project.run("run x.yaml --memory 8apples").stderr.contains("wanted a size such as `8GiB`"));
}

#[test]
fn a_table_beyond_the_cap_is_an_error_of_its_stage() {
    let project = Project::new(
        "name: t\nstages:\n  bad: { use: toy.fail, with: { how: table } }\n  good: { use: toy.number, with: { value: 1 } }\n",
    );
    let ended = project.run("run x.yaml --memory 32MiB -j 1 --keep-going");
    assert_eq!(ended.code, 8, "{ended:?}");
    let words = "stage `bad` failed: out of memory: the table `scores` of 64.0 MiB could not be had";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    assert_eq!(project.count("entries"), 1, "the other one goes on");
    assert_eq!(project.run("run x.yaml bad --memory 32MiB").code, 9);
    assert_eq!(project.ran("--memory 128MiB"), ["bad"]);
}
