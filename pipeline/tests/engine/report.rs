//! The page of a run: what its stages made, together with what was run.

use std::fs;

use serde_json::Value;

use crate::project::{Project, SLOW, SUM};

#[test]
fn every_run_leaves_its_page_beside_the_view() {
    let project = Project::new(SUM);
    let ended = project.ok("run x.yaml");
    assert!(ended.ends_with(" · report: artifacts/sum/page/page-as-run.html\n"), "{ended}");
    let path = project.path("artifacts/sum/page/page-as-run.html");
    let first = fs::read_to_string(&path).unwrap();
    assert!(first.starts_with("<ul>\n<li>total@ 6</li>\n</ul>\n<p>apprentice run x.yaml on "), "{first}");
    let run = project.runs().pop().unwrap();
    assert!(first.contains(&format!("<!-- apprentice {run} ")), "{first}");

    // Another run puts its own in the place; what a person changed is kept.
    let events = project.run("run x.yaml --json").stdout;
    let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!(last["pages"], serde_json::json!(["artifacts/sum/page/page-as-run.html"]));
    assert_ne!(fs::read_to_string(&path).unwrap(), first);
    assert!(!path.with_file_name("page-as-run.html.kept").exists(), "what a run left is no one's work");
    fs::write(&path, "my own").unwrap();
    let ended = project.run("run x.yaml");
    assert!(
        ended.stderr.contains("changed by hand; it is kept as `artifacts/sum/page/page-as-run.html.kept`"),
        "{}",
        ended.stderr
    );
    assert_eq!(fs::read_to_string(path.with_file_name("page-as-run.html.kept")).unwrap(), "my own");
}

#[test]
fn runs_are_told_in_every_form() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    project.ok("run x.yaml --set stages.a.with.value=5");
    let runs = project.runs();
    assert!(project.ok("report").contains("<li>total@ 10</li>"));
    assert!(project.ok(&format!("report {}", runs[0])).contains("<li>total@ 6</li>"));
    let both = project.ok("report last~1 last --format md");
    assert!(both.starts_with("md [") && both.contains(&runs[0]) && both.contains(&runs[1]), "{both}");
    assert!(project.ok("report --format csv").starts_with("csv ["));
    let json: Value = serde_json::from_str(&project.ok("report --json")).unwrap();
    assert_eq!((&json["schema_version"], json["rows"].as_array().unwrap().len()), (&1.into(), 4));
    let ended = project.run("report last~1 --html out/page.html");
    assert!(ended.code == 0 && ended.stdout.is_empty() && ended.stderr.contains("wrote `out/page.html`"), "{ended:?}");
    assert!(fs::read_to_string(project.path("out/page.html")).unwrap().contains("<li>total@ 6</li>"));
}

#[test]
fn what_cannot_be_told_is_said_with_the_way_out() {
    let project = Project::new("name: bare\nstages:\n  a: { use: toy.number, with: { value: 1 } }\n");
    let says = |args: &str, parts: &[&str]| {
        let ended = project.run(args);
        assert_eq!(ended.code, 2, "{ended:?}");
        for part in parts {
            assert!(ended.stderr.contains(part), "no {part:?} in {}", ended.stderr);
        }
    };
    says("report", &["no run is recorded in `artifacts`", "\nhelp: `apprentice run EXPERIMENT.yaml`"]);
    project.ok("run x.yaml");
    says("report", &["of bare made no page", "\nhelp: add a stage `use: report`"]);
    says("report 2019", &["there is no run `2019`", "\nhelp: `apprentice runs` lists them"]);
    says("report --format pdf", &["pdf", "html, md, csv"]);
    let page = "page: { use: toy.page, inputs: { values: { x: a.value } } }";
    let twice = format!("name: twice\nstages:\n  a: {{ use: toy.number }}\n  {page}\n  other_{page}\n");
    project.write("x.yaml", &twice);
    let ended = project.ok("run x.yaml");
    assert!(
        ended.contains("page/page-as-run.html · report: ") && ended.contains("other_page/page-as-run.html"),
        "{ended}"
    );
    says("report", &["made 2 pages", "\nhelp: choose one with `--page STAGE`: page, other_page"]);
    says("report --page x", &["made no page of that stage", "help: its pages are those of page, other_page"]);
    says("report --page page --format md", &["pages are HTML", "help: "]);
    assert!(project.ok("report --page other_page").contains("<li>x@ 0</li>"));
    fs::remove_dir_all(project.path("artifacts/store/objects")).unwrap();
    let ended = project.run("report --page page");
    assert!(ended.code == 1 && ended.stderr.contains("is damaged or lost\nhelp: "), "{ended:?}");
}

#[test]
fn of_a_run_that_failed_it_is_said_and_the_last_good_one_offered() {
    let project = Project::new(
        "name: f\nstages:\n  bad: { use: toy.fail, with: { how: error } }\n  page: { use: toy.page, inputs: { values: { x: bad.value } } }\n",
    );
    let ended = || {
        let ended = project.run("report last");
        assert!(ended.code == 2 && ended.stderr.contains("of f ended before it made a page\nhelp: run "), "{ended:?}");
        ended.stderr
    };
    assert_eq!(project.run("run x.yaml").code, 1);
    assert!(ended().contains("ended as `failed`; run the experiment again"), "{}", ended());
    project.ok("run x.yaml --set stages.bad.with.how=no");
    let good = project.runs().pop().unwrap();
    assert_eq!(project.run("run x.yaml").code, 1);
    assert!(
        ended().contains(&format!("ended as `failed`; `apprentice report {good}` shows the last one")),
        "{}",
        ended()
    );
}

#[test]
fn a_run_at_work_is_not_told_as_one_that_ended() {
    let page = "  page: { use: toy.page, inputs: { values: { x: after.value } } }\n";
    let project = Project::new(&format!("{SLOW}{page}"));
    let run = project.start_and_hold(2, "");
    for (args, what) in [("report", "page"), ("report --format md", "metrics"), ("report last last", "metrics")] {
        let ended = project.run(args);
        let begins = format!("of slow is still running and has made no {what} yet\nhelp: run ");
        let ends = " is still running; wait for its end: `apprentice runs` shows how far it is\n";
        assert!(ended.code == 2 && ended.stderr.contains(&begins) && ended.stderr.ends_with(ends), "{args}: {ended:?}");
    }
    run.kill();
    assert!(project.run("report").stderr.contains(" ended as `killed`; run the experiment again"));
}

#[test]
fn of_a_run_that_left_the_stage_out_it_is_said_how_to_run_it() {
    let project = Project::new(SUM);
    project.ok("run x.yaml sum");
    let ended = project.run("report");
    let wanted = "of sum made no page: it did not include `page`\nhelp: `apprentice run EXPERIMENT.yaml page` runs it";
    assert!(ended.code == 2 && ended.stderr.contains(wanted), "{ended:?}");
    project.write("x.yaml", "name: f\nstages:\n  bad: { use: toy.page }\n  a: { use: toy.number }\n");
    project.ok("run x.yaml bad");
    let ended = project.run("report last --format csv");
    let wanted = "of f made no metrics: it did not include `a`\nhelp: `apprentice run EXPERIMENT.yaml a` runs it";
    assert!(ended.code == 2 && ended.stderr.contains(wanted), "{ended:?}");
}
