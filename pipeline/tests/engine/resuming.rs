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
        let saved = if unit == 0 { "" } else { "; resumes from saved units" };
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
pub fn interrupt(started: &mut Started) -> BufReader<ChildStderr> {
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
fn a_unit_that_takes_longer_than_the_grace_of_a_scheduler_is_left() {
    let project = Project::new(SLOW);
    let mut started = project.start_and_hold(2, "--set stages.slow.with.deaf=true");
    let asked = std::time::Instant::now();
    started.signal("TERM");
    let mut talk = BufReader::new(started.child.stderr.take().unwrap());
    assert_eq!(started.end().0, 130);
    let took = asked.elapsed().as_secs();
    assert!((9..25).contains(&took), "Slurm and Kubernetes kill after 30 s, and it took {took} s");
    let mut shown = String::new();
    std::io::Read::read_to_string(&mut talk, &mut shown).unwrap();
    let first = "SIGTERM: stopping after the current unit, or in the middle of it in 10 s\n";
    assert!(
        shown.starts_with(first) && shown.contains("\nstopped in the middle of a unit; finished units are"),
        "{shown}"
    );
    assert_eq!(project.ran(""), ["after", "slow"]);
    assert_eq!(project.objects(), undisturbed());
}

#[cfg(unix)]
#[test]
fn a_process_that_leaves_leaves_no_download_behind() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::new(
        "name: web\nassets: { a: { from: [{ pip: a==1, member: a }] } }\nstages:\n  log: { use: toy.number, with: { asset: a } }\n",
    );
    std::fs::create_dir(project.path("bin")).unwrap();
    // A pip that never ends.
    let pid = project.path("pid");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version) exit 0;; esac\necho $$ > {0}.new; mv {0}.new {0}; exec sleep 600\n",
        pid.display()
    );
    project.write("bin/python3", &script);
    std::fs::set_permissions(project.path("bin/python3"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", project.path("bin").display(), std::env::var("PATH").unwrap());
    let mut child = project.command("run x.yaml").env("PATH", path).spawn().unwrap();
    let wait = || std::thread::sleep(std::time::Duration::from_millis(5));
    while !pid.exists() {
        wait();
    }
    // One that has ended may stay in the list, as `Z`, until its parent asks for it.
    let is_at_work = |process: &str| {
        let listed = std::process::Command::new("ps").args(["-o", "stat=", "-p", process]).output().unwrap().stdout;
        !listed.is_empty() && !listed.starts_with(b"Z")
    };
    // At once, so that the download has no time to hear of the first.
    let script = format!("kill -INT {0}; kill -TERM {0}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let process = std::fs::read_to_string(&pid).unwrap();
    let started = std::time::Instant::now();
    // Who killed it has not waited for it.
    while is_at_work(process.trim()) {
        assert!(started.elapsed().as_secs() < 5, "the download goes on");
        wait();
    }
}

#[test]
fn ctrl_c_says_how_long_the_unit_at_work_may_take() {
    let project = Project::new(SLOW);
    let gate = project.path("gate");
    let sets = format!("--set stages.slow.with.hold_at=2 --set stages.slow.with.gate={}", gate.display());
    let mut child = project.command(&format!("run x.yaml -v --set stages.slow.with.deaf=true {sets}")).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // A line of progress comes after two seconds at the earliest, so that only the unit itself is waited for.
    talk.read_line(&mut line).unwrap();
    assert!(line.starts_with("slow runs: "), "{line}");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    line.clear();
    talk.read_line(&mut line).unwrap();
    let begins = "stopping after the current unit (slow has been at this unit for ";
    assert!(line.starts_with(begins) && line.ends_with(" s); press Ctrl-C again to stop now\n"), "{line}");
    project.write("gate", "");
    assert_eq!(child.wait().unwrap().code(), Some(130));
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
