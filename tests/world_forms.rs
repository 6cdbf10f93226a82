//! A world that stores rewards and distances and one that computes them are the same world to whoever plays in it.

use serde_json::Value;

use crate::project::Project;

/// A world of each family in both forms, and an evaluation in each.
const FORMS: &str = "\
name: forms
stages:
  log: { use: ingest.synthetic, with: { users: 60, items: 90, interactions: 1200, clusters: 6, seed: 4 } }
  mf:
    use: world.mf
    inputs: { interactions: log.interactions, items: log.items, users: log.users }
    with:
      { form: FORM, n_factors: 4, n_epochs: 4, batch_size: 128, ensemble_size: 2, l2: 1.0, simulator: { SIMULATOR } }
  deepfm:
    use: world.deepfm
    inputs: { interactions: log.interactions, items: log.items, users: log.users }
    with:
      { form: FORM, embedding: 4, hidden: [8, 8], n_epochs: 2, batch_size: 128, ensemble_size: 2, simulator: { SIMULATOR } }
  mf_score: { use: evaluate, inputs: { world: mf.world, train: log.interactions }, with: { n_repeats: 3, n_resamples: 100 } }
  deepfm_score: { use: evaluate, inputs: { world: deepfm.world, train: log.interactions }, with: { n_repeats: 3, n_resamples: 100 } }
";

const SIMULATOR: &str = "horizon: 12, quit_window: 4, quit_similarity: { threshold: 0.12 }, embedding_dim: 4";

fn played(form: &str, distances: &str, stage: &str) -> (Vec<Value>, Vec<Value>) {
    let simulator = format!("{SIMULATOR}, distance_form: {distances}");
    let project = Project::new().config(&FORMS.replace("FORM", form).replace("SIMULATOR", &simulator));
    project.ok(&["run", "x.yaml", &format!("{stage}_score")]);
    let rows = |port: &str| -> Vec<Value> {
        let found = project.ok(&["inspect", &format!("{stage}_score.{port}"), "--format", "ndjson"]).stdout;
        found.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    (rows("steps"), rows("metrics"))
}

#[test]
fn every_row_of_a_table_plays_the_same_items_in_both_forms() {
    for stage in ["mf", "deepfm"] {
        let (stored, computed) = (played("dense", "table", stage), played("factored", "on_demand", stage));
        assert!(stored.0.len() > 6 * 60 * 3 && stored.0.len() == computed.0.len(), "{stage}: {}", stored.0.len());
        let (mut left, mut most) = (0, 0.0_f64);
        for (one, other) in stored.0.iter().zip(&computed.0) {
            for column in ["policy", "cell", "user", "t", "item", "end"] {
                assert_eq!(one[column], other[column], "{stage}: {one} {other}");
            }
            most = most.max((one["reward"].as_f64().unwrap() - other["reward"].as_f64().unwrap()).abs());
            left += usize::from(one["end"] == "similar");
        }
        assert!(left > 100 && most < 1e-5, "{stage}: {left} steps of users who left, rewards {most} apart");
        assert_eq!(stored.1.len(), computed.1.len());
        for (one, other) in stored.1.iter().zip(&computed.1) {
            assert_eq!(
                (&one["policy"], &one["metric"], &one["remark"]),
                (&other["policy"], &other["metric"], &other["remark"])
            );
            let apart = (one["mean"].as_f64().unwrap() - other["mean"].as_f64().unwrap()).abs();
            assert!(apart < 1e-4, "{stage}: {one} {other}");
        }
    }
}
