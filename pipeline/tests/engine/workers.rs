//! Stages in processes of their own: the same bytes, and whatever dies, nothing is lost.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::killing::{EXPERIMENT, killed};
use crate::project::{Project, SLOW, SUM};
use crate::remains::{remains, undisturbed};

#[test]
fn the_results_are_those_of_a_local_run() {
    for experiment in [SUM, SLOW, EXPERIMENT] {
        let project = Project::new(experiment);
        let stdout = project.ok("run x.yaml --executor process --threads 2 --json");
        assert!(stdout.contains(r#""name":"worker","value":"process "#), "{stdout}");
        assert_eq!(remains(&project), undisturbed(experiment));
        assert_eq!(project.ran(""), Vec::<String>::new(), "where they were worked on is in no key");
        assert_eq!(project.count("scratch"), 0);
    }
}

#[test]
fn numbers_with_many_digits_and_assets_reach_a_worker() {
    let assets = "assets: { seven: { from: [{ generate: seven }] } }";
    let text = format!(
        "name: digits\n{assets}\nstages:\n  a: {{ use: toy.number, with: {{ asset: seven }}, search: {{ n_trials: 12, over: {{ value: {{ uniform: [0.1, 0.3] }} }} }} }}\n"
    );
    let project = Project::new(&text);
    project.ok("run x.yaml --executor process");
    assert_eq!(remains(&project), undisturbed(&text));
}

#[test]
fn what_a_worker_says_is_in_the_events_the_log_and_the_record() {
    let project = Project::new(SLOW);
    let stdout = project.ok("run x.yaml --executor process --json");
    let events: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name && event["stage"] == "slow").count();
    assert!(of("progress") > 0 && of("progress_ended") == 1 && of("stage_ended") == 1, "{stdout}");
    let last = events.iter().rev().find(|event| event["event"] == "progress" && event["stage"] == "slow").unwrap();
    assert_eq!((&last["done"], &last["total"], &last["unit"]), (&10.into(), &10.into(), &"units".into()));
    let run = project.runs().pop().unwrap();
    let folder = project.path("artifacts/store/runs").join(run);
    let log = std::fs::read_to_string(folder.join("logs/slow.log")).unwrap();
    assert!(log.contains("units found: 0") && log.contains("squares: done"), "{log}");
    let record: Value = serde_json::from_slice(&std::fs::read(folder.join("run.json")).unwrap()).unwrap();
    assert!(record["nodes"][0]["notes"]["worker"].as_str().unwrap().starts_with("process "), "{record}");
}

#[test]
fn a_worker_killed_at_any_commit_point_is_an_error_of_its_stage_and_the_next_run_ends_with_the_same_bytes() {
    let expected = undisturbed(EXPERIMENT);
    let mut places = std::collections::BTreeSet::new();
    // Each worker counts for itself: the slow one has the most points.
    for at in 0.. {
        let project = Project::new(EXPERIMENT);
        let args = "run x.yaml --executor process --keep-going -j 1";
        let ended = project.run_with(args, &[("TOY_KILL_WORKER_AT", &at.to_string())]);
        if ended.code == 0 && !ended.stderr.contains("its worker") {
            // Killed behind the entry, or not at all.
            if !project.jobs_said("killed: ") {
                break;
            }
        } else {
            assert_eq!(ended.code, 8, "{ended:?}");
            let words = "its worker was ended by signal 6\nthe end of `";
            assert!(ended.stderr.contains(words) && ended.stderr.contains("  | killed: "), "{}", ended.stderr);
            places.insert(ended.stderr.split("  | killed: ").nth(1).unwrap().split(' ').next().unwrap().to_owned());
        }
        let again = project.run("run x.yaml --executor process");
        assert_eq!(again.code, 0, "after a kill at {at}: {again:?}");
        assert_eq!(remains(&project), expected, "after a kill at {at}");
    }
    for place in ["locked", "written", "synced", "read-only", "named"] {
        assert!(places.contains(place), "no kill was tried at `{place}`, only at {places:?}");
    }
}

#[test]
fn a_run_killed_at_any_commit_point_takes_its_workers_along_and_the_next_ends_with_the_same_bytes() {
    let expected = undisturbed(EXPERIMENT);
    let mut kills = 0;
    for at in 0.. {
        let project = Project::new(EXPERIMENT);
        if killed(&project, "--executor process -j 2", at).is_none() {
            break;
        }
        kills += 1;
        let ended = project.run("run x.yaml --executor process -j 2");
        assert_eq!(ended.code, 0, "after a kill at point {at}: {ended:?}");
        assert_eq!(remains(&project), expected, "after a kill at point {at}");
    }
    assert!(kills > 10, "only {kills} kills");
}

/// The process of the worker that a run has just told of.
fn worker(words: &Value) -> String {
    words["value"].as_str().unwrap().split(' ').nth(1).unwrap().to_owned()
}

fn is_alive(process: &str) -> bool {
    let listed = Command::new("ps").args(["-o", "stat=", "-p", process]).output().unwrap().stdout;
    !listed.is_empty() && !listed.starts_with(b"Z")
}

fn hold(project: &Project, unit: u64, more: &str) -> (crate::project::Started, String) {
    let gate = project.path("gate");
    let sets = format!("--set stages.slow.with.hold_at={unit} --set stages.slow.with.gate={}", gate.display());
    let mut started = project.start(&format!("--executor process {sets} {more}"));
    let worker = worker(&started.until(|event| event["name"] == "worker" && event["stage"] == "slow"));
    started.until(|event| event["name"] == "holds at");
    (started, worker)
}

#[test]
fn kill_9_of_a_worker_costs_at_most_a_unit_and_of_the_run_ends_the_worker() {
    let project = Project::new(SLOW);
    let (mut started, process) = hold(&project, 4, "");
    assert!(Command::new("kill").args(["-9", &process]).status().unwrap().success());
    let ended = started.until(|event| event["event"] == "stage_ended" && event["stage"] == "slow");
    let words = "its worker was killed (signal 9), by somebody or by a system without memory";
    assert!(ended["error"].as_str().unwrap().starts_with(words), "{ended}");
    assert!(ended["help"].as_str().unwrap().contains("the next run resumes from it"), "{ended}");
    assert_eq!(started.end().0, 1);

    let (started, process) = hold(&project, 7, "");
    started.kill();
    let asked = Instant::now();
    while is_alive(&process) {
        assert!(asked.elapsed() < Duration::from_secs(10), "the worker outlives its run");
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut last = project.start("--executor process");
    assert_eq!(last.until(|event| event["name"] == "units found")["value"], "7");
    assert_eq!(last.end().0, 0);
    assert_eq!(remains(&project), undisturbed(SLOW));
}

#[test]
fn ctrl_c_reaches_a_worker_which_saves_and_the_second_one_does_not_wait() {
    let project = Project::new(SLOW);
    let (started, _) = hold(&project, 6, "");
    started.signal("INT");
    let (code, statuses) = started.end();
    assert_eq!((code, statuses.get("slow").map(String::as_str)), (130, Some("interrupted")));
    let (mut started, process) = hold(&project, 7, "--set stages.slow.with.deaf=true");
    let _talk = crate::resuming::interrupt(&mut started);
    started.signal("INT");
    assert_eq!(started.end().0, 130);
    let asked = Instant::now();
    while is_alive(&process) {
        assert!(asked.elapsed() < Duration::from_secs(10), "the worker outlives its run");
        std::thread::sleep(Duration::from_millis(5));
    }
    project.ok("run x.yaml --executor process");
    assert_eq!(remains(&project), undisturbed(SLOW));
}

#[test]
fn a_worker_without_memory_ends_alone() {
    let project = Project::new(
        "name: t\nstages:\n  bad: { use: toy.fail, with: { how: memory } }\n  slow: { use: toy.slow, with: { units: 10 } }\n",
    );
    let ended = project.run("run x.yaml --executor process --keep-going -j 2");
    assert_eq!(ended.code, 8, "{ended:?}");
    let words = "error: stage `bad` failed: its worker ran out of memory\nthe end of `";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    assert!(ended.stderr.contains("could not be had while these stages were running: bad"), "{}", ended.stderr);
    assert_eq!(project.count("entries"), 1, "the other one goes on");
    assert_eq!(project.run("run x.yaml bad --executor process").code, 9);
}

#[test]
fn an_error_and_a_panic_of_a_worker_read_as_those_of_a_thread() {
    for how in ["error", "panic", "table"] {
        let text = format!("name: t\nstages:\n  bad: {{ use: toy.fail, with: {{ how: {how} }} }}\n");
        let said = |args: &str| {
            let ended = Project::new(&text).run(&format!("run x.yaml --memory 32MiB --quiet {args}"));
            let error = ended.stderr.split("log: ").next().unwrap().to_owned();
            (ended.code, error.lines().filter(|line| !line.starts_with("1 stage")).collect::<Vec<_>>().join("\n"))
        };
        assert_eq!(said("--executor process"), said(""), "{how}");
    }
}

#[test]
fn what_holds_a_secret_stays_with_the_run() {
    let project = Project::new(
        "name: t\nstages:\n  ask: { use: toy.ask, with: { server: { key: \"${env:TOY_KEY}\" } } }\n  one: { use: toy.number }\n",
    );
    let ended = project.run_with("run x.yaml --executor process --json", &[("TOY_KEY", "geheim-1234")]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let workers: Vec<_> = ended.stdout.lines().filter(|line| line.contains(r#""name":"worker""#)).collect();
    assert!(workers.len() == 1 && workers[0].contains(r#""stage":"one""#), "{workers:?}");
}

#[test]
fn what_is_forced_is_made_again_by_a_worker() {
    let project = Project::new(SUM);
    project.ok("run x.yaml --executor process");
    let made = project.provenance("sum.value")["made"].clone();
    assert_eq!(project.ran("--executor process --force sum"), ["sum"]);
    assert_ne!(project.provenance("sum.value")["made"], made);
}

#[test]
fn a_worker_of_another_build_is_refused() {
    let project = Project::new("name: t\nstages:\n  one: { use: toy.number }\n");
    project.ok("run x.yaml --executor process");
    let jobs = project.path("artifacts/store/runs").join(project.runs().pop().unwrap()).join("jobs");
    let job = jobs.join("1-one.json");
    let text = std::fs::read_to_string(&job).unwrap();
    let key = serde_json::from_str::<Value>(&text).unwrap()["key"].as_str().unwrap().to_owned();
    std::fs::write(&job, text.replace(&key, &"0".repeat(64))).unwrap();
    assert_eq!(project.run(&format!("work {}", job.display())).code, 1);
    let said = std::fs::read_to_string(jobs.join("1-one.events")).unwrap();
    assert!(said.contains("let the nodes run the same build of apprentice as the run"), "{said}");
    assert_eq!(project.count("entries"), 1);
}
