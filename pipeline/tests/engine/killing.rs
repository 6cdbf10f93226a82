//! `kill -9` at every commit point: whatever was going on, the next run ends with the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::project::{Ended, Project};

/// Units with a log, checkpoints and a vault; a sweep; a stage that needs both.
const EXPERIMENT: &str = "\
name: torture
stages:
  slow: { use: toy.slow, with: { units: 4 } }
  a: { use: toy.number, each: { value: [1, 2] } }
  page: { use: toy.page, inputs: { values: [slow.value, a.value] } }
";

/// Everything that a run leaves and that must not depend on what happened before: objects, the results by key, the views.
fn remains(project: &Project) -> BTreeMap<String, Vec<u8>> {
    let mut remains = project.objects();
    for file in fs::read_dir(project.path("artifacts/store/entries")).unwrap() {
        let path = file.unwrap().path();
        if path.extension() == Some("json".as_ref()) {
            let mut entry: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let entry = entry["entry"].as_object_mut().unwrap();
            entry.remove("made");
            remains.insert(entry["key"].to_string(), serde_json::to_vec(entry).unwrap());
        }
    }
    for folder in fs::read_dir(project.path("artifacts/torture")).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if !is_unfinished(&path) {
                remains.insert(
                    path.strip_prefix(project.path("")).unwrap().display().to_string(),
                    fs::read(path).unwrap(),
                );
            }
        }
    }
    remains
}

fn is_unfinished(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with(".new-")
}

fn undisturbed() -> BTreeMap<String, Vec<u8>> {
    let project = Project::new(EXPERIMENT);
    project.ok("run x.yaml");
    remains(&project)
}

/// Runs up to the commit point `at`; gives where it was killed, nothing where the run had fewer points.
fn killed(project: &Project, args: &str, at: u64) -> Option<String> {
    let output = project.command(&format!("run x.yaml {args}")).env("TOY_KILL_AT", at.to_string()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let place = stderr.lines().find_map(|line| line.strip_prefix("killed: ")).map(str::to_owned);
    assert_eq!(output.status.code(), if place.is_some() { None } else { Some(0) }, "{stderr}");
    place
}

/// `named entries/…`: what was done, and in which part of the store or which kind of file.
fn kind_of(place: &str) -> String {
    let (point, path) = place.split_once(' ').unwrap();
    let part = path.split("artifacts/").nth(1).unwrap();
    let part = match part.split('/').collect::<Vec<_>>()[..] {
        ["store", "scratch", _] => "scratch",
        ["store", "scratch", _, "squares"] => "log",
        ["store", "scratch", _, "sums", ..] => "checkpoint",
        ["store", "scratch", _, ..] => "output",
        ["store", part, ..] => part,
        _ => "view",
    };
    format!("{point} {part}")
}

/// Gives the kinds of points.
fn killed_at_every_point(args: &str) -> BTreeSet<String> {
    let expected = undisturbed();
    let mut places = BTreeSet::new();
    for at in 0.. {
        let project = Project::new(EXPERIMENT);
        let Some(place) = killed(&project, args, at) else { break };
        places.insert(kind_of(&place));
        let Ended { code, stderr, .. } = project.run(&format!("run x.yaml {args}"));
        assert_eq!(code, 0, "after a kill at {place}: {stderr}");
        assert!(!stderr.contains("warning"), "after a kill at {place}: {stderr}");
        assert_eq!(remains(&project), expected, "after a kill at {place}");
        let verified = project.run("verify");
        assert_eq!(verified.code, 0, "after a kill at {place}: {verified:?}");
    }
    places
}

#[test]
fn killed_at_any_commit_point_on_one_thread() {
    let places = killed_at_every_point("--threads 1 -j 1");
    for place in [
        "made runs",
        "written runs",
        "locked scratch",
        "written log",
        "synced log",
        "created checkpoint",
        "written checkpoint",
        "synced checkpoint",
        "named checkpoint",
        "kept checkpoint",
        "written calls",
        "synced calls",
        "named calls",
        "kept calls",
        "read-only output",
        "synced output",
        "named objects",
        "kept objects",
        "written entries",
        "synced entries",
        "named entries",
        "kept entries",
        "removed scratch",
        "unlocked scratch",
        "created view",
        "written view",
        "named view",
        "written last",
        "named last",
        "named runs",
        "kept runs",
    ] {
        assert!(places.contains(place), "no kill was tried at `{place}`, only at {places:#?}");
    }
}

#[test]
fn killed_at_any_commit_point_on_two_threads() {
    // Which thread comes first, and so what the points are, is another thing each time.
    assert!(killed_at_every_point("--threads 2 -j 2").len() > 10);
}

#[test]
fn killed_again_and_again_it_still_comes_to_the_same_end() {
    let expected = undisturbed();
    for args in ["-j 1", "-j 2"] {
        let project = Project::new(EXPERIMENT);
        let kills = (3..).find(|&at| killed(&project, args, at).is_none()).unwrap();
        assert!(kills > 20, "only {kills} kills");
        assert_eq!(remains(&project), expected);
        project.ok("verify");
    }
}
