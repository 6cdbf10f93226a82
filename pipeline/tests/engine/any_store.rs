//! Whatever was run, forgotten and collected, in whatever order and beside whom: no recorded run loses a result.

use serde_json::Value;

use crate::project::{Project, SUM};

/// A generator of choices; the same ones every time.
struct Choices(u64);

impl Choices {
    fn below(&mut self, n: u64) -> u64 {
        // Knuth's constants; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// Arguments of a run.
    fn run(&mut self) -> String {
        let stages = ["", "", "sum", "b", "page"][self.below(5) as usize];
        format!("{stages} --set stages.a.with.value={} --set stages.sum.with.plus={}", self.below(3), self.below(3))
    }
}

/// Whether a run with these arguments would find everything done.
fn is_done(project: &Project, file: &str, args: &str) -> bool {
    let plan: Value = serde_json::from_str(&project.ok(&format!("plan {file} --json {args}"))).unwrap();
    plan["stages"].as_array().unwrap().iter().all(|row| row["verdict"] == "hit")
}

#[test]
fn every_recorded_run_is_all_hits_after_gc() {
    for seed in 0..6 {
        let mut choices = Choices(seed);
        let project = Project::new(SUM);
        let mut recorded: Vec<(String, String)> = Vec::new();
        let mut collected = 0;
        for _ in 0..14 {
            match choices.below(8) {
                0 if !recorded.is_empty() => drop(project.ok("runs last --pin")),
                1 => drop(project.ok(&format!("runs --prune --apply --keep {}", 1 + choices.below(3)))),
                2 | 3 => {
                    project.ok("gc --apply");
                    collected += 1;
                }
                other => {
                    let args = choices.run();
                    let force = if other == 4 { "--force b" } else { "" };
                    // Where `b` is not chosen, forcing it is refused.
                    let ended = project.run(&format!("run x.yaml {args} {force}"));
                    if ended.code == 0 {
                        recorded.push((project.runs().pop().unwrap(), args));
                    }
                }
            }
            let ids = project.runs();
            for (id, args) in recorded.iter().filter(|(id, _)| ids.contains(id)) {
                assert!(is_done(&project, "x.yaml", args), "seed {seed}, {id}: {args}");
            }
        }
        project.ok("gc --apply");
        assert!(collected == 0 || project.ok("gc").starts_with("nothing to remove"));
        project.ok("verify");
    }
}

#[test]
fn runs_beside_gc_find_or_make_all_they_need() {
    let project = Project::new(SUM);
    const RUNNERS: u64 = 3;
    for runner in 0..RUNNERS {
        // Other names, the same keys: what one forgets another is about to find.
        project.write(&format!("{runner}.yaml"), &SUM.replace("name: sum", &format!("name: sum{runner}")));
    }
    std::thread::scope(|scope| {
        let project = &project;
        let run = |runner: u64| {
            move || {
                let mut choices = Choices(runner);
                for _ in 0..10 {
                    let args = choices.run();
                    project.ok(&format!("run {runner}.yaml {args}"));
                    assert!(is_done(project, &format!("{runner}.yaml"), &args), "{args}");
                }
            }
        };
        let runners: Vec<_> = (0..RUNNERS).map(|runner| scope.spawn(run(runner))).collect();
        while !runners.iter().all(|runner| runner.is_finished()) {
            project.ok("runs --prune --keep 1 --apply");
            project.ok("gc --apply");
            project.ok("verify");
        }
    });
    project.ok("runs --prune --keep 1 --apply");
    assert_eq!(project.runs().len() as u64, RUNNERS);
    project.ok("gc --apply");
    project.ok("verify");
}
