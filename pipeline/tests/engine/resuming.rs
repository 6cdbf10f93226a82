//! Kills, interrupts and two runs at once.

use crate::project::{Project, SLOW};

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
    }
    let mut last = project.start("");
    assert_eq!(last.until(|event| event["event"] == "stage_started")["resumed"], true);
    assert_eq!(last.until(|event| event["name"] == "units found")["value"], "7");
    assert_eq!(last.end().0, 0);
    assert_eq!(project.objects(), undisturbed());
    assert_eq!(project.count("scratch"), 0);
    let runs = project.ok("runs");
    assert_eq!(runs.matches("running or killed").count(), 3, "{runs}");
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

#[test]
fn a_second_interrupt_ends_at_once() {
    let project = Project::new(SLOW);
    let mut started = project.start_and_hold(2, "--set stages.slow.with.deaf=true");
    started.signal("INT");
    // The first signal has arrived when it is talked about; only then is the second one a second one.
    let mut talk = std::io::BufReader::new(started.child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("press Ctrl-C again") {
        assert_ne!(std::io::BufRead::read_line(&mut talk, &mut line).unwrap(), 0);
    }
    started.signal("INT");
    assert_eq!(started.end().0, 130);
    assert_eq!(project.ran(""), ["after", "slow"]);
}

#[test]
fn of_two_runs_one_makes_the_result_and_the_other_reuses_it() {
    let project = Project::new(SLOW);
    let first = project.start_and_hold(5, "");
    let mut second = project.start("");
    let holder = second.until(|event| event["event"] == "waiting")["holder"].as_str().unwrap().to_owned();
    assert!(holder.contains(&format!("process {}", first.child.id())), "{holder}");
    let third = project.run("run x.yaml --no-wait");
    assert_eq!(third.code, 4);
    assert!(third.stderr.contains(&holder), "{}", third.stderr);
    project.write("gate", "");
    let (code, statuses) = first.end();
    assert_eq!((code, &*statuses["slow"]), (0, "ran"));
    let (code, statuses) = second.end();
    assert_eq!((code, &*statuses["slow"]), (0, "hit"));
    assert_eq!(project.objects(), undisturbed());
}

#[test]
fn a_run_that_waits_can_be_interrupted() {
    let project = Project::new(SLOW);
    let first = project.start_and_hold(5, "");
    let mut second = project.start("");
    second.until(|event| event["event"] == "waiting");
    second.signal("INT");
    assert_eq!(second.end().0, 130);
    project.write("gate", "");
    assert_eq!(first.end().0, 0);
}

#[test]
fn the_lock_of_a_killed_run_is_free() {
    let project = Project::new(SLOW);
    let mut first = project.start_and_hold(5, "");
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    assert_eq!(project.run("run x.yaml --no-wait").code, 0);
}
