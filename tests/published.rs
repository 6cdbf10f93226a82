//! Figures that others computed, on data that cannot be fetched here: tried wherever a folder of `APPRENTICE_DATA` holds it.

use std::fs;

use crate::project::{Project, repository};

/// Coat's reference policies on the true matrix, EasyRL4Rec's protocol, all 290 users, inclusive returns.
#[test]
fn the_controls_of_coat_return_what_is_published() {
    let folders = std::env::var_os("APPRENTICE_DATA").unwrap_or_default();
    let holds = |folder: &std::path::PathBuf| folder.join("coat/coat_pseudoGT_ratingM.ascii").is_file();
    let Some(data) = std::env::split_paths(&folders).find(holds) else {
        println!("skipped: no folder of APPRENTICE_DATA holds coat/coat_pseudoGT_ratingM.ascii");
        return;
    };
    let config = fs::read_to_string(repository().join("configs/coat/controls.yaml")).unwrap();
    let project = Project::new().config(&config);
    project.ok(&["run", "x.yaml", "--data", data.to_str().unwrap()]).says(&["6960 chosen and 4640 random ratings"]);
    let mean = |policy: &str, metric: &str| {
        let filter = format!("policy = '{policy}' and metric = '{metric}'");
        let rows = project.ok(&["inspect", "score.metrics", "--format", "ndjson", "--filter", &filter]);
        rows.json()["mean"].as_f64().unwrap()
    };
    // Deterministic rows to the third decimal; random ones within three joint standard errors (theirs are 0.24 and 0.23).
    for (policy, wanted, tolerance) in [
        ("popular non-conflicting", 81.217, 0.0006),
        ("greedy oracle", 94.038, 0.0006),
        ("random", 27.99, 1.0),
        ("random non-conflicting", 67.27, 1.0),
    ] {
        let found = mean(policy, "return_inclusive");
        assert!((found - wanted).abs() < tolerance, "{policy}: {found}, published {wanted}");
    }
    assert!((mean("random", "length") - 12.53).abs() < 0.5);
    assert!((mean("greedy oracle", "length") - 30.0).abs() < 1e-9);
}
