//! Files that are torn at any byte, and flipped bits in every kind of file of the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::project::{Project, SLOW, SUM};
use crate::remains::{files, remains, restore, undisturbed};

/// A run of [`SLOW`] that was killed with units in a log, in checkpoints and in the value store.
fn half_done() -> (Project, BTreeMap<PathBuf, Vec<u8>>) {
    let project = Project::new(SLOW);
    let mut started = project.start_and_hold(7, "");
    started.child.kill().unwrap();
    started.child.wait().unwrap();
    let files = files(&project);
    (project, files)
}

fn is_of(path: &Path, part: &str) -> bool {
    path.components().any(|component| component.as_os_str() == part)
}

/// Where in a file the units lie that may be torn: a log's last frame, or all of it.
fn last_unit(path: &Path, bytes: &[u8]) -> Option<usize> {
    const FRAME: usize = 4 + 32 + 8;
    match path.file_name().unwrap().to_str().unwrap() {
        "squares" => Some(bytes.len() - FRAME),
        "6.checkpoint" => Some(0),
        _ if is_of(path, "calls") => Some(0),
        _ => None,
    }
}

#[test]
fn units_torn_at_any_byte_are_done_again() {
    let expected = undisturbed(SLOW);
    let (project, before) = half_done();
    let torn: Vec<_> = before.iter().filter_map(|(path, bytes)| Some((path, bytes, last_unit(path, bytes)?))).collect();
    assert_eq!(torn.len(), 1 + 1 + 7, "a log, a checkpoint and seven values");
    for byte in 0..44 {
        restore(&project, &before);
        for (path, bytes, from) in &torn {
            fs::write(path, &bytes[..(from + byte).min(bytes.len())]).unwrap();
        }
        project.ok("run x.yaml");
        assert_eq!(remains(&project), expected, "torn after {byte} bytes");
    }
}

#[test]
fn a_flipped_bit_in_each_file_of_a_killed_run_changes_nothing() {
    let expected = undisturbed(SLOW);
    let (project, before) = half_done();
    for turn in 0..40 {
        restore(&project, &before);
        for (path, bytes) in &before {
            let mut flipped = bytes.clone();
            // Another place and another bit in each turn; 41 has no divisor in common with the lengths.
            if let Some(byte) = flipped.get_mut((turn * 41) % bytes.len().max(1)) {
                *byte ^= 1 << (turn % 8);
            }
            fs::write(path, flipped).unwrap();
        }
        project.ok("run x.yaml");
        assert_eq!(remains(&project), expected, "turn {turn}");
        only_records_are_damaged(&project);
        project.ok("runs");
    }
}

/// What a run made is whole again; the records of earlier runs and answers that nobody asked for again stay as they are.
#[track_caller]
fn only_records_are_damaged(project: &Project) {
    let verified = project.run("verify");
    let faults = verified.stdout.lines().filter(|line| line.contains("artifacts/store/"));
    let stays = |line: &&str| line.contains("run.json` is damaged") || line.starts_with("the answer ");
    let others: Vec<&str> = faults.filter(|line| !stays(line)).collect();
    assert!(others.is_empty() && [0, 6].contains(&verified.code), "{verified:?}");
}

#[test]
fn an_entry_torn_at_any_byte_is_made_again() {
    let expected = undisturbed(SUM);
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let before = files(&project);
    for cut in (0..1200).step_by(7) {
        for (path, bytes) in before.iter().filter(|(path, _)| is_of(path, "entries")) {
            fs::write(path, &bytes[..cut.min(bytes.len() - 1)]).unwrap();
        }
        assert_eq!(project.ran("").len(), 5, "cut at byte {cut}");
        assert_eq!(remains(&project), expected, "cut at byte {cut}");
    }
}

#[test]
fn a_flipped_bit_in_a_finished_store_is_found_and_mended_or_does_no_harm() {
    let expected = undisturbed(SUM);
    let project = Project::new(SUM);
    project.ok("run x.yaml");
    let before = files(&project);
    for part in ["objects", "entries", "last", "runs", "sum"] {
        for turn in 0..6 {
            restore(&project, &before);
            for (path, bytes) in before.iter().filter(|(path, _)| is_of(path, part)) {
                let mut flipped = bytes.clone();
                flipped[(turn * 41) % bytes.len()] ^= 1 << turn;
                fs::write(path, flipped).unwrap();
            }
            // The view is the user's; of what is remembered beside the results, only what cannot be read is reported.
            let found = project.run("verify").code;
            let is_result = ["objects", "entries"].contains(&part);
            assert!(found == 6 || (found == 0 && !is_result), "{part}, turn {turn}: {found}");
            project.ok("runs");
            project.ok("run x.yaml");
            only_records_are_damaged(&project);
            // A copy with a flipped bit may be somebody's own: it is kept beside the restored one.
            let mut found = remains(&project);
            found.retain(|name, _| !name.contains(".kept"));
            assert!(found == expected, "{part}, turn {turn}");
        }
    }
}
