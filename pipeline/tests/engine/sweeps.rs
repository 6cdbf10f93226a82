//! Cells of sweeps: names, products, following, collecting, choosing, failing.

use std::fs;

use serde_json::Value;

use crate::project::Project;

const SWEEP: &str = "\
name: sweep
stages:
  a: { use: toy.number, sweep: { value: [1, 2.5] } }
  sum: { use: toy.add, inputs: { a: a.value }, sweep: { plus: [0, 100] } }
  round: { use: toy.round, inputs: { value: sum.value } }
  page: { use: toy.page, inputs: { values: { total: round.value } } }
";

#[test]
fn a_product_is_followed_cell_by_cell_and_collected() {
    let project = Project::new(SWEEP);
    let cells = ["value=1,plus=0", "value=1,plus=100", "value=2.5,plus=0", "value=2.5,plus=100"];
    let ran = project.ran("");
    assert_eq!(ran.len(), 11, "{ran:?}");
    for (cell, value) in cells.iter().zip(["1\n", "101\n", "2.5\n", "102.5\n"]) {
        assert!(ran.contains(&format!("round@{cell}")), "{ran:?}");
        let view = project.path("artifacts/sweep").join(format!("sum@{cell}/value.txt"));
        assert_eq!(fs::read_to_string(view).unwrap(), value);
    }
    let page = fs::read_to_string(project.path("artifacts/sweep/page/page.html")).unwrap();
    let rows: String =
        cells.iter().zip([1, 101, 3, 103]).map(|(cell, value)| format!("<li>total@{cell} {value}</li>\n")).collect();
    assert_eq!(page, format!("<ul>\n{rows}</ul>\n"));
}

#[test]
fn cells_are_chosen_by_any_of_their_coordinates() {
    let project = Project::new(SWEEP);
    assert_eq!(project.ran("sum@value=2.5,plus=0"), ["a@value=2.5", "sum@value=2.5,plus=0"]);
    assert_eq!(project.ran("sum@plus=0"), ["a@value=1", "sum@value=1,plus=0"]);
    assert_eq!(project.ran("sum@plus=100,value=1"), ["sum@value=1,plus=100"]);
    assert_eq!(project.ran("sum"), ["sum@value=2.5,plus=100"]);
    assert_eq!(project.ran("sum --force sum@value=1"), ["sum@value=1,plus=0", "sum@value=1,plus=100"]);
    let wrong = project.run("run x.yaml sum@plus=7");
    assert_eq!(wrong.code, 2);
    assert!(wrong.stderr.contains("has no cell `sum@plus=7`\nhelp: "), "{}", wrong.stderr);
}

#[test]
fn a_new_cell_runs_what_is_new_and_is_told_before() {
    let project = Project::new(SWEEP);
    project.ok("run x.yaml");
    let set = "--set stages.sum.sweep.plus=[0,7]";
    assert_eq!(project.plan("sum@value=1,plus=7", set), "run: it has no result yet");
    let page = project.plan("page", set);
    assert!(page.starts_with("after: input values changed: total@value=1,plus=100 "), "{page}");
    assert!(
        page.contains(" → total@value=1,plus=7 to be made, total@value=2.5,plus=7 to be made, after round ×2"),
        "{page}"
    );
    let ran = project.ran(set);
    assert_eq!(ran.len(), 5, "{ran:?}");
}

#[test]
fn one_value_of_a_swept_field_cannot_be_set() {
    let project = Project::new(SWEEP);
    let wrong = project.run("plan x.yaml --set stages.sum.with.plus=3");
    assert_eq!(wrong.code, 2);
    let wanted =
        ["`plus` is swept, so one value of it cannot be set", "--set:1:22", "--set stages.STAGE.sweep.plus=[ … ]"];
    for part in wanted {
        assert!(wrong.stderr.contains(part), "{}", wrong.stderr);
    }
}

#[test]
fn keep_going_finishes_the_other_cells_and_lists_what_failed_and_what_did_not_begin() {
    let project = Project::new(
        "name: f\nstages:\n  bad: { use: toy.fail, sweep: { how: [error, panic, no] } }\n  round: { use: toy.round, inputs: { value: bad.value } }\n  page: { use: toy.page, inputs: { values: round.value } }\n",
    );
    let ended = project.run("run x.yaml --keep-going");
    assert_eq!(ended.code, 8);
    for part in [
        "7 stages: 2 ran, 2 failed, 3 not started in ",
        "error: stage `bad@how=error` failed: read the ratings: row 7",
        "error: stage `bad@how=panic` failed: it panicked",
        "not started, because their inputs failed: round@how=error, round@how=panic, page\n",
    ] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    let json = project.run("run x.yaml --keep-going --json").stdout;
    let last: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["status"], &last["hits"]), (&"run_ended".into(), &"partial".into(), &2.into()));
    assert_eq!(last["failures"].as_array().unwrap().len(), 2);
    assert_eq!(last["not_begun"], serde_json::json!(["round@how=error", "round@how=panic", "page"]));
    // Mended, only what had not been finished runs.
    assert_eq!(project.ran("--set stages.bad.sweep.how=[no]"), ["page"]);
}
