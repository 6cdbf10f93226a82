//! The control of demonstrations: the retriever's first candidates, with the same users, in the same places.

use crate::project::Project;

const TEACHER: &str = "  teacher:
    use: demonstrate
    inputs: { world: evaluation.world, items: log.items, train: split.train, candidates: offers.candidates }
    with: { llm: { gguf: { asset: toy-llm } }, users: 6, n_candidates: 5, item_noun: movie }
";
const CONTROL: &str = "  teacher:
    use: demonstrate.retriever
    inputs: { world: evaluation.world, candidates: offers.candidates }
    with: { users: 6, n_candidates: 5 }
";

/// The column `user` of some demonstrations, and the metrics of the row of the teacher by name.
fn users(project: &Project) -> Vec<String> {
    let csv = project.ok(&["inspect", "teacher.demonstrations", "--format", "csv", "--columns", "user"]).stdout;
    let mut users: Vec<String> = csv.lines().skip(1).map(ToOwned::to_owned).collect();
    users.dedup();
    users
}

#[test]
fn the_retrievers_demonstrations_are_its_row_of_the_table_and_of_the_models_users() {
    let smoke = std::fs::read_to_string(crate::project::repository().join("configs/smoke.yaml")).unwrap();
    assert!(smoke.contains(TEACHER));
    let model = Project::smoke();
    model.ok(&["run", "x.yaml", "teacher", "-q"]);
    let control = Project::new().config(&smoke.replace(TEACHER, CONTROL));
    control.ok(&["run", "x.yaml", "score"]).says(&["decisions  ", " in 6 episodes"]);
    assert_eq!(users(&control), users(&model));
    let query = "metric == 'lead_over_retriever' and policy == 'teacher (LLM)'";
    let columns = ["--columns", "mean,low,high,episodes", "--format", "csv"];
    let lead = control.ok(&[&["inspect", "score.metrics", "--filter", query], &columns[..]].concat()).stdout;
    let lead = lead.lines().nth(1).unwrap_or_else(|| panic!("{lead}"));
    let numbers: Vec<f64> = lead.split(',').map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers, [0.0, 0.0, 0.0, 6.0]);
}
