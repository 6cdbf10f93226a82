//! A secret comes from the environment when its stage runs, and is to be found nowhere afterwards.

use std::fs;
use std::path::Path;

use crate::project::{Ended, Project};

const VALUE: &str = "sk-very\"secret\\value";

const ASK: &str = "\
name: ask
stages:
  one: { use: toy.number, with: { value: 1 } }
  ask:
    use: toy.ask
    with:
      server:
        key: ${env:TOY_KEY}
      answer: 42
  page: { use: toy.page, inputs: { values: { it: ask.value } } }
";

fn run(project: &Project, args: &str) -> Ended {
    project.run_with(args, &[("TOY_KEY", VALUE)])
}

/// Every file below a folder that holds a piece of the secret, escaped or not.
fn leaks(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(leaks(&path));
        } else if String::from_utf8_lossy(&fs::read(&path).unwrap()).contains("sk-very") {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_secret_is_in_nothing_that_is_shown_or_kept() {
    for (end, code) in [("well", 0), ("error", 1), ("panic", 1), ("unreachable", 7)] {
        for how in ["", "--json", "-q", "-v"] {
            let project = Project::new(ASK);
            // A shell may have put the value into the command line itself.
            let ended = run(&project, &format!("run x.yaml {how} --set stages.ask.with.end={end} --set name={end}"));
            assert_eq!(ended.code, code, "{ended:?}");
            let shown = format!("{}{}", ended.stdout, ended.stderr);
            assert!(!shown.contains("sk-very"), "{end} {how}: {shown}");
            assert_eq!(leaks(&project.path("")), [""; 0], "{end} {how}");
            if end == "error" && how.is_empty() {
                assert!(shown.contains("answered 401: no such key `${env:TOY_KEY}`"), "{shown}");
            }
        }
    }
}

#[test]
fn a_value_that_a_shell_put_into_the_command_is_cut_out_of_the_record() {
    let project = Project::new(ASK);
    let words = ["run", "x.yaml", "--set", "stages.ask.with.server.name=sk-open-value"];
    let mut command = project.command("");
    assert!(command.args(words).env("TOY_KEY", "sk-open-value").output().unwrap().status.success());
    let runs = project.path("artifacts/store/runs");
    let record =
        fs::read_to_string(fs::read_dir(runs).unwrap().next().unwrap().unwrap().path().join("run.json")).unwrap();
    assert!(record.contains("stages.ask.with.server.name=${env:TOY_KEY}"), "{record}");
}

#[test]
fn neither_the_value_nor_the_variable_nor_the_absence_of_a_secret_changes_a_key() {
    let project = Project::new(ASK);
    assert_eq!(run(&project, "run x.yaml").code, 0);
    // Served from the store, it is not asked for.
    assert!(project.ran("").is_empty());
    assert!(project.ran("--set stages.ask.with.server.key=${env:OTHER_KEY}").is_empty());
    assert!(project.ran("--set stages.ask.with.server.key=").is_empty());
    let explained = project.ok("explain x.yaml ask");
    assert!(explained.contains("config.server.key     null\n"), "{explained}");
    assert!(explained.contains("secret, not in the key: server.key: TOY_KEY\n"), "{explained}");
}

#[test]
fn a_missing_secret_is_told_before_anything_runs() {
    let project = Project::new(ASK);
    let error = "x.yaml:8:14 (`server.key`): the environment variable `TOY_KEY` is not set";
    for command in ["plan", "run"] {
        let ended = project.run(&format!("{command} x.yaml"));
        assert_eq!(ended.code, 2, "{ended:?}");
        let wanted =
            format!("error: stage `ask` needs something that is missing: {error}\nhelp: put the secret into it");
        assert!(
            ended.stderr.starts_with(&wanted) && ended.stderr.contains("\nhelp: `--keep-going` "),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(project.count("entries"), 0);
    let plan = project.run("plan x.yaml --json");
    assert_eq!(plan.code, 2);
    let answer: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(answer["lacks"][0]["stages"], serde_json::json!(["ask"]));
    assert_eq!((&answer["lacks"][0]["error"], &answer["lacks"][0]["certain"]), (&error.into(), &true.into()));
    // Stages that were not chosen need nothing, nor do hits.
    assert!(project.run("plan x.yaml one").code == 0 && project.run("run x.yaml one").code == 0);
    assert_eq!(run(&project, "run x.yaml").code, 0);
    assert!(project.run("plan x.yaml --check").code == 0 && project.run("run x.yaml").code == 0);
    project.ok("explain x.yaml ask");
}

#[test]
fn a_missing_secret_stops_its_stage_alone_under_keep_going_and_is_told_with_its_place() {
    let project = Project::new(ASK);
    let ended = project.run("run x.yaml --keep-going");
    assert_eq!(ended.code, 8);
    let wanted =
        "error: stage `ask` failed: x.yaml:8:14 (`server.key`): the environment variable `TOY_KEY` is not set\nhelp: ";
    assert!(
        ended.stderr.starts_with("warning: stage `ask` needs something that is missing: x.yaml:8:14"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains(wanted), "{}", ended.stderr);
    assert!(ended.stderr.contains("not started, because their inputs failed: page\n"), "{}", ended.stderr);
    let ended = project.run("run x.yaml ask --set stages.ask.with.server.key=${env:OTHER_KEY}");
    assert!(
        ended.stderr.contains("--set:1:28 (`server.key`): the environment variable `OTHER_KEY`"),
        "{}",
        ended.stderr
    );
    assert_eq!(project.run_with("run x.yaml ask", &[("TOY_KEY", "")]).code, 2, "an empty one is none");
}

#[test]
fn a_secret_may_stand_in_its_own_fields_only_and_never_in_clear() {
    let project = Project::new(ASK);
    let wrong = |set: &str| {
        let ended = project.run(&format!("plan x.yaml --set {set}"));
        assert_eq!(ended.code, 2, "{set}: {ended:?}");
        assert!(!ended.stderr.contains("sk-"), "{set}: {}", ended.stderr);
        ended.stderr
    };
    let name = wrong("stages.ask.with.server.name=${env:TOY_KEY}");
    assert!(name.contains("`server.name` takes no `${env:…}`: what it says is hashed, stored and shown"), "{name}");
    assert!(name.contains("help: write the value itself; a secret may stand in `server.key`"), "{name}");
    let inside = wrong("stages.ask.with.server.key=https://${env:TOY_KEY}");
    assert!(inside.contains("`server.key` takes `${env:NAME}`, the name of an environment variable"), "{inside}");
    assert!(wrong("stages.ask.with.answer=${env:TOY_KEY}").contains("`answer` takes no `${env:…}`"));
    assert!(
        wrong("stages.one.with.label=${env:TOY_KEY}").contains("nothing in the config of toy.number takes a secret")
    );
    let clear = wrong("stages.ask.with.server.key=sk-1234");
    assert!(clear.contains("stages.ask.with.server.key=*******"), "{clear}");
    assert!(clear.contains("the value of a secret is never written down"), "{clear}");
    assert!(wrong("stages.ask.with.server={key:${env:TOY_KEY}}").contains("quote it: \"${env:NAME}\""));
    let swept = "name: s\nstages:\n  ask: { use: toy.ask, sweep: { server.key: [\"${env:A}\", \"${env:B}\"] } }\n";
    project.write("x.yaml", swept);
    assert!(project.run("plan x.yaml").stderr.contains("`server.key` cannot be swept: a secret changes no result"));
    let asset = "name: s\nassets: { a: { from: [{ path: \"${env:A}\" }] } }\nstages:\n  one: { use: toy.number }\n";
    project.write("x.yaml", asset);
    assert!(project.run("plan x.yaml").stderr.contains("`from[0].path` takes no `${env:…}`"));
    project.write("x.yaml", &ASK.replace("${env:TOY_KEY}", "|\n          sk-lines\n          sk-more"));
    assert!(wrong("name=ask").contains("`server.key` takes `${env:NAME}`"));
}
