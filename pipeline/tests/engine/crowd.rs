//! Several runs at once on one store: whichever comes first where, and whoever is killed, one result comes out.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use proptest::prelude::*;

use crate::killing::EXPERIMENT;
use crate::project::{Project, spoil};
use crate::remains::{remains, undisturbed};

#[test]
fn of_two_or_four_runs_at_once_each_stage_is_made_once() {
    let expected = undisturbed(EXPERIMENT);
    for crowd in [2, 4] {
        let project = Project::new(EXPERIMENT);
        let runs: Vec<_> = (0..crowd).map(|_| project.start("-j 2")).collect();
        let mut made = BTreeMap::<String, usize>::new();
        for run in runs {
            let (code, statuses) = run.end();
            assert_eq!(code, 0);
            for (stage, _) in statuses.into_iter().filter(|(_, status)| status == "ran") {
                *made.entry(stage).or_default() += 1;
            }
        }
        assert!(made.len() == 4 && made.values().all(|&times| times == 1), "{made:?}");
        assert_eq!(remains(&project), expected);
        project.ok("verify");
    }
}

#[test]
fn those_who_are_killed_in_a_crowd_do_the_others_no_harm() {
    let expected = undisturbed(EXPERIMENT);
    let mut killed = 0;
    for round in 1..10 {
        let project = Project::new(EXPERIMENT);
        // The last one has no point to be killed at.
        let start = |place: u64| project.command("run x.yaml -q -j 2").env("TOY_KILL_AT", place.to_string()).spawn();
        let runs = [round * 3, round * 7, round * 11, 1_000_000].map(|place| start(place).unwrap());
        let ends = runs.map(|run| run.wait_with_output().unwrap());
        assert!(ends[3].status.success(), "round {round}: {:?}", ends[3]);
        // Where another one has made everything, a run has fewer points and may come through.
        killed += ends.iter().filter(|end| end.status.code().is_none()).count();
        assert_eq!(remains(&project), expected, "round {round}");
        project.ok("verify");
    }
    // Its first points are those of a run's own record: whoever wins, one that dies at the third does die.
    assert!(killed > 0, "none was killed");
}

/// A run that stands still at each commit point until it is told to go on.
struct Stepper {
    child: Child,
    go: ChildStdin,
    said: BufReader<ChildStdout>,
    /// Where it stands; nowhere once it has ended.
    at: Option<String>,
}

impl Stepper {
    fn start(project: &Project) -> Self {
        Self::start_with(project, "")
    }

    fn start_with(project: &Project, args: &str) -> Self {
        let mut command = project.command(&format!("run x.yaml -q -j 1 --threads 1 {args}"));
        let mut child = command.env("TOY_IN_TURNS", "1").stdin(Stdio::piped()).spawn().unwrap();
        let (go, said) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut stepper = Self { child, go, said, at: None };
        stepper.arrive();
        stepper
    }

    /// Reads on to the next point.
    fn arrive(&mut self) {
        let mut line = String::new();
        self.at = loop {
            line.clear();
            if self.said.read_line(&mut line).unwrap() == 0 {
                break None;
            }
            if let Some(place) = line.trim_end().strip_prefix("@ ") {
                break Some(place.to_owned());
            }
        };
    }

    fn step(&mut self) {
        writeln!(self.go).unwrap();
        self.arrive();
    }

    fn is_at(&self, point: &str) -> bool {
        self.at.as_ref().is_some_and(|at| at.starts_with(point))
    }

    /// Goes on to a point of a file whose path ends so.
    #[track_caller]
    fn go_to(&mut self, point: &str, path: &str) {
        while !(self.is_at(point) && self.at.as_ref().is_some_and(|at| at.ends_with(path))) {
            assert!(self.at.is_some(), "the run ended before `{point} {path}`");
            self.step();
        }
    }

    /// Goes on to the end; gives the code.
    fn end(mut self) -> Option<i32> {
        while self.at.is_some() {
            self.step();
        }
        self.child.wait().unwrap().code()
    }
}

/// Lets two runs go on in turns, each for so many points; at `kill`, counted in points of both, the one whose turn it is
/// dies.
fn interleaved(project: &Project, turns: &[(bool, u8)], kill: Option<usize>) {
    let mut runs = [Stepper::start(project), Stepper::start(project)];
    // One that waits for a lock need not be asked again before the other has given one back.
    let mut waits = [false; 2];
    let mut killed = None;
    let order = turns.iter().cycle().flat_map(|&(second, points)| vec![usize::from(second); 1 + usize::from(points)]);
    for (count, mut turn) in order.enumerate() {
        if runs[turn].at.is_none() || waits[turn] {
            turn = 1 - turn;
        }
        if runs[turn].at.is_none() {
            assert!(runs[1 - turn].at.is_none(), "nobody goes on");
            break;
        }
        if kill == Some(count) {
            runs[turn].child.kill().unwrap();
            // Its locks are free once it is gone, not before.
            runs[turn].child.wait().unwrap();
            runs[turn].at = None;
            killed = Some(turn);
        } else {
            runs[turn].step();
        }
        // The lock of one that has just died may still be held for a moment: then there is nobody else to go on.
        waits[turn] = runs[turn].is_at("waits") && runs[1 - turn].at.is_some();
        waits[1 - turn] &= runs[turn].at.is_some() && !runs[turn].is_at("unlocked");
    }
    for (index, run) in runs.iter_mut().enumerate() {
        let status = run.child.wait().unwrap();
        assert!(status.success() || killed == Some(index), "run {index}: {status}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_of_two_runs_gives_one_result(
        turns in prop::collection::vec((any::<bool>(), 0..30_u8), 2..40),
        kill in prop::option::of(0..200_usize),
    ) {
        // Both have turns, or one would never come to its end.
        let turns = [&turns[..], &[(false, 3), (true, 3)]].concat();
        let project = Project::new(EXPERIMENT);
        interleaved(&project, &turns, kill);
        prop_assert_eq!(remains(&project), undisturbed(EXPERIMENT));
        let again = project.run("run x.yaml");
        prop_assert!(again.code == 0 && again.stdout.contains("4 hits"), "{:?}", again);
        prop_assert!(!again.stderr.contains("warning"), "{:?}", again);
        prop_assert_eq!(project.run("verify").code, 0);
    }
}

/// A clock that jumps between two runs, in seconds from now: years ahead, years behind, before 1970.
#[test]
fn a_clock_that_jumps_confuses_nobody() {
    let expected = undisturbed(EXPERIMENT);
    for (first, second) in [("315360000", "0"), ("0", "-315360000"), ("-99000000000", "315360000")] {
        let project = Project::new(EXPERIMENT);
        let run = |clock: &str, kill: &str, args: &str| {
            let mut command = project.command(&format!("run x.yaml {args}"));
            command.env("TOY_CLOCK", clock).env("TOY_KILL_AT", kill).output().unwrap()
        };
        assert!(!run(first, "40", "").status.success());
        let answer = |output: std::process::Output| {
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        answer(run(second, "", ""));
        assert_eq!(remains(&project), expected);
        let again = answer(run(first, "", ""));
        assert!(again.starts_with("4 stages: 4 hits in "), "{again}");
        let changed = answer(run(second, "", "--set stages.slow.with.units=5"));
        assert!(changed.starts_with("4 stages: 2 hits, 2 ran in "), "{changed}");
        assert_eq!(project.ok("runs").lines().filter(|line| line.contains("torture")).count(), 4);
        project.ok("verify");
    }
}

#[test]
fn an_asset_that_changes_under_a_stage_leaves_no_result() {
    let project = Project::new(
        "name: n\nassets:\n  num: { from: [{ path: num.txt }] }\nstages:\n  one: { use: toy.number, with: { asset: num } }\n",
    );
    project.write("num.txt", "5");
    let mut run = Stepper::start(&project);
    while !run.is_at("locked") {
        run.step();
    }
    project.write("num.txt", "6");
    while run.at.is_some() {
        run.step();
    }
    assert_eq!(run.child.wait().unwrap().code(), Some(1));
    assert_eq!(project.count("entries"), 0);
    project.ok("run x.yaml");
    assert_eq!(std::fs::read_to_string(project.path("artifacts/n/one/value.txt")).unwrap(), "6\n");
}

/// Of two runs that show one stage, the first is overtaken when its view has just been named.
#[test]
fn a_view_of_another_run_is_not_taken_for_ones_own() {
    let project = Project::new("name: n\nstages:\n  one: { use: toy.number }\n");
    let set = |value: u32| format!("--set stages.one.with.value={value}");
    let view = project.path("artifacts/n/one/value.txt");
    let shown = || std::fs::read_to_string(&view).unwrap();
    for value in [1, 2] {
        project.ok(&format!("run x.yaml {}", set(value)));
    }
    let mut first = Stepper::start_with(&project, &set(1));
    first.go_to("named", "n/one/value.txt");
    assert_eq!(shown(), "1\n");
    project.ok(&format!("run x.yaml {}", set(2)));
    assert_eq!(first.end(), Some(0));
    assert_eq!(shown(), "2\n");
    project.ok(&format!("run x.yaml {}", set(1)));
    assert_eq!(shown(), "1\n");
}

/// `y` waits for its lock when `z` finds another output of the same stage damaged, and has both made again with other bytes.
#[test]
fn a_stage_reads_what_is_in_its_key_whatever_was_made_again_while_it_waited() {
    let project = Project::new(
        "name: n
stages:
  pair: { use: toy.whim, with: { file: whim } }
  slow: { use: toy.slow, with: { units: 1, hold_at: 0, gate: gate } }
  y: { use: toy.round, inputs: { value: pair.first } }
  z: { use: toy.add, inputs: { a: pair.second, b: slow.value } }
",
    );
    let y = || std::fs::read_to_string(project.path("artifacts/n/y/value.txt")).unwrap();
    project.write("whim", "1");
    project.ok("run x.yaml pair");
    let mut holder = Stepper::start_with(&project, "y");
    holder.go_to("locked", "");
    spoil(&project.object("pair.second"), b"6\n");
    project.write("whim", "2");
    let mut run = project.start("-j 3");
    let (mut waits, mut holds) = (false, false);
    run.until(|event| {
        waits |= event["event"] == "waiting" && event["stage"] == "y";
        holds |= event["name"] == "holds at";
        waits && holds
    });
    project.write("gate", "");
    run.until(|event| event["event"] == "stage_ended" && event["stage"] == "z");
    holder.child.kill().unwrap();
    holder.child.wait().unwrap();
    assert_eq!(run.end().0, 0);
    assert_eq!(y(), "1\n", "the result of the content that is in the key");
    assert_eq!(project.ran(""), ["y"]);
    assert_eq!(y(), "2\n");
}

#[test]
fn a_working_folder_that_cannot_be_removed_fails_no_stage_that_is_done() {
    let project = Project::new("name: n\nstages:\n  one: { use: toy.number, with: { value: 1 } }\n");
    let mut run = Stepper::start(&project);
    run.go_to("kept", ".json");
    assert!(run.at.as_ref().unwrap().contains("store/entries/"), "{:?}", run.at);
    let scratch = project.path("artifacts/store/scratch");
    let mut folders = std::fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().path());
    let out = folders.find(|path| path.extension() == Some("out".as_ref())).unwrap();
    // A file cannot be removed as a folder, not even by root.
    std::fs::remove_dir_all(&out).unwrap();
    std::fs::write(&out, "").unwrap();
    assert_eq!(run.end(), Some(0));
    let events = project.path("artifacts/store/runs").join(&project.runs()[0]).join("events.jsonl");
    let events = std::fs::read_to_string(events).unwrap();
    assert!(events.contains("the stage has finished, and its working folder remains: remove `"), "{events}");
    assert_eq!(std::fs::read_to_string(project.path("artifacts/n/one/value.txt")).unwrap(), "1\n");
}
