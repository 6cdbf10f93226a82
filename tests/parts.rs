//! Parts of a log as a study of its size needs them: disjoint halves, nested samples of one, whole items held out.

use std::collections::BTreeSet;

use crate::project::Project;

const EXPERIMENT: &str = "name: parts
assets:
  toy-log: { from: [{ generate: toy-log }] }
stages:
  log: { use: ingest.recbole, with: { asset: toy-log } }
  halves: { use: split, inputs: { interactions: log.interactions }, with: { by: global_random, test_fraction: 0.5 } }
  shelf: { use: split, inputs: { interactions: log.interactions }, with: { by: item } }
  draws:
    use: filter.sample
    sweep: { n: [50, 200], draw: [0, 1] }
    inputs: { interactions: halves.test }
";

/// The rows of an output, and its items.
fn rows(project: &Project, output: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let csv = project.ok(&["inspect", output, "--format", "csv"]).stdout;
    let rows: BTreeSet<String> = csv.lines().skip(1).map(ToOwned::to_owned).collect();
    let items = rows.iter().map(|row| row.split(',').nth(1).unwrap().to_owned()).collect();
    (rows, items)
}

#[test]
fn halves_are_disjoint_samples_nested_and_a_shelf_is_of_items_that_nobody_rated() {
    let project = Project::new().config(EXPERIMENT);
    project.ok(&["run", "x.yaml"]).says(&["50 of 400 interactions, of "]);
    let (train, _) = rows(&project, "halves.train");
    let (test, _) = rows(&project, "halves.test");
    assert_eq!((train.len(), test.len(), train.union(&test).count()), (400, 400, 800));
    let draw = |n: u32, draw: u32| rows(&project, &format!("draws@n={n},draw={draw}.interactions")).0;
    for number in [0, 1] {
        let (few, more) = (draw(50, number), draw(200, number));
        assert_eq!((few.len(), more.len()), (50, 200));
        assert!(few.is_subset(&more) && more.is_subset(&test));
    }
    assert_ne!(draw(50, 0), draw(50, 1));
    let (known, cold) = (rows(&project, "shelf.train").1, rows(&project, "shelf.test").1);
    assert_eq!((known.len(), cold.len()), (48, 12));
    assert!(known.is_disjoint(&cold));
}

#[test]
fn a_sample_that_is_larger_than_the_log_names_its_size() {
    let project = Project::new().config(EXPERIMENT);
    project.run(&["run", "x.yaml", "--set", "stages.draws.sweep.n=[401]"]).ends_with(1).says(&[
        "stage `draws@n=401,draw=",
        "a sample of 401 interactions was requested of a log with 400\nhelp: request at most 400",
    ]);
    project.run(&["run", "x.yaml", "--set", "stages.halves.with.ties=random"]).ends_with(2).says(&["`ties`"]);
}
