//! What stages may take together: `plan` says where it is too much, and in a run some wait for others.

use crate::project::Project;

const EXPERIMENT: &str = "name: caps
stages:
  log: { use: ingest.synthetic, with: { users: 20000, items: 50, interactions: 20000, clusters: 4, seed: 1 } }
  world:
    use: world.mf
    sweep: { seed: [1, 2, 3] }
    inputs: { interactions: log.interactions, items: log.items, users: log.users }
    with: { n_factors: 2, n_epochs: 1, batch_size: 4096, simulator: { embedding_dim: 1 } }
";

#[test]
fn stages_that_fit_alone_wait_where_they_do_not_fit_together() {
    let project = Project::new().config(EXPERIMENT);
    let many = ["plan", "x.yaml", "--threads", "3", "--memory"];
    let with = |cap| [&many[..], &[cap]].concat();
    let said = project.ok(&with("60MiB")).stdout;
    assert!(said.contains("world ×3 would need ") && said.ends_with("some of them wait for others\n"), "{said}");
    let json: serde_json::Value =
        serde_json::from_str(&project.ok(&[&with("60MiB")[..], &["--json"]].concat()).stdout).unwrap();
    assert_eq!(json["memory_at_once"]["stages"].as_array().unwrap().len(), 3);
    assert!(!project.ok(&with("10GiB")).stdout.contains("at once"));
    let alone = ["plan", "x.yaml", "--threads", "1", "--memory", "60MiB"];
    assert!(!project.ok(&alone).stdout.contains("at once"), "one after another they fit");
    project.ok(&["run", "x.yaml", "--threads", "3", "--memory", "60MiB"]).says(&["waits for memory: its tables need "]);
}

/// Each of three outputs is asked for its sizes by three inputs of the next stage: 3²⁵ questions if none is remembered.
#[test]
fn a_long_chain_is_planned_at_once() {
    let stage = |name: &str, kind: &str, from: &str| {
        format!(
            "  {name}: {{ use: {kind}, inputs: {{ interactions: {from}.interactions, items: {from}.items, users: {from}.users }} }}\n"
        )
    };
    let mut text =
        "name: chain\nstages:\n  s0: { use: ingest.synthetic, with: { users: 50, items: 50, interactions: 500 } }\n"
            .to_owned();
    (1..=25).for_each(|k| text += &stage(&format!("s{k}"), "filter.kcore", &format!("s{}", k - 1)));
    text += &stage("world", "world.bias", "s25");
    let said = Project::new().config(&text).ok(&["plan", "x.yaml"]).stdout;
    assert!(said.contains("27 stages"), "{said}");
}

/// A sample is as large as it is, whatever the log has from which it is drawn.
#[test]
fn a_sample_is_planned_by_its_own_size() {
    let text = "name: sample
stages:
  log: { use: ingest.synthetic, with: { users: 2000, items: 2000, interactions: 300000 } }
  some: { use: filter.sample, inputs: { interactions: log.interactions }, with: { n: 1000 } }
  candidates:
    use: retrieve
    inputs: { interactions: some.interactions, items: log.items, users: log.users }
";
    let need = |text: &str| {
        let said = Project::new().config(text).ok(&["plan", "x.yaml", "candidates", "--json"]).stdout;
        let json: serde_json::Value = serde_json::from_str(&said).unwrap();
        json["stages"][2]["memory"]["need"].as_u64().unwrap()
    };
    let (few, many) = (need(text), need(&text.replace("n: 1000", "n: 200000")));
    assert!(few < many, "{few} {many}");
}
