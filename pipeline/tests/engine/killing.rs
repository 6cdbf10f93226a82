//! `kill -9` at every commit point: whatever was going on, the next run ends with the same bytes.

use std::collections::BTreeSet;

use crate::project::{Ended, Project};
use crate::remains::{remains, undisturbed};

/// Units with a log, checkpoints and a value store; a sweep; a stage that needs both.
pub const EXPERIMENT: &str = "\
name: torture
stages:
  slow: { use: toy.slow, with: { units: 4 } }
  a: { use: toy.number, sweep: { value: [1, 2] } }
  page: { use: toy.page, inputs: { values: [slow.value, a.value] } }
";

/// Runs up to the commit point `at`; gives where it was killed, nothing where the run had fewer points.
pub fn killed(project: &Project, args: &str, at: u64) -> Option<String> {
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
    let expected = undisturbed(EXPERIMENT);
    let mut places = BTreeSet::new();
    for at in 0.. {
        let project = Project::new(EXPERIMENT);
        let Some(place) = killed(&project, args, at) else { break };
        places.insert(kind_of(&place));
        let Ended { code, stderr, .. } = project.run(&format!("run x.yaml {args}"));
        assert_eq!(code, 0, "after a kill at {place}: {stderr}");
        assert!(!stderr.contains("warning"), "after a kill at {place}: {stderr}");
        assert_eq!(remains(&project), expected, "after a kill at {place}");
        // What a killed run left of a stage's memory is not taken for one.
        if let Some((_, memory)) = place.rsplit_once("store/last/torture/") {
            project.ok(&format!("inspect {}", memory.trim_end_matches(".json")));
        }
        if at % 8 == 0 {
            let verified = project.run("verify");
            assert_eq!(verified.code, 0, "after a kill at {place}: {verified:?}");
        }
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
    let expected = undisturbed(EXPERIMENT);
    for args in ["-j 1", "-j 2"] {
        let project = Project::new(EXPERIMENT);
        let kills = (3..).find(|&at| killed(&project, args, at).is_none()).unwrap();
        assert!(kills > 10, "only {kills} kills");
        assert_eq!(remains(&project), expected);
        project.ok("verify");
    }
}
