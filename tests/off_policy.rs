//! The experiment of off-policy estimates, from a generated log to a table.

use crate::project::{Project, repository};

#[test]
fn a_policy_is_estimated_from_a_log_of_a_random_one() {
    let config = std::fs::read_to_string(repository().join("configs/off-policy.yaml")).unwrap();
    let project = Project::new().config(&config);
    project.ok(&["run", "x.yaml"]);
    let rows = project.ok(&["inspect", "estimates.estimates", "--format", "csv"]).stdout;
    for estimator in ["ips", "snips", "doubly_robust", "direct", "trajectory_wis", "sequential_dr", "fitted_q"] {
        assert!(rows.contains(&format!(",{estimator},")), "{estimator} in {rows}");
    }
}
