//! `plan` says how long stages may take, by what they took before.

use std::fs;

use serde_json::Value;

use crate::project::Project;

fn experiment(name: &str, rows: usize) -> String {
    format!(
        "name: {name}
stages:
  log: {{ use: ingest.synthetic, with: {{ users: 60, items: 200, interactions: {rows}, clusters: 4 }} }}
  world:
    use: world.bias
    sweep: {{ user_regularization: [1, 2] }}
    inputs: {{ interactions: log.interactions, items: log.items, users: log.users }}
    with: {{ simulator: {{ embedding_dim: 1 }} }}
"
    )
}

/// Writes into the record of each result of a kind that making it took so many seconds.
fn took(project: &Project, kind: &str, seconds: f64) {
    for path in project.files("entries") {
        let text = fs::read_to_string(&path).unwrap();
        let mut entry: Value = serde_json::from_str(&text).unwrap();
        if entry["entry"]["material"]["kind"] != kind {
            continue;
        }
        entry["entry"]["made"]["seconds"] = seconds.into();
        let inner = serde_json::to_string_pretty(&entry["entry"]).unwrap().replace('\n', "\n  ");
        let checksum = blake3::hash(inner.as_bytes()).to_hex();
        fs::write(&path, format!("{{\n  \"checksum\": \"{checksum}\",\n  \"entry\": {inner}\n}}\n")).unwrap();
    }
}

#[test]
fn a_stage_takes_what_it_took_before_or_what_one_alike_took() {
    let project = Project::new().config(&experiment("small", 500)).file("large.yaml", &experiment("large", 2000));
    let plan = |args: &[&str]| project.ok(&[&["plan"], args].concat()).stdout;
    assert!(plan(&["x.yaml"]).ends_with("3 stages: 3 will run\ntime: unknown, for nothing alike ran before\n"));
    project.ok(&["run", "x.yaml", "world@user_regularization=1"]);
    took(&project, "world.bias", 200.0);
    let said = plan(&["x.yaml"]);
    assert!(
        said.contains(
            "world@user_regularization=2  will run: it has no result yet; world@user_regularization=1 took 3 min 20 s\n"
        ),
        "{said}"
    );
    assert!(said.ends_with("3 stages: 2 hits, 1 will run\ntime: about 3 min 20 s of work\n"), "{said}");
    project.ok(&["run", "x.yaml"]);
    took(&project, "world.bias", 90.0);
    let changed = ["x.yaml", "--set", "stages.world.with.simulator.embedding_dim=2"];
    let said = plan(&changed);
    assert!(said.contains("embedding_dim 1 → 2; took 1 min 30 s before\n"), "{said}");
    assert!(said.ends_with("time: about 3 min 00 s of work\n"), "{said}");
    // Of another log, what its stage promises or has written says how many rows there are; time grows with them.
    let rows = |log: &str| {
        let found = project.ok(&["inspect", "-e", log, "log.interactions", "--json"]).json();
        found["content"]["table"]["rows"].as_f64().unwrap_or_else(|| panic!("{found}"))
    };
    for is_read in [false, true] {
        if is_read {
            project.ok(&["run", "large.yaml", "log"]);
        }
        let now = if is_read { rows("large") } else { 2000.0 };
        let ratio = now / rows("small");
        let json: Value = serde_json::from_str(&plan(&["large.yaml", "--json"])).unwrap();
        let time = &json["stages"][1]["time"];
        assert_eq!((&time["rows_ratio"], &time["took_seconds"]), (&ratio.into(), &90.0.into()), "{json:#}");
        let unknown: &[&str] = if is_read { &[] } else { &["log"] };
        assert_eq!(
            (&json["time"]["seconds"], &json["time"]["unknown"]),
            (&(2.0 * 90.0 * ratio).into(), &unknown.into())
        );
    }
    let said = plan(&["large.yaml"]);
    assert!(said.contains(" by its rows: world@user_regularization=1 of small took 1 min 30 s\n"), "{said}");
    // With other settings than that stage had, nothing is known again.
    let said = plan(&["large.yaml", "--set", "stages.world.with.simulator.embedding_dim=2"]);
    assert!(said.ends_with("time: unknown, for nothing alike ran before\n"), "{said}");
}
