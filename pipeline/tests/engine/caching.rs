//! What runs again, what does not, and why.

use std::fs;

use crate::project::{Project, SUM};

#[test]
fn the_second_run_is_all_hits_and_says_so() {
    let project = Project::new(SUM);
    assert_eq!(project.ran("").len(), 5);
    let again = project.ok("run x.yaml");
    assert!(again.starts_with("5 stages: 5 hits in "), "{again}");
    assert!(again.ends_with("report: artifacts/sum/page/page-as-run.html\n"), "{again}");
    assert_eq!(
        fs::read_to_string(project.path("artifacts/sum/page/page.html")).unwrap(),
        "<ul>\n<li>total@ 6</li>\n</ul>\n"
    );
    let folder = project.count("scratch");
    assert_eq!(folder, 0, "scratch folders and locks are gone");
}

#[test]
fn a_changed_field_is_told_from_old_to_new_and_runs_only_what_depends_on_it() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let set = "--set stages.sum.with.plus=4";
    assert_eq!(project.plan("sum", set), "run: plus 3.0 → 4.0");
    assert_eq!(project.plan("a", set), "hit: ");
    assert_eq!(project.plan("round", set), "after: for sum, which will run: plus 3.0 → 4.0");
    let talk = project.run("run x.yaml --set stages.sum.with.plus=4").stderr;
    assert!(talk.contains("sum runs: plus 3.0 → 4.0\n"), "{talk}");
    assert!(talk.contains("round runs: input value changed: "), "{talk}");
    assert!(!talk.contains("a runs") && !talk.contains("b runs"), "{talk}");
    assert_eq!(project.plan("round", &format!("{set} --set stages.round.with.to=2")), "run: to 1.0 → 2.0");
}

#[test]
fn equal_content_cuts_the_rest_off() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    // 6.2 becomes 6.3, which rounds alike.
    assert_eq!(project.ran("--set stages.a.with.value=1.3"), ["a", "round", "sum"]);
    // Back to a value that the store knows.
    assert!(project.ran("").is_empty());
}

#[test]
fn a_field_outside_the_key_and_new_names_run_nothing() {
    let assets = "name: n\nassets:\n  ASSET: { from: [{ generate: seven }] }\nstages:\n  STAGE: { use: toy.number, with: { asset: ASSET, label: LABEL } }\n  page: { use: toy.page, inputs: { values: { x: STAGE.value } } }\n";
    let named = |asset: &str, stage: &str, label: &str| {
        assets.replace("ASSET", asset).replace("STAGE", stage).replace("LABEL", label)
    };
    let project = Project::new(&named("seven", "one", "l"));
    assert_eq!(project.ran(""), ["one", "page"]);
    assert_eq!(fs::read_to_string(project.path("artifacts/n/one/value.txt")).unwrap(), "7\n");
    // The label equals the name of the asset: it is still no asset.
    for (asset, stage, label) in [("seven", "one", "other"), ("sieben", "one", "sieben"), ("seven", "two", "l")] {
        project.write("x.yaml", &named(asset, stage, label));
        assert!(project.ran("").is_empty(), "{asset} {stage} {label}");
    }
}

#[test]
fn another_content_of_an_asset_is_told_by_name() {
    let project = Project::new(
        "name: n\nassets:\n  num: { from: [{ path: num.txt }] }\nstages:\n  one: { use: toy.number, with: { asset: num } }\n",
    );
    project.write("num.txt", "5");
    project.ok("run x.yaml");
    project.write("num.txt", "6");
    assert_eq!(project.plan("one", ""), "run: the content of asset num changed");
}

#[test]
fn a_name_that_the_stage_sees_is_in_the_key() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    project.write("x.yaml", &SUM.replace("total:", "whole:"));
    assert!(project.plan("page", "").starts_with("run: input values changed: total "));
    assert_eq!(project.ran(""), ["page"]);
}

#[test]
fn cells_of_a_sweep_are_cached_one_by_one() {
    let sweep = "name: s\nstages:\n  a: { use: toy.number, sweep: { value: [1, 2] } }\n  page: { use: toy.page, inputs: { values: a.value } }\n";
    let project = Project::new(sweep);
    assert_eq!(project.ran(""), ["a@value=1", "a@value=2", "page"]);
    project.write("x.yaml", &sweep.replace("[1, 2]", "[1, 2, 3]"));
    assert_eq!(project.ran(""), ["a@value=3", "page"]);
    assert_eq!(project.statuses("a@value=2").into_keys().collect::<Vec<_>>(), ["a@value=2"]);
    let page = fs::read_to_string(project.path("artifacts/s/page/page.html")).unwrap();
    assert!(page.contains("<li>a@value=3 3</li>"), "{page}");
}

#[test]
fn force_runs_again_and_equal_bytes_stop_there() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let before = project.objects();
    assert_eq!(project.plan("a", "--force a"), "run: forced");
    assert_eq!(project.ran("--force a"), ["a"]);
    assert_eq!(project.objects(), before);
    for command in ["run", "plan"] {
        let refused = project.run(&format!("{command} x.yaml a --force page"));
        assert_eq!(refused.code, 2, "nobody chose it");
        assert!(refused.stderr.contains("`--force page`: the chosen stages do not need it"), "{refused:?}");
    }
}

#[test]
fn a_choice_of_stages_takes_what_they_need_along() {
    let project = Project::new(SUM);
    assert_eq!(project.ran("sum"), ["a", "b", "sum"]);
}

#[test]
fn equal_objects_on_any_number_of_threads_and_jobs() {
    let objects = |args: &str| {
        let project = Project::new(SUM);
        project.ok(&format!("run x.yaml {args}"));
        project.objects()
    };
    assert_eq!(objects("--threads 1 -j 1"), objects("--threads 3 -j 3"));
}

#[test]
fn a_change_above_a_hit_is_named_where_it_matters() {
    let project = Project::new(SUM);
    // What `a` gives for 8 is there; what `sum` makes of it is not; and the last results are those of the file again.
    project.ok("run x.yaml a --set stages.a.with.value=8");
    project.ok("run x.yaml");
    let plan = project.ok("plan x.yaml sum --set stages.a.with.value=8");
    assert!(plan.contains("a    hit\n"), "{plan}");
    assert!(plan.contains("first cause: a, value 1.2 → 8.0"), "{plan}");
    assert!(!project.ok("plan x.yaml sum --set stages.sum.with.plus=9").contains("first cause"));
}
