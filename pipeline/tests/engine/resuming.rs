//! Kills and interrupts.

use std::io::{BufRead as _, BufReader};
use std::process::ChildStderr;

use crate::project::{Project, SLOW, Started};

/// The objects of a run that nothing disturbed.
fn undisturbed() -> std::collections::BTreeMap<String, Vec<u8>> {
    let project = Project::new(SLOW);
    project.ok("run x.yaml");
    project.objects()
}

#[test]
fn a_killed_run_goes_on_from_its_last_unit_to_the_same_bytes() {
    let project = Project::new(SLOW);
    for unit in [0, 4, 7] {
        let mut started = project.start_and_hold(unit, "");
        started.child.kill().unwrap();
        started.child.wait().unwrap();
        assert_eq!(project.count("entries"), 0);
        let saved = if unit == 0 { "" } else { "; goes on from saved units" };
        assert_eq!(project.plan("slow", ""), format!("run: it has no result yet{saved}"), "killed at unit {unit}");
    }
    let other = project.plan("slow", "--set stages.slow.with.units=11");
    assert_eq!(other, "run: it has no result yet", "the saved units are of another key");
    let mut last = project.start("");
    assert_eq!(last.until(|event| event["event"] == "stage_started")["resumed"], true);
    assert_eq!(last.until(|event| event["name"] == "units found")["value"], "7");
    assert_eq!(last.end().0, 0);
    assert_eq!(project.objects(), undisturbed());
    assert_eq!(project.count("scratch"), 0);
    let runs = project.ok("runs");
    assert_eq!(runs.matches("  killed  ").count(), 3, "{runs}");
}

#[test]
fn an_interrupt_saves_and_ends_with_130() {
    let project = Project::new(SLOW);
    for signal in ["INT", "TERM"] {
        let started = project.start_and_hold(6, "");
        started.signal(signal);
        let (code, statuses) = started.end();
        assert_eq!(code, 130);
        assert_eq!(statuses.get("slow").map(String::as_str), Some("interrupted"));
        assert!(!statuses.contains_key("after"));
    }
    assert_eq!(project.ran(""), ["after", "slow"]);
    assert_eq!(project.objects(), undisturbed());
}

/// Interrupts a run; it has noticed when it talks about it.
fn interrupt(started: &mut Started) -> BufReader<ChildStderr> {
    started.signal("INT");
    let mut talk = BufReader::new(started.child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("press Ctrl-C again") {
        assert_ne!(talk.read_line(&mut line).unwrap(), 0);
    }
    talk
}

#[test]
fn a_second_interrupt_ends_at_once() {
    let project = Project::new(SLOW);
    let mut started = project.start_and_hold(2, "--set stages.slow.with.deaf=true");
    let _talk = interrupt(&mut started);
    started.signal("INT");
    assert_eq!(started.end().0, 130);
    assert_eq!(project.ran(""), ["after", "slow"]);
}

#[test]
fn what_had_not_begun_before_an_interrupt_is_told_so() {
    let project = Project::new(SLOW);
    let mut started = project.start_and_hold(9, "--set stages.slow.with.deaf=true");
    let _talk = interrupt(&mut started);
    project.write("gate", "");
    let mut ended = Vec::new();
    let last = started.until(|event| {
        ended.extend((event["event"] == "stage_ended").then(|| event["stage"].to_string()));
        event["event"] == "run_ended"
    });
    assert_eq!((&last["status"], last["not_begun"].to_string()), (&"interrupted".into(), r#"["after"]"#.to_owned()));
    assert_eq!(ended, [r#""slow""#]);
    assert_eq!(started.end().0, 130);
}

#[test]
fn a_stage_that_holds_its_threads_does_not_hold_those_of_another() {
    let beside =
        "  one: { use: toy.number, with: { value: 1 } }\n  beside: { use: toy.round, inputs: { value: one.value } }\n";
    let project = Project::new(&format!("{SLOW}{beside}"));
    let gate = project.path("gate");
    let hold = format!("--set stages.slow.with.hold_at=2 --set stages.slow.with.gate={}", gate.display());
    let mut run = project.start(&format!("{hold} --threads 1 -j 2"));
    // While `slow` keeps the only thread of its pool, its neighbour ends; else this hangs.
    run.until(|event| event["event"] == "stage_ended" && event["stage"] == "beside");
    project.write("gate", "");
    assert_eq!(run.end().0, 0);
}
