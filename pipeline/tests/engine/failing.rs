//! Stages that fail.

use crate::project::Project;

fn failing(how: &str) -> Project {
    Project::new(&format!(
        "name: f\nstages:\n  a: {{ use: toy.number, with: {{ value: 1 }} }}\n  bad: {{ use: toy.fail, with: {{ how: {how} }} }}\n  after: {{ use: toy.round, inputs: {{ value: bad.value }} }}\n  last: {{ use: toy.round, inputs: {{ value: a.value }} }}\n"
    ))
}

#[test]
fn a_failure_is_told_with_its_causes_and_its_log_and_leaves_no_entry() {
    let project = failing("error");
    let ended = project.run("run x.yaml bad");
    assert_eq!(ended.code, 1);
    assert!(
        ended.stderr.contains("error: stage `bad` failed: read the ratings: row 7: found `x`, wanted a number"),
        "{}",
        ended.stderr
    );
    let log = ended.stderr.split("\nlog: ").nth(1).unwrap().trim();
    assert!(std::fs::read_to_string(project.path(log)).unwrap().contains("failed after"), "{log}");
    assert_eq!(project.count("entries"), 0);
    assert_eq!(project.ran("bad --set stages.bad.with.how=no"), ["bad"]);
}

#[test]
fn keep_going_finishes_what_does_not_need_it() {
    let project = failing("error");
    let (code, statuses) = project.start("--keep-going -j 1").end();
    assert_eq!(code, 8);
    let expected = [("a", "ran"), ("bad", "failed"), ("last", "ran")];
    assert_eq!(statuses, expected.map(|(stage, status)| (stage.into(), status.into())).into());
    let runs = project.ok("runs");
    assert!(runs.contains("partial") && runs.contains("0 hit, 2 ran, 1 failed"), "{runs}");
    let (code, statuses) = project.start("-j 1").end();
    assert_eq!(code, 1);
    assert!(!statuses.contains_key("last"), "without it nothing new begins");
}

#[test]
fn a_server_that_cannot_be_reached_is_code_7_and_8_under_keep_going() {
    let project = Project::new("name: u\nstages:\n  ask: { use: toy.ask, with: { end: unreachable } }\n");
    let ended = project.run("run x.yaml");
    assert_eq!(ended.code, 7);
    assert!(ended.stderr.contains("error: stage `ask` failed: http://no key@nowhere does not answer"), "{ended:?}");
    assert_eq!(project.run("run x.yaml --keep-going").code, 8);
}

#[test]
fn a_panic_is_an_error_of_its_stage() {
    for (how, words) in [("panic", "index out of reach"), ("panic_in_pool", "deep in the pool")] {
        let project = failing(how);
        let ended = project.run("run x.yaml bad");
        assert_eq!(ended.code, 1);
        let wanted = "error: stage `bad` failed: it panicked at pipeline/tests/toy/stages.rs:";
        assert!(ended.stderr.contains(wanted) && ended.stderr.contains(words), "{}", ended.stderr);
        assert!(!ended.stderr.contains("RUST_BACKTRACE"), "{}", ended.stderr);
    }
}

#[test]
fn the_end_of_memory_names_the_stages_at_work_and_the_next_run_goes_on() {
    let project = failing("memory");
    // A stage that has ended is none of them.
    let ended = project.run("run x.yaml a bad -j 1");
    assert_eq!(ended.code, 9, "{ended:?}");
    let words = "\nerror: out of memory: another 8589934591.9 GiB could not be had while these stages were running: bad\nhelp: ";
    assert!(ended.stderr.contains(words) && ended.stderr.contains("`--jobs 1`"), "{}", ended.stderr);
    assert!(project.ok("runs").contains("  f  killed  "), "{}", project.ok("runs"));
    assert_eq!(project.ran("a bad --set stages.bad.with.how=no"), ["bad"], "what was finished is kept");
    // What may be refused is an error like others.
    let ended = project.run("run x.yaml bad --set stages.bad.with.how=memory_in_vain");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.stderr.contains("error: stage `bad` failed: read a file of 8 EiB: memory allocation failed"),
        "{ended:?}"
    );
    // And what aborts for another reason does so as ever.
    let killed = project.run_with("run x.yaml --force a", &[("TOY_KILL_AT", "3")]);
    assert!(killed.code == -1 && !killed.stderr.contains("out of memory"), "{killed:?}");
}
