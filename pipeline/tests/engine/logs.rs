//! The logs of stages: one for each cell, also where there are many.

use std::fs;
use std::process::Command;

use crate::project::Project;

#[test]
fn each_cell_at_work_has_a_log_of_its_own() {
    let project = Project::new("name: l\nstages:\n  slow: { use: toy.slow, sweep: { units: [3, 4] } }\n");
    project.ok("run x.yaml -j 2");
    let id = project.ok("runs").split_whitespace().next().unwrap().to_owned();
    let logs = project.path(&format!("artifacts/store/runs/{id}/logs"));
    for units in [3, 4] {
        let log = fs::read_to_string(logs.join(format!("slow@units={units}.log"))).unwrap();
        let said: Vec<_> = log.lines().map(|line| line.split_once("Z ").unwrap().1).collect();
        assert!(said[0].starts_with("started: it has no result yet (key "), "{log}");
        assert_eq!(said[1..4], ["units found: 0", &format!("squares: 0 of {units} units"), "squares: done"], "{log}");
        assert!(said[4].starts_with("ran after 0.") && said.len() == 5, "{log}");
    }
    project.ok("run x.yaml");
    let id = project.ok("runs").lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    let logs = fs::read_dir(project.path(&format!("artifacts/store/runs/{id}/logs"))).unwrap();
    assert_eq!(logs.count(), 0, "what is up to date has nothing to say");
}

#[test]
fn many_stages_do_not_use_up_the_files_that_may_be_open() {
    let values: Vec<_> = (0..120).map(|value| value.to_string()).collect();
    let project = Project::new(&format!(
        "name: l\nstages:\n  a: {{ use: toy.number, sweep: {{ value: [{}] }} }}\n",
        values.join(", ")
    ));
    let script = format!("ulimit -n 48; exec {} run x.yaml -j 2", env!("CARGO_BIN_EXE_toy"));
    let output = Command::new("sh").args(["-c", &script]).current_dir(project.path("")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let run = fs::read_dir(project.path("artifacts/store/runs")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::read_dir(run.join("logs")).unwrap().count(), 120);
}
