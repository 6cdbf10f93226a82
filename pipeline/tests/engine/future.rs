//! Stores of a newer program, and names that would lead out of the store.

use std::fs;

use crate::project::{Project, SUM};
use crate::remains::{files, restore};

const COMMANDS: [&str; 6] = ["run x.yaml", "plan x.yaml", "explain x.yaml sum", "inspect sum.value", "runs", "verify"];

#[test]
fn a_store_of_a_newer_program_is_refused_and_left_alone() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    project.write("artifacts/store/format", "2\n");
    let before = files(&project);
    for command in COMMANDS {
        let ended = project.run(command);
        assert_eq!(ended.code, 2, "{command}: {ended:?}");
        let output =
            "error: `artifacts/store/format` was written by a newer apprentice, and nothing was changed\nhelp: ";
        assert!(ended.stderr.starts_with(output), "{command}: {}", ended.stderr);
    }
    assert_eq!(files(&project), before);
    project.ok("graph x.yaml");
    project.write("artifacts/store/format", "1\n");
    assert!(project.ran("").is_empty());
}

#[test]
fn an_entry_of_a_newer_program_is_neither_damaged_nor_replaced() {
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let before = files(&project);
    let entries = || before.keys().filter(|path| path.parent().unwrap().ends_with("entries"));
    for text in [r#"{ "format": 2, "sum": "blake4:00", "results": [] }"#, r#"{"format":18446744073709551615}"#] {
        restore(&project, &before);
        for entry in entries() {
            fs::write(entry, text).unwrap();
        }
        for command in ["run x.yaml", "plan x.yaml", "explain x.yaml sum", "verify"] {
            let ended = project.run(command);
            assert!(![0, 6].contains(&ended.code), "{command}: {ended:?}");
            assert!(ended.stderr.contains("was written by a newer apprentice, and nothing was changed"), "{ended:?}");
        }
        assert!(entries().all(|entry| fs::read_to_string(entry).unwrap() == text));
    }
}

#[test]
fn no_name_leads_out_of_the_store() {
    let swept = "name: NAME\nassets:\n  ASSET: { from: [{ path: x.yaml }] }\nstages:\n  STAGE: { use: toy.number, with: { asset: ASSET }, sweep: { label: [LABEL] } }\n";
    let project = Project::new("");
    let write = |name: &str, asset: &str, stage: &str, label: &str| {
        let text = swept.replace("NAME", name).replace("ASSET", asset).replace("STAGE", stage).replace("LABEL", label);
        project.write("x.yaml", &text);
    };
    for bad in ["..", "../out", "/tmp/out", "a/b", "'a\\b'", "'.'", "'a\\0b'", "store/../out"] {
        for (name, asset, stage) in [(bad, "a", "s"), ("n", bad, "s"), ("n", "a", bad)] {
            write(name, asset, stage, "x");
            let ended = project.run("run x.yaml");
            assert_eq!(ended.code, 2, "{bad}: {ended:?}");
        }
    }
    assert!(!project.path("artifacts").exists());
    write("n", "a", "s", "../../../out, /etc/passwd, '..', '.', 'a\\b', 'CON', ' ', 'ä😀'");
    // The asset is no number, so each stage fails after its scratch folder and its log were made.
    assert_eq!(project.run("run x.yaml --keep-going").code, 8);
    project.write("x.yaml", &fs::read_to_string(project.path("x.yaml")).unwrap().replace("with: { asset: a }, ", ""));
    project.ok("run x.yaml");
    let mut made: Vec<_> = fs::read_dir(project.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    made.sort();
    assert!(made.iter().all(|name| ["artifacts", "cache", "x.yaml"].iter().any(|known| name == known)), "{made:?}");
    let views = fs::read_dir(project.path("artifacts/n")).unwrap();
    assert_eq!(views.filter(|entry| entry.as_ref().unwrap().path().join("value.txt").is_file()).count(), 8);
    for out in ["runs ../../x", "run x.yaml ../s", "inspect ../s.value", "run x.yaml --force s@label=/"] {
        assert_eq!(project.run(out).code, 2, "{out}");
    }
}
