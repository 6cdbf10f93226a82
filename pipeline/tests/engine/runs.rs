//! Recorded runs: listed, named, pinned, forgotten.

use serde_json::Value;

use crate::project::{Project, SLOW, SUM};

/// A project with `n` runs, each of another value.
fn with_runs(n: usize) -> Project {
    let project = Project::new(SUM);
    for value in 0..n {
        project.ok(&format!("run x.yaml --set stages.a.with.value={value}"));
    }
    project
}

#[test]
fn a_run_goes_by_its_id_or_by_its_age() {
    let project = with_runs(3);
    let ids = project.runs();
    for (name, id) in [("last", &ids[2]), ("last~1", &ids[1]), ("last~2", &ids[0]), (&*ids[1], &ids[1])] {
        let shown: Value = serde_json::from_str(&project.ok(&format!("runs {name} --json"))).unwrap();
        assert_eq!(shown["run"]["id"], **id, "{name}");
    }
    for (name, words) in [
        ("last~3", "there is no run `last~3`: 3 recorded"),
        ("lost", "there is no run `lost`\nhelp: `apprentice runs` lists them"),
        ("2", "3 runs begin with `2`"),
    ] {
        let ended = project.run(&format!("runs {name}"));
        assert_eq!(ended.code, 2);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}

#[test]
fn the_list_says_what_is_at_work_and_what_was_killed() {
    let project = Project::new(SLOW);
    let run = project.start_and_hold(2, "");
    let line = project.ok("runs");
    assert!(line.contains("  slow  running  20") && line.contains("0 hit, 0 ran, 0 failed"), "{line}");
    let shown = project.ok("runs last");
    assert!(shown.contains("\nslow   running      –") && shown.contains("\nafter  not started  0.00 s"), "{shown}");
    assert!(project.ok("inspect last").contains("\nslow   running      –"), "{}", project.ok("inspect last"));
    run.kill();
    assert!(project.ok("runs").contains("  slow  killed  20"), "{}", project.ok("runs"));
    assert!(project.ok("runs last").contains("\nslow   killed       –"), "{}", project.ok("runs last"));
    project.ok("run x.yaml");
    assert!(project.ok("runs").lines().nth(1).unwrap().contains("  slow  ok      20"));
}

#[test]
fn of_a_run_that_was_killed_what_its_events_know_is_shown() {
    let first = "  one: { use: toy.number, with: { value: 1 } }\n";
    let project = Project::new(&SLOW.replace("  slow:", &format!("{first}  slow:")));
    project.ok("run x.yaml one");
    project.start_and_hold(2, "--force one -j 1").kill();
    let run = project.runs().pop().unwrap();
    let seconds = |project: &Project| {
        let output: Value = serde_json::from_str(&project.ok("runs last --json")).unwrap();
        output["run"]["seconds"].as_f64().unwrap()
    };
    let line = || project.ok("runs").lines().last().unwrap().to_owned();
    assert!(line().ends_with("0 hit, 1 ran, 0 failed") && seconds(&project) > 0.0, "{}", line());
    // As if it had taken longer; the last line is torn.
    let events = project.path(&format!("artifacts/store/runs/{run}/events.jsonl"));
    let output = std::fs::read_to_string(&events).unwrap();
    let later = r#"{"event":"progress","seconds":75.0,"stage":"slow"}"#;
    std::fs::write(&events, format!("{output}{later}\n{{\"event\":\"stage_en")).unwrap();
    assert!(line().ends_with("1 min 15 s  0 hit, 1 ran, 0 failed"), "{}", line());
    std::fs::remove_file(&events).unwrap();
    assert_eq!(line().split_whitespace().rev().take(2).collect::<Vec<_>>(), ["–", "–"], "{}", line());
    assert!(project.ok("runs last").contains("\ntook        –\n"), "{}", project.ok("runs last"));
    assert!(project.ok("inspect last").contains("\ntook        –\n"), "{}", project.ok("inspect last"));
}

#[test]
fn old_runs_are_shown_first_and_forgotten_when_told_to() {
    let project = with_runs(4);
    let ids = project.runs();
    let pinned = project.ok(&format!("runs {} --pin", ids[0]));
    assert!(pinned.ends_with("  pinned\n"), "{pinned}");
    let plan = project.ok("runs --prune --keep 1");
    assert!(plan.starts_with(&ids[1]) && plan.contains(&ids[2]), "{plan}");
    assert!(plan.ends_with("2 runs would be forgotten, 2 stay; `--apply` forgets them\n"), "{plan}");
    assert_eq!(project.runs(), ids);
    assert!(project.ok("runs --prune --older-than 1h").starts_with("0 runs would be forgotten"));
    assert!(project.ok("runs --prune --keep 1 --apply").contains("2 runs forgotten, 2 stay"));
    assert_eq!(project.runs(), [&*ids[0], &ids[3]]);
    project.ok(&format!("runs {} --unpin", ids[0]));
    project.ok("runs --prune --older-than 0s --apply");
    assert_eq!(project.runs(), [&*ids[3]], "the newest of an experiment always stays");
}

#[test]
fn a_run_at_work_is_not_forgotten() {
    let project = Project::new(SLOW);
    let run = project.start_and_hold(2, "");
    let other = project.path("other.yaml");
    std::fs::write(other, SLOW).unwrap();
    project.ok("run other.yaml --set stages.slow.with.units=2");
    project.ok("run other.yaml --set stages.slow.with.units=3");
    assert!(project.ok("runs --prune --keep 1 --apply").contains("1 run forgotten, 2 stay"));
    project.write("gate", "");
    assert_eq!(run.end().0, 0);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let project = with_runs(1);
    for args in [
        "runs --prune",
        "runs --keep 2",
        "runs --prune --keep 0",
        "runs --prune --older-than 30",
        "runs --pin",
        "runs last --pin --unpin",
        "runs last --prune --keep 1",
        "runs --apply",
    ] {
        assert_eq!(project.run(args).code, 2, "{args}");
    }
}
