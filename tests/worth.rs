//! `apprentice worth`: from an experiment with a teacher to an answer, on a log with planted item means.

use std::fmt::Write as _;

use serde_json::Value;

use crate::project::Project;

const ITEMS: u64 = 24;

/// Numbers in [0, 1) that look random.
fn noise(seed: u64) -> f64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}

fn quality(item: u64) -> f64 {
    2.0 + 2.0 * noise(item * 7919)
}

/// A log of 1,600 ratings around the items' means, and scores that are these means.
fn planted() -> Project {
    let project = Project::new();
    let mut log = String::from("who,what,stars\n");
    for row in 0..1600 {
        let item = (noise(row * 3) * ITEMS as f64) as u64;
        let rating = quality(item) + 2.0 * (noise(row * 3 + 1) + noise(row * 3 + 2) - 1.0);
        writeln!(log, "{},{item},{rating:.2}", row % 40).unwrap();
    }
    let mut scores = String::from("what,opinion\n");
    (0..ITEMS).for_each(|item| writeln!(scores, "{item},{}", quality(item)).unwrap());
    project.file("log/log.csv", &log).file("log/scores.csv", &scores).config(
        "name: planted
assets:
  log: { from: [{ path: log/ }] }
stages:
  log:
    use: ingest.table
    with: { asset: log, log: { file: log.csv, user: who, item: what, rating: stars } }
  world:
    use: world.bias
    inputs: { interactions: log.interactions, items: log.items, users: log.users }
    with: { simulator: { horizon: 5, repeats: masked, quit_similarity: off, embedding_dim: 2 } }
  teacher:
    use: ingest.item_scores
    inputs: { items: log.items }
    with: { asset: log, file: scores.csv, item: what, score: opinion }
",
    )
}

#[test]
fn a_teacher_is_worth_ratings_and_a_second_run_says_the_same() {
    let project = planted();
    let size = ["--draws", "4", "--sizes", "30,100,400", "--users", "20"];
    let worth = |more: &[&str]| project.ok(&[&["worth", "x.yaml"][..], &size, more].concat());
    worth(&["--plan"]).prints(&["returns_a@draw=3", "worth", "page"]);
    let printed = worth(&["--print"]).stdout;
    assert!(printed.starts_with("name: planted-worth\n") && printed.contains("by: global_random"), "{printed}");
    let first = worth(&[]).prints(&[
        "teacher alone returns ",
        "teacher beside 30 ratings adds ",
        "Control: beside 30 ratings the same scores shuffled",
    ]);
    let again = worth(&["-q"]).prints(&["teacher beside 30 ratings adds "]);
    let answer = |said: &str| {
        let lines: Vec<String> = said.lines().filter(|line| line.starts_with("teacher ")).map(str::to_owned).collect();
        assert!(lines.len() > 3, "{said}");
        lines
    };
    assert_eq!(answer(&again.stdout), answer(&first.stdout), "from the store");
    let rows = ["inspect", "worth.worth", "--format", "ndjson", "--filter"];
    let filter =
        "quantity = 'gain' and scores = 'teacher' and learner = 'popular by mean' and world = 'all' and n = 30";
    let gain: Value = serde_json::from_str(project.ok(&[&rows[..], &[filter]].concat()).stdout.trim()).unwrap();
    assert!(gain["low"].as_f64().unwrap() > 0.0, "{gain}");
    let page = std::fs::read_to_string(project.path("artifacts/planted-worth/page/page.html")).unwrap();
    assert!(page.contains("Return against log size") && page.contains("class=\"line learned\""));
}

#[test]
fn an_experiment_without_a_teacher_is_told_what_to_add() {
    let project = Project::new().config(
        "name: x
assets: { toy: { from: [{ generate: toy-log }] } }
stages: { log: { use: ingest.recbole, with: { asset: toy } } }
",
    );
    project
        .run(&["worth", "x.yaml"])
        .ends_with(2)
        .says(&["the experiment has no teacher", "help: add one, such as `opinion: { use: rate"]);
}
